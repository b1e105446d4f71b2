"""The older words as tables: the word on the left is written as the word on the right today."""

from collections.abc import Mapping
from typing import Final

from noetl.playbook.step_types import WORKBOOK

Words = Mapping[str, str]

DOCUMENT: Final[Words] = {"steps": "workflow"}
HEAD: Final[Words] = {"path": "path", "name": "name", "description": "description", "desc": "description"}
"""Keys of the document that belong into `metadata`."""

METADATA: Final[Words] = {"desc": "description"}

TYPE: Final[Words] = {"tool": "type"}
"""What the type of a step was called, where it is a name."""

TYPES: Final[Words] = {"playbooks": "playbook"}

AUTH: Final[Words] = {"credential": "auth", "credentials": "auth", "credentialRef": "auth"}
AUTH_TYPES: Final[Words] = {"hmac": "s3", "postgresql": "postgres", "pg": "postgres"}
AUTH_INSIDE: Final[Words] = {"credential": "key"}
"""Keys of one login that `auth` describes."""

CREDENTIAL: Final = "credential"
"""The `source` of a login that names a credential of the store, as every `key` does today."""

AUTH_IDLE: Final[Words] = {
    "source": "the credentials of the store are the only ones that a key names",
    "scope": "a login holds for all that its step opens",
    "service": "the credential says itself what it is for",
}
"""Keys of one login with a `key` that nothing depends on, with the reason."""

STEP: Final[Words] = {"description": "desc", "with": "args", "input": "args", "sink": "save", **AUTH}
"""Keys of steps and tasks of every type."""

NAMED: Final[Words] = {"name": "'step' is its name, and 'desc' a sentence for people"}
HEAD_IDLE: Final[Words] = {"version": "the catalog counts the versions of a playbook itself"}
STEP_IDLE: Final[Words] = {
    "version": "the catalog counts the versions of a playbook itself",
    "assert": "nothing checks it at the run: write 'tests', which 'noetl playbook test' runs",
}
"""Keys of the document and of steps that nothing reads today, with the reason."""

LEFT_OUT: Final = "pass"
"""The key of a step that does nothing where it is true."""
KEPT: Final = frozenset({"step", "name", "desc", "description", "next", "max_visits"})
"""What such a step has nevertheless."""

ARGS: Final[Words] = {"data": "args", "params": "args", "payload": "args"}
"""Keys of steps and tasks whose type has no field of that name."""

TRANSITION: Final[Words] = {"condition": "when", "with": "args", "input": "args", **ARGS}

_SQL: Final[Words] = {"sql": "command", "query": "command"}
FIELDS: Final[Mapping[str, Words]] = {
    "http": {"url": "endpoint"},
    "postgres": _SQL,
    "duckdb": _SQL,
    "secrets": {"secret_name": "name", "project_id": "project"},
    "playbook": {"resource_path": "path", "playbook_path": "path"},
    WORKBOOK: {"name": "task"},
}
"""Fields of a type."""

_COMMAND: Final[Words] = {"command_b64": "command", "commands_b64": "command"}
_COMMANDS: Final[Words] = {"command_b64": "command", "commands_b64": "commands"}
ENCODED: Final[Mapping[str, Words]] = {
    "python": {"code_b64": "code", "code_base64": "code"},
    "postgres": _COMMANDS,
    "duckdb": _COMMANDS,
    "shell": _COMMAND,
    "container": _COMMAND,
}
"""Fields of a type that were written in Base64."""

RETRY: Final[Words] = {"backoff_multiplier": "backoff", "retry_when": "when", "stop_when": "until"}

ITERATOR: Final = "iterator"
LOOP: Final[Words] = {"collection": "in", "element": "iterator", "chunk": "batch", "filter": "where"}
ITERATOR_KEYS: Final[Words] = {
    **LOOP,
    "mode": "mode",
    "concurrency": "concurrency",
    "where": "where",
    "order_by": "order_by",
    "limit": "limit",
    "enumerate": "enumerate",
}
"""Keys of a step of type iterator, and of its `loop` today."""

SAVE: Final[Words] = {"type": "storage", "tool": "storage", **AUTH}
STORAGE: Final = ("type", "kind", "tool")
"""What the name of a storage was called in `storage: {...}`."""
STORAGES: Final[Words] = {"event": "event_log", "events": "event_log"}
SAVE_DATA: Final = ("args", "with", "input")
"""What the data of a save was called."""

DATABASE: Final[Words] = {
    "db_host": "host",
    "db_port": "port",
    "db_user": "user",
    "db_password": "password",
    "db_name": "database",
}
"""Arguments of postgres steps that belong into `auth`."""

GLOBALS: Final = ("os", "json", "datetime", "uuid")
"""Modules that the code of python steps had as globals."""

OF_DATETIME: Final = frozenset({"datetime", "timedelta", "date", "timezone", "UTC", "time", "tzinfo"})
"""What the module `datetime` has and its class `datetime` has not, or not in this way."""

IN_TEMPLATES: Final[Words] = {"_loop.current_index": "_loop.index"}
"""Names within templates."""

"""The types a step can have, and the fields that are a type's own."""

from dataclasses import dataclass
from typing import Final

from noetl.words import ROUTER


@dataclass(frozen=True, slots=True)
class Field:
    """A tool's field. `kind` is what a value without a template must be: text, mapping, integer, boolean, duration,
    any.

    `raw` text is never a template; `choices` are the values it can have, as text; `texts`: the values of the mapping
    are texts, and numbers in it stay as they are written.
    """

    kind: str = "text"
    required: bool = False
    raw: bool = False
    choices: tuple[str, ...] = ()
    texts: bool = False


METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
STORAGES: Final = ("event_log", "postgres", "duckdb", "file")
SHELLS: Final = ("bash", "sh")
PROVIDERS: Final = ("env", "credential", "file", "google", "aws")

ACTIONS: Final[dict[str, dict[str, Field]]] = {
    ROUTER: {},
    "python": {"code": Field(required=True, raw=True)},
    "http": {
        "method": Field(choices=METHODS),
        "endpoint": Field(required=True),
        "headers": Field("mapping", texts=True),
        "params": Field("mapping", texts=True),
        "payload": Field("any"),
        "data": Field("any"),
        "big_numbers": Field(choices=("error", "text")),
    },
    "postgres": {
        "command": Field("any"),
        "commands": Field("any"),
        "params": Field("any"),
        "once": Field("boolean"),
        "isolation": Field(choices=("read committed", "repeatable read", "serializable")),
    },
    "duckdb": {
        "command": Field("any"),
        "commands": Field("any"),
        "params": Field("any"),
        "database": Field(),
    },
    "shell": {
        "command": Field("any", required=True),
        "shell": Field(choices=SHELLS),
        "stdin": Field("any"),
        "env": Field("mapping", texts=True),
        "cwd": Field(),
    },
    "container": {
        "image": Field(required=True),
        "command": Field("any"),
        "env": Field("mapping", texts=True),
        "volumes": Field("any"),
        "workdir": Field(),
        "user": Field("any"),
        "network": Field(),
    },
    "secrets": {
        "provider": Field(required=True, choices=PROVIDERS),
        "name": Field(required=True),
        "version": Field("any"),
        "project": Field(),
        "region": Field(),
        "field": Field(),
    },
    "save": {
        "storage": Field(choices=STORAGES),
        "data": Field("any"),
        "table": Field(),
        "mode": Field(choices=("insert", "upsert")),
        "key": Field("any"),
        "statement": Field(),
        "params": Field("any"),
        "path": Field(),
        "format": Field(choices=("parquet", "csv", "json")),
        "database": Field(),
    },
    "playbook": {
        "path": Field(required=True),
        "version": Field("integer"),
        "return_step": Field(),
    },
    "wait": {"for": Field("duration"), "until": Field("any")},
    "fail": {"message": Field()},
}
"""The types and their own fields. `workbook` has its task's."""

ONE_OF: Final[dict[str, tuple[str, str]]] = {
    "wait": ("for", "until"),
    "postgres": ("command", "commands"),
    "duckdb": ("command", "commands"),
}
"""Fields of which a type has exactly one."""

WORKBOOK: Final = "workbook"
ROUTER_TYPES: Final = frozenset({"start", "noop", "route", "end"})
WITHOUT_LOOP: Final = frozenset({ROUTER, "fail"})
"""Types that are decided on the spot: they have no jobs, hence neither loop nor save."""

WITHOUT_SECRETS: Final = frozenset({ROUTER, "playbook", "wait", "fail"})
"""Types whose fields and args are kept: no secret can stand in them."""

WITH_AUTH: Final = frozenset({"http", "postgres", "duckdb", "container", "save", "secrets"})
"""Types that take credentials."""

"""The check of credentials: those named in `auth` and in calls of `secret` exist."""

from collections.abc import Collection, Iterator
from typing import Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.templates.template import is_template
from noetl.playbook.yaml.tree import Node

_FIELDS_OF_AUTH: Final = frozenset(
    {"type", "key", "credential", "name", "host", "port", "user", "username", "password", "token", "header", "value"}
    | {"database", "dbname", "db", "dsn", "url", "scheme", "sslmode", "options", "location", "prefix", "in", "cookie"}
)
"""A mapping with none of these keys maps aliases to credentials."""


def check_credentials(source: PlaybookSource) -> None:
    """Report credentials in an `auth` that do not exist, where the existing ones are known."""
    for owner in source.steps_and_tasks:
        for holder in (owner.node, *owner.saves):
            for name in _names_in(holder.value["auth"]) if "auth" in holder.value else ():
                message = missing_credential(name.value, source.credentials)
                if message:
                    source.reader.error(name, Code.UNKNOWN_CREDENTIAL, message)


def missing_credential(name: str, credentials: Collection[str] | None) -> str:
    """Return the message for a credential that does not exist; empty where it exists, or nothing is known."""
    if credentials is None or name in credentials:
        return ""
    return f"there is no credential {name!r}{did_you_mean(name, credentials)}"


def _names_in(auth: Node) -> Iterator[Node]:
    """Yield the names of credentials in an `auth`: a name, `{type, key}`, or a mapping of aliases to such."""
    names: list[Node] = [auth]
    if auth.kind == "mapping":
        aliases = _FIELDS_OF_AUTH.isdisjoint(auth.value)
        inner = auth.value.values() if aliases else [auth.value.get("key"), auth.value.get("credential")]
        names = [name for name in inner if name is not None]
        if aliases:
            names = [name for item in names for name in (_names_in(item) if item.kind == "mapping" else [item])]
    for node in names:
        if isinstance(node.value, str) and not is_template(node.value):
            yield node

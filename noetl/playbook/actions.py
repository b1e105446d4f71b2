"""The types a step can have, and the fields that are a type's own."""

from dataclasses import dataclass
from typing import Final

from noetl.playbook.names import did_you_mean
from noetl.words import ROUTER


@dataclass(frozen=True, slots=True)
class Field:
    """A tool's field. `kind` is what a value without a template must be: text, mapping, integer, duration, any.

    `raw` text is never a template; `also` are further spellings; `choices` the values it can have, as text.
    """

    kind: str = "text"
    required: bool = False
    raw: bool = False
    also: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

ACTIONS: Final[dict[str, dict[str, Field]]] = {
    ROUTER: {},
    "python": {"code": Field(required=True, raw=True)},
    "http": {
        "method": Field(choices=METHODS),
        "endpoint": Field(required=True, also=("url",)),
        "headers": Field("mapping"),
        "params": Field("mapping"),
        "payload": Field("any"),
        "data": Field("any"),
    },
    "playbook": {
        "path": Field(required=True),
        "version": Field("integer"),
        "return_step": Field(),
    },
    "wait": {"for": Field("duration"), "until": Field("any")},
    "fail": {"message": Field()},
}
"""The types of this version and their own fields. `workbook` has its task's."""

WORKBOOK: Final = "workbook"
ROUTER_TYPES: Final = frozenset({"start", "noop", "route", "end"})
LATER_TYPES: Final = frozenset({"postgres", "duckdb", "shell", "container", "secrets", "save"})
LATER_KEYS: Final = frozenset({"loop", "save", "auth"})


def unknown_type(name: str) -> str:
    """Return the sentence for a type that there is not."""
    if name in LATER_TYPES:
        return f"the type {name!r} is not available in this version: use python or http"
    known = sorted(({*ACTIONS, WORKBOOK} - {ROUTER}) | ROUTER_TYPES)
    return f"unknown type {name!r}{did_you_mean(name, known) or ': the types are ' + ', '.join(known)}"

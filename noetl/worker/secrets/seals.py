"""References that `secrets` steps leave in the log: what to fetch, sealed so that only workers can read or make one.

What is sealed says where the secret is, never what it is. It is bound to the tree of executions: in another tree, with
another key, or changed by a character it is no reference, but text.
"""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from noetl.database.keys import REFERENCE, Keys, Undecryptable
from noetl.playbook.templates.secret_references import REFERENCE as SHAPE
from noetl.playbook.templates.secret_references import REFERENCE_MARK, Source, read_source, refer, source_of

_PLACEHOLDER = "\0"
"""Around the number of a source, where `secret()` stood in `auth`. No text of a playbook or of JSON can hold it."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """The place where a `secrets` step finds its secret. `auth` is as the playbook gives it: it holds no value."""

    provider: str
    name: str
    version: str | None = None
    project: str | None = None
    region: str | None = None
    field: str | None = None
    auth: Any = None


class Seals:
    """Makes references and reads them."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def seal(self, fetch: Fetch, root: int, bound: str) -> str:
        """Return the reference to a secret in the tree of an execution; `bound` is the key of the step run that makes
        it, for what `secret()` gave in `auth`. Raises `SettingsError` without a key."""
        sources: list[str] = []
        parts = {**asdict(fetch), "auth": _each_text(fetch.auth, lambda text: _take_out(text, sources, bound))}
        plain = orjson.dumps({"fetch": parts, "sources": sources})
        key, data = self._keys.encrypting(REFERENCE).encrypt(plain, str(root))
        return f"{REFERENCE_MARK}s.{key}.{base64.urlsafe_b64encode(data).decode().rstrip('=')}:"

    def open(self, body: str, root: int, bound: str) -> Fetch | None:
        """Return what a reference's body stands for, None for one that was not made here for this tree; `bound` is the
        key of the step run that needs it."""
        kind, key, text = body.split(".")
        if kind != "s":
            return None
        try:
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            plain = self._keys.decrypting(REFERENCE).decrypt(key, data, str(root))
        except (Undecryptable, binascii.Error):
            return None
        sealed = orjson.loads(plain)
        parts, sources = sealed["fetch"], [read_source(each) for each in sealed["sources"]]
        return Fetch(**{**parts, "auth": _each_text(parts["auth"], lambda text: _put_back(text, sources, bound))})


def holds_reference(value: object) -> bool:
    """Whether a value of any nesting has text in it that looks like a reference."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if REFERENCE_MARK in item:
                return True
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return False


def _take_out(text: str, sources: list[str], bound: str) -> str:
    """Put numbers in the places of references by `secret()`, which are good in this process only."""

    def number(match: re.Match[str]) -> str:
        source = source_of(match[1], bound)
        if source is None:
            return match[0]
        sources.append(str(source))
        return f"{_PLACEHOLDER}{len(sources) - 1}{_PLACEHOLDER}"

    return (
        SHAPE.sub(number, text.replace(_PLACEHOLDER, "")) if REFERENCE_MARK in text else text.replace(_PLACEHOLDER, "")
    )


def _put_back(text: str, sources: list[Source], bound: str) -> str:
    pieces = text.split(_PLACEHOLDER)
    pieces[1::2] = [refer(sources[int(number)], bound) for number in pieces[1::2]]
    return "".join(pieces)


def _each_text(value: object, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _each_text(item, change) for name, item in value.items()}
    return [_each_text(item, change) for item in value] if isinstance(value, list) else value

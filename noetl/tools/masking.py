"""Masks secrets in what comes back from a call, before it goes anywhere: `***` in the place of each value.

Looked for are the values, and the forms in which programs show them: escaped in JSON and in Python's `repr`, encoded
for URLs, in Base64 (also as a part of what was encoded). A form of fewer than four characters is not looked for: it
would stand everywhere. Where text was cut, the pieces of values at the cut are masked, too.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, quote_plus

import orjson

from noetl.tools.base import CUT, Done, Failed

STARS: Final = "***"
SHORTEST: Final = 4
"""Characters of what is masked."""

_SHORTEST_PART: Final = 8
"""Characters of what is masked where it is only a part of a value: a line, a text inside of JSON, Base64 in Base64."""

_LONG: Final = 8000
"""Characters from which a text may be one that was cut without a sign."""

_SHORTEST_PIECE: Final = 6
"""Characters of a piece of a value that a cut has left."""


@lru_cache(maxsize=64)
def mask_of(secrets: tuple[str, ...]) -> "Mask":
    """Return the mask for some secrets."""
    return Mask(secrets)


class Mask:
    """Replaces secrets by stars in values of any kind."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)  # a part of a value must not hide the rest of it
        self._pattern = re.compile("|".join(map(re.escape, self._forms))) if forms else None
        escaped = {form.encode() for form in forms} | {_in_json(form).encode() for form in forms}
        self._bytes = re.compile(b"|".join(map(re.escape, sorted(escaped)))) if forms else None

    def answer(self, answer: Done | Failed) -> Done | Failed:
        """Return what came of a call, masked."""
        if self._pattern is None:
            return answer
        output = self.text(answer.output)
        if isinstance(answer, Done):
            return Done(self.json(answer.result), output)
        return Failed(self.value(answer.error), output)

    def json(self, text: bytes) -> bytes:
        """Return a JSON text, masked; it stays JSON, also where a secret looks like a number."""
        if self._bytes is None or not self._bytes.search(text):
            return text
        return orjson.dumps(self.value(orjson.loads(text)))

    def value(self, value: Any) -> Any:
        """Return a value of plain JSON types, masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self.value(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return STARS if self._found(repr(value)) else value
        return value

    def text(self, text: str) -> str:
        """Return a text, masked, also where a cut has left pieces of secrets."""
        if self._pattern is None:
            return text
        pieces = CUT.split(self._pattern.sub(STARS, text))  # text, sign, text, sign, text
        is_long = len(text) >= _LONG
        for index in range(0, len(pieces), 2):
            if index > 0 or is_long:
                pieces[index] = self._without_tail(pieces[index])
            if index < len(pieces) - 1 or is_long:
                pieces[index] = self._without_head(pieces[index])
        return "".join(pieces)

    def _found(self, text: str) -> bool:
        return self._pattern is not None and bool(self._pattern.search(text))

    def _without_head(self, text: str) -> str:
        """Mask the beginning of a secret at a text's end."""
        length = max((_overlap(text, form) for form in self._forms), default=0)
        return text[: len(text) - length] + STARS if length else text

    def _without_tail(self, text: str) -> str:
        """Mask the end of a secret at a text's beginning."""
        begin = len(text) - len(text.lstrip("\n\ufffd"))  # a line end of the sign, a character that was cut
        length = max((_overlap(text[begin : begin + len(form)][::-1], form[::-1]) for form in self._forms), default=0)
        return text[:begin] + STARS + text[begin + length :] if length else text


def _overlap(text: str, form: str) -> int:
    """Return the length of the longest beginning of a form with which a text ends, 0 where it is too short."""
    first = form[:_SHORTEST_PIECE]
    at = text.find(first, max(0, len(text) - len(form) + 1))
    while at >= 0:
        if form.startswith(text[at:]):
            return len(text) - at
        at = text.find(first, at + 1)
    return 0


def _forms(secret: str) -> Iterator[str]:
    for value in _parts(secret):
        for form in _shown(value):
            if len(form) >= SHORTEST:
                yield form


def _parts(secret: str) -> Iterator[str]:
    """Yield a secret and what may be seen of it alone: its lines, and the texts inside of JSON."""
    if len(secret) < SHORTEST:
        return
    yield secret
    if secret != secret.strip() and len(secret.strip()) >= SHORTEST:
        yield secret.strip()
    if "\n" in secret:
        yield from (line.strip() for line in secret.splitlines() if len(line.strip()) >= _SHORTEST_PART)
    if secret.lstrip()[:1] in ("{", "["):
        try:
            inner = json.loads(secret)
        except (ValueError, RecursionError):
            return
        for text in _texts(inner):
            yield text
            yield from (line for line in text.splitlines() if "\n" in text and len(line) >= _SHORTEST_PART)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
    elif isinstance(value, str) and len(value) >= _SHORTEST_PART:
        yield value


def _shown(value: str) -> Iterator[str]:
    yield value
    for escaped in (_in_json(value), json.dumps(value)[1:-1]):
        yield escaped
        yield json.dumps(escaped)[1:-1]  # a JSON text inside of one
    yield repr(value)[1:-1]
    for encoded in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield encoded
        yield re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), encoded)
    data = value.encode("utf-8", "surrogatepass")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(data).decode().rstrip("=")
        for offset in range(3):
            part = _core(encode, data, offset)
            if len(part) >= _SHORTEST_PART:
                yield part


def _core(encode: Any, data: bytes, offset: int) -> str:
    """Return what Base64 makes of data that stands somewhere in what is encoded: the characters that depend on it
    alone. `offset`: its place, modulo 3."""
    text = str(encode(b"\0" * offset + data).decode()).rstrip("=")
    first = (0, 2, 3)[offset]
    bits = (offset + len(data)) * 8
    return text[first : bits // 6]


def _in_json(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]

"""Masks for secrets in the outcome of a call, before it goes anywhere: `***` in the place of each value.

A mask looks for the values, and for the forms in which programs show them: escaped in JSON, in HTML and in Python's
`repr`, encoded for URLs, in Base64 (also as a part of what was encoded, and with line ends). A form of fewer than four
characters is not looked for: it would be everywhere. A value that is common (`is_common`) is masked as a whole word,
and only in what people read (output, errors): in a result such a text is data. Where text was cut, the pieces of values
at the cut are masked, too.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, quote_plus

import orjson

from noetl.outcomes import Done, Failed
from noetl.playbook.common_secrets import is_common
from noetl.rules.text import CUT_SIGN

MASK_TEXT: Final = "***"
MIN_CHARACTERS: Final = 4
"""Characters of what is masked."""

_MIN_PART_CHARACTERS: Final = 8
"""Characters of what is masked where it is only a part of a value: a line, a text inside of JSON, Base64 in Base64."""

_LONG_TEXT_CHARACTERS: Final = 8000
"""Characters from which a text may be one that was cut without a sign."""

_MIN_PIECE_CHARACTERS: Final = 6
"""Characters of a piece of a value that a cut has left."""

_ESCAPE_PATTERN: Final = r"\\{1,15}"
"""Backslashes of an escape: a JSON text in a JSON text in a JSON text in a result's has fifteen of them."""

_UNUSUAL_PATTERN: Final = re.compile(r"\\+|[^A-Za-z0-9]", re.DOTALL)
_HTML_NAMES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
_ESCAPE_LETTERS: Final = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
_WRAPPED_BASE64_PATTERN: Final = re.compile(
    r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}(?:(?:\\{1,15}[rn]|[\r\n])+[A-Za-z0-9+/_-]+)+=*"
)
"""Base64 in several lines, line ends also as JSON writes them."""
_LINE_END_PATTERN: Final = re.compile(r"\\{1,15}[rn]|[\r\n]")


@lru_cache(maxsize=64)
def mask_of(secrets: tuple[str, ...]) -> "Mask":
    """Return the mask for some secrets."""
    return Mask(secrets)


class Mask:
    """A replacement of secrets by stars in values of any kind."""

    def __init__(self, secrets: Iterable[str]) -> None:
        parts = sorted({part for secret in secrets for part in _parts(secret)}, key=len, reverse=True)
        rare = [part for part in parts if not is_common(part)]
        self._encoded = [form for part in rare for form in _in_base64(part)]
        rare_patterns = [_pattern(part) for part in rare] + [re.escape(form) for form in self._encoded]
        self._data = _any_of(rare_patterns)
        common = [_as_word(part) for part in parts if is_common(part)]
        self._all = _any_of(rare_patterns + common)
        self._bytes = None if self._data is None else re.compile(self._data.pattern.encode())
        self._forms = [form for part in rare for form in (*_shown(part), *_in_base64(part))]
        self._forms.sort(key=len, reverse=True)  # a part of a value must not hide the rest of it

    def answer(self, answer: Done | Failed) -> Done | Failed:
        """Return the outcome of a call, masked."""
        if self._all is None:
            return answer
        output = self.text(answer.output)
        if isinstance(answer, Done):
            return Done(self.json(answer.result), output)
        return Failed(self._each(answer.error, self.text), output)

    def json(self, text: bytes) -> bytes:
        """Return the JSON text of a result, masked; it stays JSON, also where a secret looks like a number."""
        if self._bytes is None or not (self._bytes.search(text) or self._is_wrapped_in(text.decode())):
            return text
        return orjson.dumps(self._each(orjson.loads(text), self._data_text))

    def text(self, text: str) -> str:
        """Return a text for people, masked, also where a cut has left pieces of secrets."""
        return text if self._all is None else self._masked(self._all, text)

    def finds(self, text: str) -> bool:
        """Tell whether a text has a secret in it that is not a common one."""
        return self._data is not None and (bool(self._data.search(text)) or self._is_wrapped_in(text))

    def _data_text(self, text: str) -> str:
        return text if self._data is None else self._masked(self._data, text)

    def _each(self, value: object, mask: Callable[[str], str]) -> Any:
        """Return a value of plain JSON types with every text in it masked."""
        if isinstance(value, str):
            return mask(value)
        if isinstance(value, dict):
            return {mask(name): self._each(item, mask) for name, item in value.items()}
        if isinstance(value, list):
            return [self._each(item, mask) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return MASK_TEXT if mask(repr(value)) != repr(value) else value
        return value

    def _masked(self, pattern: re.Pattern[str], text: str) -> str:
        text = _WRAPPED_BASE64_PATTERN.sub(lambda match: MASK_TEXT if self._is_encoded_in(match[0]) else match[0], text)
        pieces = CUT_SIGN.split(pattern.sub(MASK_TEXT, text))  # text, sign, text, sign, text
        is_long = len(text) >= _LONG_TEXT_CHARACTERS
        for index in range(0, len(pieces), 2):
            if index > 0 or is_long:
                pieces[index] = self._without_tail(pieces[index])
            if index < len(pieces) - 1 or is_long:
                pieces[index] = self._without_head(pieces[index])
        return "".join(pieces)

    def _is_wrapped_in(self, text: str) -> bool:
        return any(self._is_encoded_in(match[0]) for match in _WRAPPED_BASE64_PATTERN.finditer(text))

    def _is_encoded_in(self, lines: str) -> bool:
        joined = _LINE_END_PATTERN.sub("", lines)
        return any(form in joined for form in self._encoded)

    def _without_head(self, text: str) -> str:
        """Mask the beginning of a secret at a text's end."""
        length = max((_overlap(text, form) for form in self._forms), default=0)
        return text[: len(text) - length] + MASK_TEXT if length else text

    def _without_tail(self, text: str) -> str:
        """Mask the end of a secret at a text's beginning."""
        begin = len(text) - len(text.lstrip("\n\ufffd"))  # a line end of the sign, a character that was cut
        length = max((_overlap(text[begin : begin + len(form)][::-1], form[::-1]) for form in self._forms), default=0)
        return text[:begin] + MASK_TEXT + text[begin + length :] if length else text


def _any_of(patterns: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(patterns)) if patterns else None


def _as_word(text: str) -> str:
    """Return the pattern of a text that is no part of a longer word."""
    before = r"(?<!\w)" if re.match(r"\w", text[0]) else ""
    behind = r"(?!\w)" if re.match(r"\w", text[-1]) else ""
    return before + _pattern(text) + behind


def _pattern(text: str) -> str:
    """Return the pattern of a text, each of its characters as it is or in any form in which programs write it."""
    return _UNUSUAL_PATTERN.sub(
        lambda match: _backslashes(match[0]) if match[0][0] == "\\" else _character(match[0]), text
    )


def _backslashes(run: str) -> str:
    """Return the pattern of a run of backslashes: one for all, since each alone would match in too many ways."""
    count = len(run)
    return rf"(?:\\{{{count},{16 * count}}}|(?:%5[cC]){{{count}}}|(?:&#0*92;|&#[xX]0*5[cC];){{{count}}})"


def _character(char: str) -> str:
    code = ord(char)
    units = char.encode("utf-16-be", "surrogatepass")
    ways = [
        rf"\\{{0,15}}{re.escape(char)}",
        "".join(f"%{_hexadecimal(bytes([byte]))}" for byte in char.encode("utf-8", "surrogatepass")),
        "".join(rf"{_ESCAPE_PATTERN}u{_hexadecimal(units[at : at + 2])}" for at in range(0, len(units), 2)),
        f"&#0*{code};",
        f"&#[xX]0*{_hexadecimal(f'{code:x}')};",
    ]
    if code < 0x100:
        ways.append(rf"{_ESCAPE_PATTERN}x{_hexadecimal(bytes([code]))}")
    if char in _ESCAPE_LETTERS:
        ways.append(_ESCAPE_PATTERN + _ESCAPE_LETTERS[char])
    if char == " ":
        ways.append(r"\+")
    if char in _HTML_NAMES:
        ways.append(_HTML_NAMES[char])
    return f"(?:{'|'.join(ways)})"


def _hexadecimal(data: bytes | str) -> str:
    """Return the pattern of hexadecimal digits in letters of either case."""
    digits = data.hex() if isinstance(data, bytes) else data
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)


def _overlap(text: str, form: str) -> int:
    """Return the length of the longest beginning of a form with which a text ends, 0 where it is too short."""
    first = form[:_MIN_PIECE_CHARACTERS]
    at = text.find(first, max(0, len(text) - len(form) + 1))
    while at >= 0:
        if form.startswith(text[at:]):
            return len(text) - at
        at = text.find(first, at + 1)
    return 0


def _parts(secret: str) -> Iterator[str]:
    """Yield a secret and its parts that may appear alone: its lines, and the texts inside of JSON."""
    if len(secret) < MIN_CHARACTERS:
        return
    yield secret
    if secret != secret.strip() and len(secret.strip()) >= MIN_CHARACTERS:
        yield secret.strip()
    if "\n" in secret:
        yield from (line.strip() for line in secret.splitlines() if len(line.strip()) >= _MIN_PART_CHARACTERS)
    if secret.lstrip()[:1] in ("{", "["):
        try:
            inner = json.loads(secret)
        except (ValueError, RecursionError):
            return
        for text in _texts(inner):
            yield text
            yield from (line for line in text.splitlines() if "\n" in text and len(line) >= _MIN_PART_CHARACTERS)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
    elif isinstance(value, str) and len(value) >= _MIN_PART_CHARACTERS:
        yield value


def _shown(value: str) -> Iterator[str]:
    """Yield a value in the forms of which a cut may have left a piece."""
    yield value
    for escaped in (_in_json(value), json.dumps(value)[1:-1], _in_json(value).replace("'", "\\u0027")):
        yield escaped
        yield json.dumps(escaped)[1:-1]  # a JSON text inside of one
    yield repr(value)[1:-1]
    for encoded in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield encoded
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)


def _in_base64(value: str) -> Iterator[str]:
    """Yield a value in Base64, encoded alone and as a part of something."""
    data = value.encode("utf-8", "surrogatepass")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(data).decode().rstrip("=")
        for offset in range(3):
            part = _core(encode, data, offset)
            if len(part) >= _MIN_PART_CHARACTERS:
                yield part


def _core(encode: Any, data: bytes, offset: int) -> str:
    """Return the characters of Base64 that depend on the data alone, where that is a part of what is encoded. `offset`:
    its place, modulo 3."""
    text = str(encode(b"\0" * offset + data).decode()).rstrip("=")
    first = (0, 2, 3)[offset]
    bits = (offset + len(data)) * 8
    return text[first : bits // 6]


def _in_json(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]

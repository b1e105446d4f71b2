"""Values of databases as plain JSON.

whole numbers, booleans, text            as they are; beyond 64 bits as text
numeric, decimal                         a number where a JSON number holds it exactly, else text
NaN, infinity (float, numeric, dates)    text
date, time, timestamp                    text in ISO 8601: 2026-01-31, 08:00:00, 2026-01-31T08:00:00.5+00:00
interval                                 text in ISO 8601: P1Y2M3DT4H5M6.5S
bytea, blob                              text in base64
json, arrays, structs, rows, maps        lists and mappings
everything else (uuid, ranges, inet ...) the text that the database writes for it
"""

import base64
import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import orjson

from noetl.errors import TooLarge
from noetl.playbook.values import plain
from noetl.tools.exact_json import whole

TextReader = Callable[[str], Any]
"""A function from the text of a value, never NULL, to its JSON."""

_FEW_DIGITS: Final = 15
"""Digits that survive the way through a double and back."""


def number(text: str) -> int | float | str:
    """Return a decimal number as JSON can hold it exactly: whole, with up to 15 digits, else its text."""
    digits = text.lstrip("-").replace(".", "", 1)
    if not digits.isdecimal() or not digits.isascii():
        return text  # NaN, Infinity, an exponent
    if "." not in text:
        return whole(text)
    head, _, fraction = text.partition(".")
    if not fraction.strip("0"):
        return whole(head)
    return float(text) if len(digits.strip("0")) <= _FEW_DIGITS else text


def real(value: float) -> float | str:
    """Return a float, as text where JSON has none (NaN, infinity)."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def iso_moment(text: str) -> str:
    """Return a time or a timestamp as ISO 8601 writes it: with a T, and minutes in the zone.

    >>> iso_moment("2026-01-31 08:00:00.5+02")
    '2026-01-31T08:00:00.5+02:00'
    """
    if text.endswith("BC") or ":" not in text:
        return text  # infinity, a date, a year before 1
    if len(text) > 10 and text[10] == " ":
        text = text[:10] + "T" + text[11:]
    return text + ":00" if text[-3] in "+-" else text


def jsonable(value: object) -> Any:
    """Return a driver's value of a column as plain JSON types; unknown types become text."""
    match value:
        case None | str() | bool():
            return value
        case int():
            return whole(value)
        case float():
            return real(value)
        case Decimal():
            return number(format(value, "f"))
        case dt.datetime() | dt.time():
            fraction = f".{value.microsecond:06}"
            return value.isoformat().replace(fraction, fraction.rstrip("0").rstrip("."), 1)
        case dt.date():
            return value.isoformat()
        case dt.timedelta():
            return interval(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case dict():
            return {_key(key): jsonable(item) for key, item in value.items()}
        case list() | tuple():
            return [jsonable(item) for item in value]
        case _:
            return str(value)


def _key(key: object) -> str:
    plain_key = jsonable(key)
    return plain_key if isinstance(plain_key, str) else orjson.dumps(plain_key).decode()


def interval(value: dt.timedelta) -> str:
    """Return a duration as ISO 8601 writes it: P1DT2H3M4.5S."""
    negative = value < dt.timedelta(0)
    seconds, micro = divmod(abs(value) // dt.timedelta(microseconds=1), 1_000_000)
    days, seconds = divmod(seconds, 86400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    sign = "-" if negative else ""
    exact = f"{seconds}.{micro:06}".rstrip("0").rstrip(".") if micro else str(seconds)
    clock = "".join(
        f"{sign}{amount}{unit}"
        for amount, unit in ((hours, "H"), (minutes, "M"), (exact, "S"))
        if amount not in (0, "0")
    )
    date = f"{sign}{days}D" if days else ""
    return f"P{date}{'T' + clock if clock else ''}" if date or clock else "PT0S"


class Results:
    """The result of a step's commands as JSON text: `{command_0: {status, rows, row_count, columns}, ...,
    executed_commands}`.

    It is written while rows come, so that neither more rows nor a second copy of them are ever held than the limit
    (bytes) lets pass; rows that are kept are a second copy. Methods raise
    `TooLarge`, or `ValueNotJson` for what JSON cannot hold.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._text = bytearray(b"{")
        self._commands = 0
        self._rows = 0
        self._names: list[str] = []
        self._kept: list[bytes] | None = None  # rows whose columns are read when the command ends
        self._size = 0  # bytes of these rows

    def begin(self, columns: Sequence[str] = (), *, kept: bool = False) -> None:
        """Begin the next command. Of columns that share a name the later ones get a number. `kept`: `end` gets
        the readers of texts."""
        self._names, self._rows = unique(columns), 0
        self._kept, self._size = [] if kept else None, 0
        self._write(b'%b"command_%d":{"status":"success","rows":[' % (b"," if self._commands else b"", self._commands))

    def row(self, values: Sequence[object]) -> None:
        """Add a row of plain values."""
        name = f"command_{self._commands}.rows[{self._rows}]"
        text = plain(dict(zip(self._names, values, strict=True)), self._limit, name)
        if self._kept is not None:
            self._rows += 1
            self._kept.append(text)
            self._size += len(text)
            self._check(len(self._text) + self._size)
            return
        if self._rows:
            self._text += b","
        self._rows += 1
        self._write(text)

    def end(self, affected: int = 0, readers: Mapping[int, TextReader] | None = None) -> None:
        """End the command; `affected` rows where it returned none. `readers`: of texts in rows that were kept, by
        the place of the column."""
        rows, self._kept, self._rows = self._kept or (), None, 0 if self._kept else self._rows
        read = {self._names[place]: reader for place, reader in (readers or {}).items()}
        for text in rows:
            row = orjson.loads(text)
            row |= {name: reader(row[name]) for name, reader in read.items() if row[name] is not None}
            self.row(list(row.values()))
        count = self._rows if self._names else max(0, affected)
        self._write(b'],"row_count":%d,"columns":%b}' % (count, orjson.dumps(self._names)))
        self._commands += 1

    def text(self) -> bytes:
        """Return the result."""
        comma = b"," if self._commands else b""
        return bytes(self._text) + b'%b"executed_commands":%d}' % (comma, self._commands)

    def _write(self, text: bytes) -> None:
        self._text += text
        self._check(len(self._text))

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise TooLarge(
                f"the result has more than {self._limit:,} bytes as JSON at row {self._rows} of command"
                f" {self._commands}: select less, or keep it in the database"
            )


def unique(names: Sequence[str]) -> list[str]:
    """Return column names with repeated ones numbered: id, id_2."""
    numbered: list[str] = []
    taken = set(names)
    for name in names:
        new, count = name, 1
        while new in numbered:
            count += 1
            new = f"{name}_{count}" if f"{name}_{count}" not in taken else name
        numbered.append(new)
    return numbered

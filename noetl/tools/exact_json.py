"""JSON from outside, read without losing digits: orjson turns whole numbers beyond 64 bits into floats."""

import json
import math
import re
from typing import Any, Final, NoReturn

import orjson

_LONG_DIGITS: Final = re.compile(rb"[0-9]{19}")
_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
_UINT64_MAX: Final = 2**64 - 1
"""The greatest integer of a result: databases have no unsigned ones, other services do."""


class NumberTooBig(ValueError):
    """A number of a JSON document fits into neither 64 bits nor a float."""


def exact_json(data: bytes, *, big_as_text: bool = True) -> Any:
    """Return the value of a JSON document in UTF-8; a number that does not fit becomes text.

    With `big_as_text=False` such a number raises `NumberTooBig`, which names it. Raises ValueError where `data` is
    not JSON (NaN and Infinity are not).
    """
    if not _LONG_DIGITS.search(data):
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass  # perhaps 1e400 and the like; else the standard library says the same
    try:
        return json.loads(
            data,
            parse_int=whole if big_as_text else _fitting_whole,
            parse_float=_finite if big_as_text else _fitting_float,
            parse_constant=_refuse,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def whole(text: str | int) -> int | str:
    """Return a whole number, as text beyond 64 bits: JSON's readers would lose digits."""
    if isinstance(text, str) and len(text) > 20:  # also since int() refuses thousands of digits
        return text
    number = int(text)
    return number if _INT64_MIN <= number <= _INT64_MAX else str(text)


def _finite(text: str) -> float | str:
    return float(text) if math.isfinite(float(text)) else text


def _fitting_whole(text: str) -> int:
    if len(text) > 20 or not _INT64_MIN <= int(text) <= _UINT64_MAX:
        _too_big(text)
    return int(text)


def _fitting_float(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _too_big(text)


def _too_big(text: str) -> NoReturn:
    shown = text if len(text) <= 40 else text[:37] + "..."
    raise NumberTooBig(f"the number {shown} does not fit into 64 bits")


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")

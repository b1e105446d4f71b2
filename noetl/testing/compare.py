"""The differences between two JSON values, as lines for people."""

import json
from collections.abc import Iterator
from typing import Any, Final

MAX_DIFFERENCES: Final = 20
"""Differences told of one value: more would hide the first."""

MAX_VALUE_CHARACTERS: Final = 200
_MISSING: Final = object()


def differences(expected: object, got: object, name: str, *, contains: bool = False) -> list[str]:
    """Return the differences between two values, none where they are equal.

    With `contains`, `got` may have more: keys of a mapping, items of a list (those expected must stand in it in
    their order). Numbers are equal by value, true and 1 are not.
    """
    lines: list[str] = []
    for line in _differ(expected, got, name, contains):
        if len(lines) == MAX_DIFFERENCES:
            lines.append("...")
            break
        lines.append(line)
    return lines


def holds(expected: object, got: object) -> bool:
    """Whether a value has everything that is expected of it."""
    return next(_differ(expected, got, "", True), None) is None


def _differ(expected: object, got: object, name: str, contains: bool) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(got, dict):
        yield from _mappings(expected, got, name, contains)
    elif isinstance(expected, list) and isinstance(got, list):
        yield from _lists(expected, got, name, contains)
    elif not _equal(expected, got):
        yield f"{name}: expected {short(expected)}, got {short(got)}"


def _equal(expected: object, got: object) -> bool:
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    return bool(expected == got)


def _mappings(expected: dict[str, Any], got: dict[str, Any], name: str, contains: bool) -> Iterator[str]:
    for key, value in expected.items():
        place = _place(name, key)
        if key not in got:
            yield f"{place}: expected {short(value)}, it is not there"
        else:
            yield from _differ(value, got[key], place, contains)
    if not contains:
        for key, value in got.items():
            if key not in expected:
                yield f"{_place(name, key)}: not expected, got {short(value)}"


def _lists(expected: list[Any], got: list[Any], name: str, contains: bool) -> Iterator[str]:
    if contains:
        rest = iter(got)
        for index, value in enumerate(expected):
            if not any(holds(value, item) for item in rest):
                yield f"{name}: expected item {index}, {short(value)}, is not there (or not in this order)"
                return
        return
    for index, value in enumerate(expected[: len(got)]):
        yield from _differ(value, got[index], f"{name}[{index}]", contains)
    if len(expected) != len(got):
        yield f"{name}: expected {len(expected)} items, got {len(got)}"


def _place(name: str, key: str) -> str:
    return f"{name}.{key}" if key.isidentifier() else f"{name}[{key!r}]"


def short(value: object) -> str:
    """Return a value as JSON, cut off where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_CHARACTERS else text[: MAX_VALUE_CHARACTERS - 3] + "..."

"""Playbooks as plain values, to be compared."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from noetl.playbook.model import Playbook
from noetl.playbook.templates.template import Condition, Constant, Expression, ListTemplate, MappingTemplate, Path

_ELSEWHERE = {"hash", "line"}
"""What differs between two texts of one playbook."""


def told(playbook: Playbook) -> Any:
    """Return all that a playbook says, but not where it says it."""
    return _plain(playbook)


def _plain(value: Any) -> Any:
    match value:
        case Constant():
            return _plain(value.value)
        case Expression() | Path() | Condition():
            return ["template", value.text]
        case MappingTemplate():
            return {key: _plain(constant if item is None else item) for key, constant, item in value._items}
        case ListTemplate():
            return [_plain(item) for item in value._items]
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case frozenset():
            return sorted(value)
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value) if one.name not in _ELSEWHERE}
    return value

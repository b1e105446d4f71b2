"""The text of values in templates: text as it is, all other values as JSON, and an error for null."""

import json
from typing import Any, Final

from jinja2 import Undefined, nodes
from jinja2.exceptions import SecurityError

from noetl.playbook.templates.result_views import raw
from noetl.playbook.templates.secret_references import in_json

_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class NullInText(SecurityError):
    """A null stands where a text is made; null has no text."""


def json_text(value: object) -> str:
    """Return the text of a value of plain JSON types: `true`, `{"a":1}`. Raises `NullInText`.

    >>> json_text({"a": [1.5, None, True]})
    '{"a":[1.5,null,true]}'
    """
    if isinstance(value, str):
        return value
    if value is None:
        raise NullInText("null has no text: write default('') behind it, or another text that stands for it")
    if type(value) is int or type(value) is float:  # most often; finite ones are written alike
        return repr(value)
    return in_json(_ENCODE(value))


def null_in_text(name: str) -> NullInText:
    """Return the error of a null that a template calls by a name."""
    return NullInText(
        f"{name} is null, and null has no text: write {name} | default(''), or another text that stands for it"
    )


def name_of(node: nodes.Node) -> str:
    """Return the words by which an expression is called in errors: its path, as far as it is one."""
    match node:
        case nodes.Name(name=name):
            return f"{name}"
        case nodes.Getattr(node=inner, attr=attr):
            return f"{name_of(inner)}.{attr}"
        case nodes.Getitem(node=inner, arg=nodes.Const(value=value)):
            return f"{name_of(inner)}[{value!r}]"
        case nodes.Filter(node=nodes.Node() as inner, name=name) if not name.startswith("$"):
            return f"({name_of(inner)} | {name})"
        case nodes.Call(node=inner):
            return f"{name_of(inner)}()"
        case nodes.Const(value=None):
            return "none"
        case _:
            return "(...)"


def default(value: object, default_value: object = "", boolean: bool = False) -> Any:
    """Jinja's `default`, for null as for what is undefined."""
    return default_value if isinstance(value, Undefined) or raw(value) is None or (boolean and not value) else value

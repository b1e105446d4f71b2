"""The reader of `auth`: it checks types, fields and names that are written out; templates are checked at the call.

Its forms:

    auth: name                              a credential of the store
    auth: {type: postgres, key: name}       the same, its type said
    auth: {type: bearer, token: "..."}      its fields in place, secrets by secret()
    auth: {source: name, target: {...}}     by aliases, where a tool takes several
"""

from typing import Final

from noetl.errors import InputError
from noetl.playbook.common_secrets import COMMON_WARNING, is_common
from noetl.playbook.credential_types import CREDENTIAL_TYPES, check_fields, check_name, check_type
from noetl.playbook.lint.codes import Code
from noetl.playbook.read.reader import Reader
from noetl.playbook.step_types import STEP_TYPES
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.templates.template import is_template
from noetl.playbook.yaml.tree import Node

_STANDS_FOR: Final = "x"
"""What a template gives, for all that can be known of it."""


def check_auth(reader: Reader, node: Node, tool: str | None, label: str) -> None:
    """Report problems of an `auth`. `tool` is the type of its step, None where it is not known."""
    if node.kind != "mapping":
        _check_name(reader, node, label)
    elif node.value.keys() & {"type", "key"}:
        _check_one(reader, node, tool, label)
    elif tool is not None and not STEP_TYPES[tool].aliases:
        reader.error(
            node,
            Code.AUTH,
            f"{label} has no type: a step of type {tool} takes one credential, by its name or with a type",
        )
    else:
        for alias, each in node.value.items():
            if each.kind == "mapping":
                _check_one(reader, each, tool, f"{alias} of {label}")
            else:
                _check_name(reader, each, f"{alias} of {label}")


def _check_name(reader: Reader, node: Node, label: str) -> None:
    if not isinstance(node.value, str):
        reader.error(
            node, Code.WRONG_TYPE, f"{label} is {node.describe()}: it must be the name of a credential, or a mapping"
        )
    elif not is_template(node.value):
        try:
            check_name(node.value)
        except InputError as problem:
            reader.error(node, Code.AUTH, f"{label}: {problem}")


def _check_one(reader: Reader, node: Node, tool: str | None, label: str) -> None:
    """Check `{type, key}` or `{type, fields...}`."""
    keys: dict[str, Node] = node.value
    type_ = keys.get("type")
    known = type_ is not None and not (isinstance(type_.value, str) and is_template(type_.value))
    if known and type_ is not None and not _check_type(reader, type_, tool, label):
        return
    if "key" in keys:
        for extra in sorted(keys.keys() - {"type", "key"}):
            reader.error(
                node.keys[extra], Code.AUTH, f"{label} has a key, so all else comes from that credential: {extra!r}"
            )
        _check_name(reader, keys["key"], f"key of {label}")
    elif known and type_ is not None:
        samples = {name: _sample(value, type_.value, name) for name, value in keys.items() if name != "type"}
        try:
            check_fields(type_.value, samples)
        except InputError as problem:
            reader.error(node, Code.AUTH, f"{label}: {problem}")
        _warn_of_clear_text(reader, keys, type_.value, label)


def _warn_of_clear_text(reader: Reader, keys: dict[str, Node], type_: str, label: str) -> None:
    for name, value in keys.items():
        spec = CREDENTIAL_TYPES[type_].get(name)
        if spec is not None and spec.secret and isinstance(value.value, str) and not is_template(value.value):
            common = f"; it {COMMON_WARNING}" if is_common(value.value) else ""
            reader.warning(
                value,
                Code.CLEAR_TEXT,
                f"{name} of {label} stands in the file for all to read: use secret(), or a credential{common}",
            )


def _check_type(reader: Reader, node: Node, tool: str | None, label: str) -> bool:
    try:
        type_ = check_type(node.value)
    except InputError as problem:
        reader.error(node, Code.AUTH, f"{label}: {problem}")
        return False
    takes = (STEP_TYPES[tool].credentials if tool is not None else ()) or tuple(CREDENTIAL_TYPES)
    if type_ not in takes:
        hint = did_you_mean(type_, takes) or f": it takes {', '.join(takes)}"
        reader.error(
            node, Code.AUTH, f"{label}: a step of type {tool} does not take a credential of type {type_}{hint}"
        )
    return type_ in takes


def _sample(node: Node, type_: str, name: str) -> object:
    """Return a value for a check of the fields: a template may give any, so it gives one that fits."""
    if isinstance(node.value, str) and is_template(node.value):
        spec = CREDENTIAL_TYPES[type_].get(name)
        if spec is not None and spec.choices:
            return spec.choices[0]
        return 1 if name.endswith("port") else _STANDS_FOR
    return _STANDS_FOR if node.kind != "scalar" and type_ == "generic" else node.value

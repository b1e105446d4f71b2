"""Checks what fields that are written out need of each other, by the rules of the tools that get them.

What a template gives is not known, and nothing is said about it.
"""

from collections.abc import Mapping
from typing import Final

from noetl.errors import InputError
from noetl.playbook import durations
from noetl.playbook.lint.codes import Code
from noetl.playbook.read.reader import Reader
from noetl.playbook.templates.template import is_template
from noetl.playbook.yaml.tree import Node
from noetl.rules import save as save_rules

_OF_A_STORAGE: Final = frozenset[str]().union(*save_rules.FIELDS.values())
"""The fields of a save that go with some storage."""


def check_constants(reader: Reader, node: Node, type_: str, what: str) -> None:
    """Check the fields of a step or task of a type; `node` is its mapping, `what` what problems call it."""
    keys: Mapping[str, Node] = node.value
    if type_ == "save":
        _check_save(reader, node, what)
    if type_ == "wait" and (until := keys.get("until")) is not None and until.kind == "scalar" and _constant(until):
        try:
            durations.moment(until.value)
        except InputError as error:
            reader.error(until, Code.VALUE, f"until of {what}: {error}")
    loops = keys.get("loop")
    for holder in (node, *(loops.value if loops is not None and loops.kind == "list" else [loops])):
        save = holder.value.get("save") if holder is not None and holder.kind == "mapping" else None
        if save is not None and save.kind == "mapping":
            _check_save(reader, save, f"save of {what}")


def _constant(node: Node) -> bool:
    return not node.null and not (isinstance(node.value, str) and is_template(node.value))


def _check_save(reader: Reader, node: Node, what: str) -> None:
    given = {name: value for name, value in node.value.items() if not value.null}
    chosen = given.get("storage")
    storage = chosen.value if chosen is not None else save_rules.EVENT_LOG
    if not isinstance(storage, str) or storage not in save_rules.FIELDS:
        return  # a template, or reported already
    for name in given.keys() & _OF_A_STORAGE - save_rules.FIELDS[storage]:
        default = "" if chosen is not None else ", which is meant where none is given"
        told = f"{name} of {what} does not go with storage {storage}{default}"
        reader.error(node.keys[name], Code.VALUE, told)
    if storage == "file":
        _check_file(reader, node, given, what)
    elif storage != save_rules.EVENT_LOG:
        _check_table(reader, node, given, what)


def _check_file(reader: Reader, node: Node, given: Mapping[str, Node], what: str) -> None:
    path = given.get("path")
    if path is None:
        reader.error(node, Code.MISSING, f"{what} has storage file and no 'path': add it")
    elif "format" not in given and _constant(path) and save_rules.format_of(str(path.value)) is None:
        told = f"path of {what} does not say its format: give 'format' ({', '.join(save_rules.FORMATS)})"
        reader.error(path, Code.MISSING, told)


def _check_table(reader: Reader, node: Node, given: Mapping[str, Node], what: str) -> None:
    if ("table" in given) is ("statement" in given):
        fault = "both 'table' and 'statement': leave one out" if "table" in given else "no 'table': add it"
        reader.error(node, Code.MISSING, f"{what} has {fault}")
    elif "statement" in given:
        for name in given.keys() & {"mode", "key"}:
            told = f"{name} of {what} goes with a table: a statement says itself what it does"
            reader.error(node.keys[name], Code.VALUE, told)
    else:
        _check_rows(reader, node, given, what)


def _check_rows(reader: Reader, node: Node, given: Mapping[str, Node], what: str) -> None:
    """Check what goes with a table: mode and key."""
    mode, key, data = given.get("mode"), given.get("key"), given.get("data")
    if "params" in given:
        told = f"params of {what} go with a statement: a table's values are its data"
        reader.error(node.keys["params"], Code.VALUE, told)
    if mode is not None and not _constant(mode):
        return
    if mode is None or mode.value == "insert":
        if key is not None:
            told = f"key of {what} goes with 'mode: upsert', which replaces the row that has the same key"
            reader.error(node.keys["key"], Code.VALUE, told)
    elif mode.value == "upsert" and key is None:
        reader.error(mode, Code.MISSING, f"{what} has mode upsert and no 'key': add the column, or a list of columns")
    elif key is not None and data is not None and data.kind == "mapping":
        for name in key.value if key.kind == "list" else [key]:
            if name.kind == "scalar" and _constant(name) and name.value not in data.value:
                told = f"data of {what} has no {name.text!r}, which is part of the key"
                reader.error(name, Code.VALUE, told)

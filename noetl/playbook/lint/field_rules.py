"""The check of constant fields: what they require of each other, by the rules of the tools that get them.

What a template gives is not known, and nothing is said about it.
"""

from collections.abc import Mapping

from noetl.errors import InputError
from noetl.playbook import durations
from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.source import PlaybookSource, StepOrTask
from noetl.playbook.read.reader import Reader
from noetl.playbook.templates.template import is_template
from noetl.playbook.yaml.tree import Node
from noetl.rules import save as save_rules


def check_field_rules(source: PlaybookSource) -> None:
    """Report fields of a save, and moments of a wait, that do not go together or cannot be."""
    for owner in source.steps_and_tasks:
        of_task = "task" in owner.node.value  # the rest of a step's fields stands in its task
        if owner.type == "save" and not of_task:
            _check_save(source.reader, owner.node, owner.label)
        if owner.type == "save" and owner.step is not None and not owner.step.task:
            _check_has_data(source.reader, owner)
        until = owner.node.value.get("until")
        if owner.type == "wait" and until is not None and until.kind == "scalar" and _constant(until):
            try:
                durations.moment(until.value)
            except InputError as error:
                source.reader.error(until, Code.VALUE, f"until of {owner.label}: {error}")
        for save in owner.saves if not (of_task and owner.type == "save") else ():
            _check_save(source.reader, save, f"save of {owner.label}")


def _check_has_data(reader: Reader, owner: StepOrTask) -> None:
    """Report a step of type save that has nothing to save; a block `save` in it is about its result."""
    if any(name in owner.node.value for name in ("data", "statement")):
        return
    block = "save" in owner.node.value
    advice = "write the fields of its block 'save' into the step itself" if block else "add 'data'"
    message = f"{owner.label} of type save has nothing to save: {advice}"
    reader.error(owner.node.keys["save"] if block else owner.node, Code.MISSING, message)


def _constant(node: Node) -> bool:
    return not node.null and not (isinstance(node.value, str) and is_template(node.value))


def _check_save(reader: Reader, node: Node, label: str) -> None:
    fields = {name: value for name, value in node.value.items() if not value.null}
    chosen = fields.get("storage")
    storage = chosen.value if chosen is not None else save_rules.EVENT_LOG
    if not isinstance(storage, str) or storage not in save_rules.FIELDS:
        return  # a template, or reported already
    for name in save_rules.foreign_fields(storage, fields):
        default = "" if chosen is not None else ", the default"
        message = f"{name} of {label} does not go with storage {storage}{default}"
        reader.error(node.keys[name], Code.VALUE, message)
    if storage == "file":
        _check_file(reader, node, fields, label)
    elif storage != save_rules.EVENT_LOG:
        _check_table(reader, node, fields, label)


def _check_file(reader: Reader, node: Node, fields: Mapping[str, Node], label: str) -> None:
    path = fields.get("path")
    if path is None:
        reader.error(node, Code.MISSING, f"{label} has storage file and no 'path': add it")
    elif "format" not in fields and _constant(path) and save_rules.format_of(str(path.value)) is None:
        message = f"path of {label} does not say its format: give 'format' ({', '.join(save_rules.FORMATS)})"
        reader.error(path, Code.MISSING, message)


def _check_table(reader: Reader, node: Node, fields: Mapping[str, Node], label: str) -> None:
    if ("table" in fields) is ("statement" in fields):
        fault = "both 'table' and 'statement': leave one out" if "table" in fields else "no 'table': add it"
        reader.error(node, Code.MISSING, f"{label} has {fault}")
        return
    chosen = fields.get("mode")
    mode = save_rules.INSERT if chosen is None else chosen.value if _constant(chosen) else None
    for name, reason in save_rules.misplaced_fields(fields, mode):
        reader.error(node.keys[name], Code.VALUE, f"{name} of {label} {reason}")
    if "table" in fields and chosen is not None and mode in save_rules.MODES and mode != save_rules.INSERT:
        _check_key(reader, chosen, fields, label)


def _check_key(reader: Reader, mode: Node, fields: Mapping[str, Node], label: str) -> None:
    """Check that an upsert has a key, and the data its columns."""
    key, data = fields.get("key"), fields.get("data")
    if key is None:
        reader.error(mode, Code.MISSING, f"{label} has mode upsert and no 'key': add the column, or a list of columns")
    elif data is not None and data.kind == "mapping":
        for name in key.value if key.kind == "list" else [key]:
            if name.kind == "scalar" and _constant(name) and name.value not in data.value:
                message = f"data of {label} has no {name.text!r}, which is part of the key"
                reader.error(name, Code.VALUE, message)

"""The check of commands: SQL and shell texts in the fields of steps."""

from collections.abc import Iterator, Mapping
from typing import Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.placeholders import check_placeholders, check_transactions
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.lint.sql import look_at, template_at
from noetl.playbook.lint.template_reads import reads_of
from noetl.playbook.read.reader import Reader
from noetl.playbook.step_types import fields_of
from noetl.playbook.templates.sandbox import ENVIRONMENT
from noetl.playbook.yaml.tree import Node

_HARMLESS_NAMES: Final = frozenset({"execution_id", "job"})
"""Names whose values are letters, digits and hyphens."""


def check_commands(source: PlaybookSource) -> None:
    """Check the SQL of steps, tasks and their blocks `save`, and what shells and containers run."""
    reader = source.reader
    for owner in source.steps_and_tasks:
        keys: Mapping[str, Node] = owner.node.value
        for name, spec in fields_of(owner.type).items():
            if name in keys and spec.language == "sql":
                _check_sql_field(reader, keys[name], name, owner.label)
                _check_binding(reader, keys, name, owner.type, owner.label)
            elif name in keys and spec.language == "shell":
                _check_shell(reader, keys[name], owner.type, owner.label)
        for save in owner.saves:
            if "statement" in save.value:
                _check_sql_field(reader, save.value["statement"], "save.statement", owner.label)
                _check_binding(reader, save.value, "statement", "save", f"save of {owner.label}")


def _check_sql_field(reader: Reader, node: Node, name: str, label: str) -> None:
    if node.null:
        return
    if node.kind == "list" and not node.value:
        reader.error(node, Code.SQL, f"{name} of {label} is an empty list: there is no command in it")
    for item in _texts(reader, node, name, label):
        if reader.has_error(item):
            continue  # it could not be read: what stands for it says nothing
        sql = look_at(item.value)
        if sql.fault is not None:
            index, sign, message = sql.fault.index, sql.fault.sign, f"{name} of {label}: {sql.fault.message}"
            if sign:
                reader.report_token(item, index, sign, "error", Code.SQL, message)
            else:
                reader.error(item, Code.SQL, message)
        secrets = _secrets_in(item.value)
        for index in secrets:
            message = (
                f"{name} of {label}: a secret is written into the SQL, which servers log and errors show: give it in"
                " 'params' instead"
            )
            reader.report_token(item, index, item.value[index : index + 2], "warning", Code.SQL_SECRET, message)
        for index in sql.values:
            if index not in secrets and _data_in(template_at(item.value, index)):
                message = (
                    f"{name} of {label}: a value is written into the SQL by a template: give it in 'params' instead"
                )
                reader.report_token(item, index, "{{", "warning", Code.SQL_TEMPLATE, message)


def _check_binding(reader: Reader, keys: Mapping[str, Node], name: str, type_: str, label: str) -> None:
    """Check all commands of a field together: transactions, and placeholders against `params`."""
    field, params, once = keys[name], keys.get("params"), keys.get("once")
    texts = [text for text in (field.value if field.kind == "list" else [field]) if isinstance(text.value, str)]
    if any(reader.has_error(text) for text in texts):
        return
    if type_ == "postgres" and (once is None or once.null or once.value is True):
        for text in texts:
            check_transactions(reader, text, label)
    if params is not None:
        storage = keys["storage"].value if "storage" in keys else type_
        check_placeholders(reader, texts, params, storage, label)


def _check_shell(reader: Reader, node: Node, type_: str, label: str) -> None:
    written = _first_value(node.value) if type_ == "shell" and isinstance(node.value, str) else None
    if written is not None:
        message = (
            f"command of {label}: a template is written into the text that the shell reads: give the value in 'env' and"
            ' write "$NAME", or make the command a list'
        )
        reader.report_token(node, written, "{{", "warning", Code.SHELL_TEMPLATE, message)
    elif not node.null:
        _check_items(reader, node, "command", label)
        for item in node.value if node.kind == "list" and type_ == "shell" else ():
            if isinstance(item.value, str) and "secret(" in item.value and "{{" in item.value:
                message = (
                    f"command of {label}: arguments of a program are seen in the machine's list of processes: give the"
                    " secret in 'env' or 'stdin'"
                )
                reader.report_token(item, item.value.index("{{"), "{{", "warning", Code.SHELL_SECRET, message)


def _first_value(text: str) -> int | None:
    """Return the index of the first template that puts data into a text; None where all are constant or raw."""
    reads = _data_in(text)
    if not reads:
        return None
    begun, at = text.index("{{") if "{{" in text else 0, 0
    for _, kind, value in ENVIRONMENT.lex(text):
        at = max(text.find(value, at), at)
        if kind == "variable_begin":
            begun = at
        elif kind == "name" and value in reads and text.startswith("{{", begun):
            return begun
    return begun


def _data_in(text: str) -> set[str]:
    """Return the names by which a template reads data."""
    reads = {read.name for read in reads_of(text).reads if not (read.called and read.name in ENVIRONMENT.globals)}
    return reads - _HARMLESS_NAMES


def _secrets_in(text: str) -> list[int]:
    """Return the indexes of the templates of a text that ask for secrets."""
    if "secret" not in text:
        return []
    asked = [read.offsets[0] for read in reads_of(text).reads if read.name == "secret" and read.called]
    return sorted({max(text.rfind("{{", 0, at), text.rfind("{%", 0, at)) for at in asked})


def _texts(reader: Reader, node: Node, name: str, label: str) -> Iterator[Node]:
    """Yield the texts of a field that is a text or a list of texts; report all other values."""
    for item in node.value if node.kind == "list" else [node]:
        if isinstance(item.value, str):
            yield item
        else:
            reader.error(
                item, Code.WRONG_TYPE, f"{name} of {label} is {item.describe()}: it must be text, or a list of it"
            )


def _check_items(reader: Reader, node: Node, name: str, label: str) -> None:
    """Report values that cannot be arguments of a program."""
    for item in node.value if node.kind == "list" else [node]:
        if node.kind == "list" and isinstance(item.value, bool):
            message = f"{name} of {label} has {item.text}: write '{item.text}' in quotes, which is text"
            reader.error(item, Code.WRONG_TYPE, message)
        elif item.kind != "scalar" or item.null or (node.kind != "list" and not isinstance(item.value, str)):
            reader.error(
                item, Code.WRONG_TYPE, f"{name} of {label} is {item.describe()}: it must be text, or a list of it"
            )

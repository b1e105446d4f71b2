"""Older spellings of single fields: Base64, a save's storage and data."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from noetl.playbook.legacy import words
from noetl.playbook.legacy.logins import database, logins
from noetl.playbook.legacy.tree import Draft, items, text
from noetl.playbook.lint.codes import Code
from noetl.playbook.read.python_names import undefined_names
from noetl.playbook.yaml.tree import Node

_UNREADABLE: Final = {"code": "def main(): pass", "command": "SELECT 1", "commands": "SELECT 1"}
"""What stands in for a field that could not be decoded, so that one mistake is one problem."""


# ---- Base64 ----------------------------------------------------------------------------------------------------------


def decode(draft: Draft, encoded: Mapping[str, str]) -> None:
    """Put the text itself where a field has it in Base64."""
    for old, new in encoded.items():
        source = draft.get(old)
        if source is None:
            continue
        label = f"{old} of {draft.label}"
        draft.rename({old: new})
        if draft.get(new) is source and not source.null:
            draft.put(new, _decoded(draft, source, label, new), draft.key(new))


def _decoded(draft: Draft, node: Node, label: str, new: str) -> Node:
    if node.kind == "list":
        return items(node, [_decoded(draft, item, label, new) for item in node.value])
    decoded, reason = _plain(node)
    if reason:
        draft.notes.error(node, Code.BASE64, f"{label} {reason}: encode it again, or write the text itself as {new!r}")
        decoded = _UNREADABLE[new]
    return text(node, decoded, apart=True)


def _plain(node: Node) -> tuple[str, str]:
    """Return the text that is encoded, or why there is none."""
    if not isinstance(node.value, str):
        return "", f"is {node.describe()}, not Base64 text"
    try:
        decoded = base64.b64decode("".join(node.value.split()), validate=True).decode()
    except UnicodeDecodeError:
        return "", "is Base64 of something that is no UTF-8 text"
    except (binascii.Error, ValueError):
        return "", f"is no Base64 ({node.describe()})"
    return ("", "contains a NUL character") if "\x00" in decoded else (decoded, "")


# ---- code ------------------------------------------------------------------------------------------------------------


def imports(draft: Draft) -> None:
    """Append imports of the former globals that some code uses without defining them; `main` is called after that."""
    node = draft.get("code")
    if node is None or not isinstance(node.value, str) or not any(name in node.value for name in words.GLOBALS):
        return
    missing = [name.id for name in undefined_names(node.value) if name.id in words.GLOBALS]
    lines = [_import(name, node.value) for name in missing]
    for line in lines:
        draft.notes.hint(node, f"write {line!r} at the beginning of the code")
    if lines:
        code = node.value.rstrip("\n") + "\n\n" + "\n".join(lines) + "\n"
        draft.put("code", replace(node, value=code, text=code), draft.key("code"))


def _import(name: str, code: str) -> str:
    """Return the line that imports a name; `datetime` is the class, unless the code looks for what the module has."""
    looked = re.findall(r"\bdatetime\.(\w+)", code)
    return (
        "from datetime import datetime"
        if name == "datetime" and words.OF_DATETIME.isdisjoint(looked)
        else f"import {name}"
    )


# ---- save ------------------------------------------------------------------------------------------------------------


def save_block(block: Draft) -> None:
    """Rewrite a block `save`."""
    storage(block)
    block.rename(words.SAVE)
    logins(block)
    _data(block)
    database(block, block)


def save_step(step: Draft) -> None:
    """Rewrite the fields of a step of type save. Without `data` of its own, its args are the data."""
    storage(step)
    if not any(name in step for name in ("data", "params")):
        _data(step)
    step.rename(words.AUTH)
    database(step, step)


def _data(draft: Draft) -> None:
    """Rewrite what is saved: rows, or for a statement with places instead of names their values."""
    for word in words.SAVE_DATA:
        data = draft.get(word)
        rows = data is None or data.kind != "list" or all(item.kind == "mapping" for item in data.value)
        draft.rename({word: "data" if rows or "statement" not in draft else "params"})


def storage(draft: Draft) -> None:
    """Put what stands in `storage: {type: ..., table: ...}` beside it, and give the storage its name of today."""
    node = draft.get("storage")
    named = [] if node is None or node.kind != "mapping" else [word for word in words.STORAGE if word in node.value]
    if node is not None and named:
        key, _ = draft.take("storage")
        inner = Draft(draft.notes, node, "its storage")
        _, kind = inner.take(named[0])
        draft.notes.hint(key, "write 'storage: name' and its settings beside it instead of a mapping")
        draft.put("storage", kind, key)
        for name in inner:
            draft.move(inner, name)
    draft.rename_value("storage", words.STORAGES)

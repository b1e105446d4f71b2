"""Older spellings of single fields: Base64, a save's storage and data, logins among the arguments."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Final

from noetl.playbook import spelling_words as words
from noetl.playbook.spelling_tree import Draft, items, mapping, text
from noetl.playbook.yamltree import Node

_UNREADABLE: Final = {"code": "def main(): pass", "command": "SELECT 1", "commands": "SELECT 1"}
"""What stands in for a field that could not be decoded, so that one mistake is one problem."""


# ---- Base64 ----------------------------------------------------------------------------------------------------------


def decode(draft: Draft, encoded: Mapping[str, str]) -> None:
    """Put the text itself where a field has it in Base64."""
    for old, new in encoded.items():
        given = draft.get(old)
        if given is None:
            continue
        what = f"{old} of {draft.what}"
        draft.rename({old: new})
        if draft.get(new) is given and not given.null:
            draft.put(new, _decoded(draft, given, what, new), draft.key(new))


def _decoded(draft: Draft, node: Node, what: str, new: str) -> Node:
    if node.kind == "list":
        return items(node, [_decoded(draft, item, what, new) for item in node.value])
    found, reason = _plain(node)
    if reason:
        draft.notes.error(node, "base64", f"{what} {reason}: encode it again, or write the text itself as {new!r}")
        found = _UNREADABLE[new]
    return text(node, found, apart=True)


def _plain(node: Node) -> tuple[str, str]:
    """Return the text that is encoded, or why there is none."""
    if not isinstance(node.value, str):
        return "", f"is {node.describe()}, not Base64 text"
    try:
        found = base64.b64decode("".join(node.value.split()), validate=True).decode()
    except UnicodeDecodeError:
        return "", "is Base64 of something that is no UTF-8 text"
    except (binascii.Error, ValueError):
        return "", f"is no Base64 ({node.describe()})"
    return ("", "contains a NUL character") if "\x00" in found else (found, "")


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
        given = draft.get(word)
        rows = given is None or given.kind != "list" or all(item.kind == "mapping" for item in given.value)
        draft.rename({word: "data" if rows or "statement" not in draft else "params"})


def storage(draft: Draft) -> None:
    """Put what stands in `storage: {type: ..., table: ...}` beside it."""
    node = draft.get("storage")
    if node is None or node.kind != "mapping" or "type" not in node.value:
        return
    key, _ = draft.take("storage")
    inner = Draft(draft.notes, node, "its storage")
    _, kind = inner.take("type")
    draft.notes.hint(key, "write 'storage: name' and its settings beside it instead of a mapping")
    draft.put("storage", kind, key)
    for name in inner:
        draft.move(inner, name)


# ---- logins ----------------------------------------------------------------------------------------------------------


def logins(owner: Draft) -> None:
    """Rewrite `auth`: one login, or a map of aliases."""
    inside(owner, "auth", _login)


def _login(login: Draft) -> None:
    login.rename(words.AUTH_INSIDE)
    if "type" not in login and "key" not in login:
        for alias in login:
            inside(login, alias, lambda one: one.rename(words.AUTH_INSIDE))


def database_in_args(step: Draft) -> None:
    """Make `auth` of the `db_host ... db_name` among a postgres step's arguments."""
    args = step.get("args")
    if args is None or args.kind != "mapping":
        return
    inner = Draft(step.notes, args, f"args of {step.what}")
    database(step, inner)
    if inner.done() is args:
        return
    if len(inner):
        step.put("args", inner.done(), step.key("args"))
    else:
        step.take("args")


def database(owner: Draft, holder: Draft) -> None:
    """Make `auth` of an owner from the `db_host ... db_name` that a mapping holds."""
    found = [name for name in words.DATABASE if name in holder]
    if not found:
        return
    place = holder.key(found[0])
    if "auth" in owner:
        owner.notes.error(place, "unknown-key", f"{owner.what} has both 'auth' and {found[0]!r}: leave one out")
    else:
        owner.notes.hint(place, f"write 'auth' with a credential instead of {', '.join(map(repr, found))}")
    taken = {words.DATABASE[name]: holder.take(name) for name in found}
    if "auth" in owner:
        return
    kind = text(place, "postgres")
    values = {"type": kind, **{name: value for name, (_, value) in taken.items()}}
    keys = {"type": place, **{name: key for name, (key, _) in taken.items()}}
    owner.put("auth", mapping(place, values, keys), place)


def inside(draft: Draft, name: str, change: Callable[[Draft], None]) -> None:
    """Rewrite the mapping that a key holds, or each one of a list."""
    node = draft.get(name)
    if node is None:
        return
    found = _inside(draft, node, f"{name} of {draft.what}", change)
    if found is not node:
        draft.put(name, found, draft.key(name))


def _inside(draft: Draft, node: Node, what: str, change: Callable[[Draft], None]) -> Node:
    if node.kind == "list":
        return each(node, lambda item: _inside(draft, item, what, change))
    if node.kind != "mapping":
        return node
    inner = Draft(draft.notes, node, what)
    change(inner)
    return inner.done()


def each(node: Node, change: Callable[[Node], Node]) -> Node:
    """Return a list with each item changed; the list itself where none was."""
    found = [change(item) for item in node.value]
    return node if all(new is old for new, old in zip(found, node.value, strict=True)) else items(node, found)

"""Older spellings of steps, tasks and transitions."""

from collections.abc import Mapping
from typing import Final

from noetl.playbook import spelling_words as words
from noetl.playbook.actions import ACTIONS, WORKBOOK
from noetl.playbook.spelling_fields import database_in_args, decode, inside, logins, save_block, save_step
from noetl.playbook.spelling_tree import Draft, Notes, text
from noetl.playbook.yamltree import Node
from noetl.words import ROUTER

Tasks = Mapping[str, Node]
"""The workbook's tasks by name, in canonical spelling."""

_UNTYPED: Final = ("http", "python")
"""Types whose older fields are known without them, so that "add 'type: http'" can be said."""


def task(notes: Notes, node: Node) -> Node:
    """Return a task of the workbook in canonical spelling."""
    if node.kind != "mapping":
        return node
    draft = Draft(notes, node, "a task of the workbook")
    if "name" not in draft and "task" in draft:
        draft.rename({"task": "name"})
    draft.what = f"task {draft.word('name')!r}"
    type_ = type_of(draft)
    if "secret_name" in draft and "name" in draft:
        key, value = draft.take("secret_name")
        told = f"{draft.what} has a name already: write 'name: {value.text}' in the steps that use it"
        notes.error(key, "unknown-key", told)
    if type_ != WORKBOOK:  # which no task can be
        action(draft, {}, type_)
    return draft.done()


def type_of(draft: Draft) -> str:
    """Return a step's type, renamed where it has an older name; empty where it has none that is text."""
    found = draft.word("type")
    if found in words.TYPES:
        value, new = draft.get("type"), words.TYPES[found]
        assert value is not None
        draft.notes.hint(value, f"write {new!r} instead of {found!r}")
        draft.put("type", text(value, new), draft.key("type"))
        return new
    return found


def action(draft: Draft, tasks: Tasks, type_: str) -> None:
    """Rewrite what a step or a task does, and all that belongs to it."""
    tool = tool_of(draft, tasks, type_)
    if tool == "save":
        save_step(draft)
    draft.rename(words.STEP)
    fields = ACTIONS.get(tool)
    if fields is not None:
        _fields(draft, tool)
        draft.rename({old: new for old, new in words.ARGS.items() if old not in fields})
    blocks(draft)
    if tool == "postgres":
        database_in_args(draft)


def blocks(draft: Draft) -> None:
    """Rewrite what every type can have: logins, retry, loop and save."""
    logins(draft)
    inside(draft, "retry", lambda retry: retry.rename(words.RETRY))
    inside(draft, "loop", _loop)
    inside(draft, "save", save_block)


def tool_of(draft: Draft, tasks: Tasks, type_: str) -> str:
    """Return the type whose fields a step has: for a workbook step its task's."""
    if type_ != WORKBOOK:
        return type_ or ROUTER
    named = tasks.get(draft.word("task"))
    own = ACTIONS.get(_word(named, "type"), {}) if named is not None else {}
    if "name" not in own:
        draft.rename(words.FIELDS[WORKBOOK])
        named = tasks.get(draft.word("task"))
    return _word(named, "type") if named is not None else ""


def _word(node: Node, key: str) -> str:
    found = node.value.get(key)
    return found.value if found is not None and isinstance(found.value, str) else ""


def _fields(draft: Draft, tool: str) -> None:
    for type_ in _UNTYPED if tool == ROUTER else (tool,):
        draft.rename(words.FIELDS.get(type_, {}))
        decode(draft, words.ENCODED.get(type_, {}))


def _loop(loop: Draft) -> None:
    loop.rename(words.LOOP)
    inside(loop, "save", save_block)


# ---- transitions -----------------------------------------------------------------------------------------------------


def transitions(step: Draft) -> None:
    """Rewrite `next` and `on_error` of a step."""
    for key in ("next", "on_error"):
        inside(step, key, lambda clause: _clause(clause, f"a target in {clause.what}"))


def _clause(clause: Draft, target: str) -> None:
    clause.rename(words.TRANSITION)
    for key in ("then", "else"):
        inside(clause, key, lambda one: _target(one, target))


def _target(one: Draft, what: str) -> None:
    one.what = what
    one.rename({old: new for old, new in words.TRANSITION.items() if new == "args"})

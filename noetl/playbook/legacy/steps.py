"""Older spellings of steps, tasks and transitions."""

from collections.abc import Mapping
from typing import Final

from noetl.playbook.legacy import words
from noetl.playbook.legacy.fields import decode, imports, save_block, save_step
from noetl.playbook.legacy.logins import database_in_args, logins
from noetl.playbook.legacy.tree import Draft, Notes, inside, text
from noetl.playbook.lint.codes import Code
from noetl.playbook.step_types import ROUTER_TYPES, STEP_TYPES, WORKBOOK, fields_of
from noetl.playbook.yaml.tree import Node
from noetl.words import ROUTER


class Tasks(dict[str, Node]):
    """The workbook's tasks by name, in canonical spelling; `secrets` holds the names of the secrets that tasks fetch.

    A task's `name` is its own, so the name of its secret moves to the steps that use it.
    """

    def __init__(self, tasks: Mapping[str, Node], secrets: Mapping[str, tuple[Node, Node]]) -> None:
        super().__init__(tasks)
        self.secrets = secrets


_NO_TASKS: Final = Tasks({}, {})

_UNTYPED: Final = ("http", "python")
"""Types whose older fields are known without them, so that "add 'type: http'" can be said."""


def task(notes: Notes, node: Node, secrets: dict[str, tuple[Node, Node]]) -> Node:
    """Return a task of the workbook in canonical spelling; put the name of a secret that it fetches into `secrets`."""
    if node.kind != "mapping":
        return node
    draft = Draft(notes, node, "a task of the workbook")
    if "name" not in draft and "task" in draft:
        draft.rename({"task": "name"})
    draft.label = f"task {draft.word('name')!r}"
    type_ = type_of(draft)
    if "secret_name" in draft and draft.word("name"):
        key, value = secrets[draft.word("name")] = draft.take("secret_name")
        notes.hint(key, f"write 'name: {value.text}' in the steps that use {draft.label} instead of 'secret_name'")
    unread(draft, type_)
    if type_ != WORKBOOK:  # which no task can be
        action(draft, _NO_TASKS, type_)
    return draft.done()


def type_of(draft: Draft) -> str:
    """Return a step's type, renamed where it has an older name; empty where it has none that is text."""
    draft.rename(words.TYPE)
    draft.rename_value("type", words.TYPES)
    return draft.word("type")


def router(step: Draft, type_: str) -> str:
    """Return the type of a step that may turn out to have none, or to be one of type save.

    It has none where `pass` is true; it is of type save where it has a `save` and no action.
    """
    if words.LEFT_OUT in step and _passed(step):
        return ""
    block = next((step.get(name) for name in ("save", "sink") if name in step), None)
    if type_ not in ("", *ROUTER_TYPES) or ("type" in step and not type_) or block is None or block.kind != "mapping":
        return type_
    key, _ = step.take("save" if "save" in step else "sink")
    step.notes.hint(key, "write 'type: save' and its fields on the step itself instead of 'save' without an action")
    inner = Draft(step.notes, block, f"save of {step.label}")
    save_block(inner)
    if not any(name in inner for name in ("data", "params", "statement")) and "result" in step:
        inner.put("data", *reversed(step.look("result")))
    for name in inner:
        step.move(inner, name)
    step.put("type", text(key, "save"), key)
    return "save"


def _passed(step: Draft) -> bool:
    """Take `pass` out of a step, and what the step does with it where that is true; return whether it is."""
    key, value = step.take(words.LEFT_OUT)
    if value.value is True:
        step.notes.hint(key, f"leave out 'pass', and the action of {step.label}: a step without a type does nothing")
        for name in step:
            if name not in words.KEPT:
                step.take(name)
        return True
    if value.value is False:
        step.notes.hint(key, "leave out 'pass': every step runs that a way leads to")
    else:
        message = f"'pass' of {step.label} is {value.describe()}: write it as 'when' of the ways that lead to the step"
        step.notes.error(key, Code.UNKNOWN_KEY, message)
    return False


def unread(draft: Draft, type_: str) -> None:
    """Leave out what nothing reads today."""
    fields = fields_of(type_)
    idle = {**words.STEP_IDLE, **(words.NAMED if "step" in draft and type_ != WORKBOOK else {})}
    for name, reason in idle.items():
        if name in draft and name not in fields:
            draft.leave_out(name, reason)


def without_slash(draft: Draft, name: str) -> None:
    """Take the `/` off the beginning of a path in the catalog."""
    written = draft.word(name)
    if written.startswith("/") and written.strip("/"):
        value, path = draft.get(name), written.lstrip("/")
        assert value is not None
        draft.notes.hint(value, f"write {path!r} instead of {written!r}: paths of the catalog begin with a name")
        draft.put(name, text(value, path), draft.key(name))


def action(draft: Draft, tasks: Tasks, type_: str) -> None:
    """Rewrite the action of a step or a task, and all keys that belong to it."""
    tool = tool_of(draft, tasks, type_)
    if tool == "save":
        save_step(draft)
    draft.rename(words.STEP)
    descriptor = STEP_TYPES.get(tool)
    if descriptor is not None:
        _fields(draft, tool)
        draft.rename({old: new for old, new in words.ARGS.items() if old not in descriptor.fields})
    if type_ == WORKBOOK and draft.word("task") in tasks.secrets and "name" not in draft:
        key, value = tasks.secrets[draft.word("task")]
        draft.put("name", value, key)
    if tool == "playbook":
        without_slash(draft, "path")
    blocks(draft, several=descriptor is None or descriptor.aliases or not descriptor.credentials)
    if tool == "postgres":
        database_in_args(draft, tasks.get(draft.word("task")) if type_ == WORKBOOK else None)


def blocks(draft: Draft, *, several: bool = True) -> None:
    """Rewrite what every type can have: logins, retry, loop and save. `several`: its tool takes several logins."""
    logins(draft, several=several)
    inside(draft, "retry", lambda retry: retry.rename(words.RETRY))
    inside(draft, "loop", _loop)
    inside(draft, "save", save_block)


def tool_of(draft: Draft, tasks: Tasks, type_: str) -> str:
    """Return the type whose fields a step has: for a workbook step its task's."""
    if type_ != WORKBOOK:
        return type_ or ROUTER
    named = tasks.get(draft.word("task"))
    own = fields_of(_word(named, "type")) if named is not None else ()
    if "name" not in own:
        draft.rename(words.FIELDS[WORKBOOK])
        named = tasks.get(draft.word("task"))
    return _word(named, "type") if named is not None else ""


def _word(node: Node, key: str) -> str:
    value = node.value.get(key)
    return value.value if value is not None and isinstance(value.value, str) else ""


def _fields(draft: Draft, tool: str) -> None:
    for type_ in _UNTYPED if tool == ROUTER else (tool,):
        draft.rename(words.FIELDS.get(type_, {}))
        decode(draft, words.ENCODED.get(type_, {}))
    if tool == "python":
        imports(draft)


def _loop(loop: Draft) -> None:
    loop.rename(words.LOOP)
    inside(loop, "save", save_block)


# ---- transitions -----------------------------------------------------------------------------------------------------


def transitions(step: Draft) -> None:
    """Rewrite `next` and `on_error` of a step."""
    for key in ("next", "on_error"):
        inside(step, key, lambda clause: _clause(clause, f"a target in {clause.label}"))


def _clause(clause: Draft, target: str) -> None:
    clause.rename(words.TRANSITION)
    for key in ("then", "else"):
        inside(clause, key, lambda one: _target(one, target))


def _target(target: Draft, label: str) -> None:
    target.label = label
    target.rename({old: new for old, new in words.TRANSITION.items() if new == "args"})

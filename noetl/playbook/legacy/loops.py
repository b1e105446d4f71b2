"""Steps of type iterator, which are steps with a `loop` today.

    type: iterator                      loop: {in: ..., iterator: city, save: {...}}
    collection: ...                     type: http
    element: city              is       endpoint: ...
    task: {type: http, endpoint: ..., save: {...}}

An iterator in an iterator's task is a second loop, inside the first.
"""

from typing import Final

from noetl.playbook.legacy import words
from noetl.playbook.legacy.logins import database_in_args
from noetl.playbook.legacy.steps import Tasks, action, blocks, tool_of, type_of
from noetl.playbook.legacy.tree import Draft, items, mapping, text
from noetl.playbook.lint.codes import Code
from noetl.playbook.read.steps import STEP_KEYS
from noetl.playbook.step_types import WORKBOOK, fields_of
from noetl.playbook.yaml.tree import Node

_HINT: Final = "write 'loop: {in: ..., iterator: ...}' and the task's own type and fields instead of 'type: iterator'"
_KNOWN: Final = (STEP_KEYS - {"loop"}) | words.ITERATOR_KEYS.keys() | {"task"}
_LABELS: Final = ("step", "name", "task")
_OF_STEPS: Final = ("next", "on_error", "max_visits", "result")
"""Keys that only a step has, not what it does for each item."""


def unfold(step: Draft, tasks: Tasks) -> None:
    """Rewrite a step of type iterator."""
    place = step.get("type")
    assert place is not None
    step.notes.hint(place, _HINT)
    if "loop" in step:
        step.both("loop", "type")
    key = step.key("type")
    loops, level = [_level(step)], step
    while (task := _task(level, step.label, tasks)) is not None:
        if level is not step:
            _lift(step, level, None)
        level = task
        if type_of(level) != words.ITERATOR:
            _finish(step, level, loops, key, tasks)
            return
        loops.append(_level(level))
    step.take("type")  # it has been reported; nothing that follows from it is


def _level(level: Draft) -> Draft:
    """Return the loop that an iterator's own keys make."""
    level.rename({**words.STEP, **words.ARGS})
    blocks(level)
    place = level.get("type")
    assert place is not None
    loop = Draft(level.notes, mapping(place, {}, {}), f"loop of {level.label}")
    for old, new in words.ITERATOR_KEYS.items():
        if old in level:
            key, value = level.take(old)
            loop.put(new, value, key)
    if "in" not in loop:
        message = f"{level.label} of type iterator has no 'collection': add what it runs over"
        level.notes.error(place, Code.MISSING, message)
        loop.put("in", items(place, []), place)
    for name in level:
        if name not in _KNOWN:
            level.unknown(name, _KNOWN)
    return loop


def _task(level: Draft, label: str, tasks: Tasks) -> Draft | None:
    """Take an iterator's task out of it: a step's body, or the name of a task of the workbook."""
    place = level.get("type")
    assert place is not None
    if "task" not in level:
        level.notes.error(
            place, Code.MISSING, f"{level.label} of type iterator has no 'task': add what is done per item"
        )
        return None
    key, node = level.take("task")
    if isinstance(node.value, str):
        values = {"type": text(node, WORKBOOK), "task": node}
        return Draft(level.notes, mapping(node, values, dict.fromkeys(values, key)), f"the task of {label}")
    if node.kind != "mapping":
        message = (
            f"the task of {label} is {node.describe()}: it must be a mapping, or the name of a task of the workbook"
        )
        level.notes.error(node, Code.WRONG_TYPE, message)
        return None
    task = Draft(level.notes, node, f"the task of {label}")
    _drop_labels(task, tasks)
    return task


def _drop_labels(task: Draft, tasks: Tasks) -> None:
    """Remove what only names an inline task. Without a type, and with the name of one of the workbook's, it is that."""
    type_ = type_of(task)
    named = next((name for name in ("task", "name") if task.word(name) in tasks), "task" if "task" in task else "name")
    if "type" not in task and task.word(named) in tasks:
        type_ = WORKBOOK
        task.put("type", text(task.done(), WORKBOOK), task.key(named))
    kept = named if type_ == WORKBOOK else "task" if type_ == words.ITERATOR else ""
    if "name" in fields_of(type_) and "secret_name" not in task:
        kept = "name"
    for name in _LABELS:
        if name in task and name != kept:
            task.take(name)


def _finish(step: Draft, task: Draft, loops: list[Draft], key: Node, tasks: Tasks) -> None:
    """Move the innermost task's action to the step, inside all the loops."""
    action(task, tasks, type_of(task))
    inner = task.get("loop")
    _lift(step, task, loops[-1])
    if tool_of(step, tasks, step.word("type")) == "postgres":
        named = tasks.get(step.word("task")) if step.word("type") == WORKBOOK else None
        database_in_args(step, named)
    levels = [loop.done() for loop in loops]
    if inner is not None:
        levels += inner.value if inner.kind == "list" else [inner]
    step.put("loop", levels[0] if len(levels) == 1 else items(levels[0], levels), key)


def _lift(step: Draft, level: Draft, loop: Draft | None) -> None:
    """Move the keys of an iterator's task to the step; the `save` of the innermost task belongs to its loop."""
    for name in level:
        if name == "type":
            step.put(name, *reversed(level.take(name)))
        elif name in _OF_STEPS:
            key, _ = level.take(name)
            level.notes.error(key, Code.UNKNOWN_KEY, f"{level.label} has {name!r}: it stands on the step itself")
        elif name == "save" and loop is None:
            key, _ = level.take(name)
            message = f"{level.label} is an iterator with 'save': write it into its own task, or on the step"
            level.notes.error(key, Code.UNKNOWN_KEY, message)
        elif name == "save" and loop is not None:
            loop.put(name, *reversed(level.take(name)))
        elif name == "args":
            _lift_args(step, level)
        elif name == "loop" or (name == "desc" and name in step):
            level.take(name)
        else:
            step.move(level, name)


def _lift_args(step: Draft, level: Draft) -> None:
    """Lay a step's args over its task's."""
    outer, inner = step.get("args"), level.get("args")
    if outer is None or inner is None or outer.kind != "mapping" or inner.kind != "mapping":
        step.move(level, "args")
        return
    merged = mapping(outer, inner.value | outer.value, inner.keys | outer.keys)
    step.put("args", merged, step.key("args"))
    level.take("args")

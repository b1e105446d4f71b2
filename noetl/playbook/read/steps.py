"""The reader of steps and of the workbook's tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from noetl.playbook.graph import END
from noetl.playbook.lint.codes import Code
from noetl.playbook.model import Retry, Step
from noetl.playbook.read.clauses import Clauses
from noetl.playbook.read.fields import KeyReader
from noetl.playbook.read.foreign_words import unknown_type
from noetl.playbook.read.loops import read_loops
from noetl.playbook.read.reader import Reader
from noetl.playbook.step_types import ROUTER_TYPES, STEP_TYPES, WORKBOOK
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.templates import template as templates
from noetl.playbook.templates.template import AnyTemplate, Constant
from noetl.playbook.yaml.tree import Node
from noetl.words import ROUTER

UNREADABLE_TYPE: Final = "unreadable"
"""The type of a step whose action could not be read: no playbook has one."""

STEP_KEYS: Final = frozenset(
    {
        "step",
        "type",
        "desc",
        "args",
        "timeout",
        "retry",
        "pool",
        "next",
        "on_error",
        "max_visits",
        "loop",
        "save",
        "auth",
        "join",
    }
)
TASK_KEYS: Final = frozenset({"name", "type", "desc", "args", "timeout", "retry", "auth", "save"})
_CONTINUE: Final = "continue"


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the workbook."""

    name: str
    type: str
    fields: Mapping[str, AnyTemplate]
    args: AnyTemplate | None
    timeout: AnyTemplate | None
    retry: Retry | None
    auth: AnyTemplate | None = None
    save: AnyTemplate | None = None


@dataclass(frozen=True, slots=True)
class _Action:
    """The action of a step: its type, and the task that it comes from."""

    type: str
    task: Task | None = None


def read_step(reader: Reader, clauses: Clauses, tasks: Mapping[str, Task | None], node: Node) -> Step | None:
    """Return a step; None where it has no usable name. A task that is None has errors of its own."""
    keys = reader.mapping(node, "a step")
    if keys is None:
        return None
    if "step" not in keys:
        reader.error(node, Code.MISSING, "a step has no name: give it 'step: name'")
        return None
    name = reader.name(keys["step"], "the name of a step")
    if name is None:
        return None
    owner = KeyReader(reader, node, name, f"step {name!r}")
    action = _action(owner, tasks)
    loops, item_save = read_loops(owner)
    step = Step(
        name=name,
        type=action.type if action else UNREADABLE_TYPE,
        line=node.line,
        desc=owner.text("desc"),
        args=owner.args(action.type if action else None),
        result=_result(owner, action),
        timeout=owner.timeout(),
        retry=owner.retry() or Retry(),
        pool=reader.name(keys["pool"], f"pool of {owner.label}") if "pool" in keys else None,
        max_visits=(reader.integer(keys["max_visits"], f"max_visits of {owner.label}", 1) or 1)
        if "max_visits" in keys
        else 10_000,
        loops=loops,
        auth=owner.auth(action.type if action else None),
        save=owner.save(),
        item_save=item_save,
        join="join" in keys and reader.boolean(keys["join"], f"join of {owner.label}") is True,
    )
    if action is not None:
        step = _with_fields(owner, step, action)
        _check_common(owner, action.type)
    return _with_routing(owner, step, clauses)


# ---- what it does ----------------------------------------------------------------------------------------------------


def _action(owner: KeyReader, tasks: Mapping[str, Task | None]) -> _Action | None:
    """Return the action of a step, its keys checked; None where its type is unknown."""
    reader, node = owner.reader, owner.node
    common = STEP_KEYS | {"result"}
    if "type" not in owner.keys:
        _check_router(owner, common)
        return _Action(ROUTER)
    type_ = reader.name(owner.keys["type"], f"the type of {owner.label}")
    if type_ is None:
        return None
    if type_ in ROUTER_TYPES:
        reader.unknown(node, common, owner.label, "step")
        return _Action(ROUTER)
    if type_ == WORKBOOK:
        return _workbook(owner, common, tasks)
    if type_ not in STEP_TYPES or type_ == ROUTER:
        reader.error(owner.keys["type"], Code.UNKNOWN_TYPE, f"{owner.label}: {unknown_type(type_)}")
        return None
    reader.unknown(node, common | STEP_TYPES[type_].fields.keys(), f"{owner.label} of type {type_}", "step")
    return _Action(type_)


def _check_common(owner: KeyReader, type_: str) -> None:
    """Report keys of any step that mean nothing for its type."""
    if not STEP_TYPES[type_].has_jobs:
        kind = "without an action" if type_ == ROUTER else f"of type {type_}"
        for key in ("loop", "save"):
            if owner.given(key):
                owner.error(key, Code.UNKNOWN_KEY, f"{owner.label} is {kind}: {key!r} has nothing to work on")
    if not STEP_TYPES[type_].credentials and owner.given("auth"):
        takes = ", ".join(sorted(name for name, each in STEP_TYPES.items() if each.credentials))
        owner.error("auth", Code.UNKNOWN_KEY, f"{owner.label} is of type {type_}, which takes no auth: {takes} do")


def _check_router(owner: KeyReader, common: frozenset[str]) -> None:
    """Report unknown keys of a step without a type; fields of a type mean that the type was forgotten."""
    others = [key for key in owner.node.keys if key not in common]
    likely = max(STEP_TYPES.values(), key=lambda type_: sum(key in type_.fields for key in others))
    stray = next((key for key in others if key in likely.fields), None)
    if stray is None:
        owner.reader.unknown(owner.node, common, owner.label, "step")
        return
    written = owner.node.keys[stray].text
    owner.error(stray, Code.MISSING, f"{owner.label} has {written!r} but no type: add 'type: {likely.name}'")


def _workbook(owner: KeyReader, common: frozenset[str], tasks: Mapping[str, Task | None]) -> _Action | None:
    reader, label = owner.reader, owner.label
    if "task" not in owner.keys:
        reader.error(owner.node, Code.MISSING, f"{label} of type workbook names no task: add 'task: name'")
        return None
    wanted = reader.name(owner.keys["task"], f"the task of {label}")
    if wanted is None:
        return None
    if wanted not in tasks:
        listed = f": the workbook's tasks are {', '.join(sorted(tasks))}" if tasks else ": the workbook is empty"
        hint = did_you_mean(wanted, tasks) or listed
        reader.error(
            owner.keys["task"], Code.UNKNOWN_TASK, f"{label} names the task {wanted!r}, which does not exist{hint}"
        )
        return None
    task = tasks[wanted]
    if task is None:
        return None
    allowed = common | STEP_TYPES[task.type].fields.keys() | {"task"}
    reader.unknown(owner.node, allowed, f"{label} (its task is of type {task.type})", "step")
    return _Action(task.type, task)


def _with_fields(owner: KeyReader, step: Step, action: _Action) -> Step:
    """Return the step with its fields; those of its task stand behind its own."""
    fields = owner.fields(action.type)
    task = action.task
    if task is not None:
        inherited = _inherited(task, fields)
        fields = {**inherited, **fields}
        # A task is what runs per item, where there is a loop.
        step = replace(
            step,
            task=task.name,
            task_args=task.args,
            timeout=step.timeout or task.timeout,
            retry=step.retry if owner.given("retry") else task.retry or step.retry,
            auth=step.auth or task.auth,
            save=step.save if step.loops else step.save or task.save,
            item_save=step.item_save or task.save if step.loops else None,
        )
    owner.require(action.type, fields)
    if action.type == "fail" and "message" not in fields:
        fields["message"] = Constant(f"step {step.name!r} was reached")
    return replace(step, fields=templates.mapping_template(fields)) if fields else step


def _inherited(task: Task, own: Mapping[str, AnyTemplate]) -> Mapping[str, AnyTemplate]:
    """Return the task's fields that a step takes over: of two that exclude each other its own one counts."""
    either = STEP_TYPES[task.type].one_of
    if any(name in own for name in either):
        return {name: value for name, value in task.fields.items() if name not in either}
    return task.fields


def _result(owner: KeyReader, action: _Action | None) -> AnyTemplate | None:
    if "result" not in owner.keys:
        return None
    if owner.place != END and action is not None and action.type != ROUTER:
        owner.error(
            "result", Code.UNKNOWN_KEY, f"'result' of {owner.label}: only 'end' and steps without a type have it"
        )
    return owner.reader.template(owner.keys["result"], owner.place, "result")


# ---- where it leads --------------------------------------------------------------------------------------------------


def _with_routing(owner: KeyReader, step: Step, clauses: Clauses) -> Step:
    following = clauses.read(step.name, "next", owner.given("next"))
    failing = owner.given("on_error")
    continues = failing is not None and failing.value == _CONTINUE
    handlers = () if continues else clauses.read(step.name, "on_error", failing)
    if step.type == "fail":
        for key in ("next", "on_error"):
            if owner.given(key):
                owner.error(key, Code.FAIL, f"{owner.label} of type fail ends its branch: {key!r} is never followed")
    return replace(step, next=following, on_error=handlers, on_error_continue=continues)


# ---- workbook --------------------------------------------------------------------------------------------------------


def read_task(reader: Reader, node: Node) -> tuple[str | None, Task | None]:
    """Return a task of the workbook by its name; None for the task where it has errors."""
    keys = reader.mapping(node, "a task of the workbook")
    if keys is None:
        return None, None
    if "name" not in keys:
        reader.error(node, Code.MISSING, "a task of the workbook has no name: give it 'name: name'")
        return None, None
    name = reader.name(keys["name"], "the name of a task")
    if name is None:
        return None, None
    owner, before = KeyReader(reader, node, f"task {name}", f"task {name!r}"), reader.errors
    type_ = _task_type(owner)
    if type_ is None:
        return name, None
    reader.unknown(node, TASK_KEYS | STEP_TYPES[type_].fields.keys(), f"{owner.label} of type {type_}", "step")
    _check_common(owner, type_)
    owner.text("desc")
    task = Task(
        name=name,
        type=type_,
        fields=owner.fields(type_),
        args=owner.args(type_),
        timeout=owner.timeout(),
        retry=owner.retry(),
        auth=owner.auth(type_),
        save=owner.save(),
    )
    return name, task if reader.errors == before else None


def _task_type(owner: KeyReader) -> str | None:
    reader = owner.reader
    if "type" not in owner.keys:
        reader.error(owner.node, Code.MISSING, f"{owner.label} has no type: add 'type: python' or another")
        return None
    type_ = reader.name(owner.keys["type"], f"the type of {owner.label}")
    if type_ is None:
        return None
    if type_ in (ROUTER, WORKBOOK) or type_ in ROUTER_TYPES:
        reader.error(
            owner.keys["type"], Code.UNKNOWN_TYPE, f"{owner.label} is of type {type_!r}: name a tool, as python"
        )
        return None
    if type_ not in STEP_TYPES:
        reader.error(owner.keys["type"], Code.UNKNOWN_TYPE, f"{owner.label}: {unknown_type(type_)}")
        return None
    return type_

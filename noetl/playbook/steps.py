"""Reads steps, their clauses and the workbook's tasks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from noetl.playbook import durations, pycode, templates
from noetl.playbook.actions import (
    ACTIONS,
    LATER_KEYS,
    ROUTER_TYPES,
    WORKBOOK,
    Field,
    unknown_type,
)
from noetl.playbook.graph import END
from noetl.playbook.model import Clause, Edge, Retry, Step
from noetl.playbook.names import did_you_mean
from noetl.playbook.reader import Reader
from noetl.playbook.templates import AnyTemplate, Constant
from noetl.playbook.yamltree import Node
from noetl.words import ROUTER

STEP_KEYS: Final = frozenset(
    {"step", "type", "desc", "args", "timeout", "retry", "pool", "next", "on_error", "max_visits"}
)
TASK_KEYS: Final = frozenset({"name", "type", "desc", "args", "timeout", "retry"})
_RETRY_TRUE: Final = Retry(max_attempts=3)
_RETRY_KEYS: Final = frozenset({"max_attempts", "initial_delay", "backoff", "max_delay", "jitter", "when"})
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


@dataclass(slots=True)
class Target:
    """An edge's target as it stands in the file, to be checked when all steps are known."""

    step: str
    name: str
    node: Node


@dataclass(slots=True)
class Steps:
    """Reads the steps of one playbook; edges are numbered through all of it."""

    reader: Reader
    tasks: Mapping[str, Task | None]  # None: it has problems of its own
    edges: int = 0
    targets: list[Target] = field(default_factory=list)

    # -- a step

    def step(self, node: Node) -> Step | None:
        """Return a step; None where it has no usable name."""
        reader = self.reader
        keys = reader.mapping(node, "a step")
        if keys is None:
            return None
        if "step" not in keys:
            reader.error(node, "missing", "a step has no name: give it 'step: name'")
            return None
        name = reader.name(keys["step"], "the name of a step")
        if name is None:
            return None
        what = f"step {name!r}"
        task, type_, own = self._action(node, keys, what)
        step = Step(
            name=name,
            type=type_ or ROUTER,
            line=node.line,
            args=self._mapping(keys, "args", name),
            result=self._result(keys, node, name, type_),
            max_visits=self._integer(keys, "max_visits", what) or 10_000,
            pool=self._name(keys, "pool", what),
            desc=self._text(keys, "desc", what),
            timeout=self._timeout(keys, name),
        )
        retry = self._retry(keys, name)
        fields = self._fields(node, own, type_, name, task) if type_ else {}
        if isinstance(task, Task):
            fields = {**task.fields, **fields}
            step = replace(step, task=task.name, task_args=task.args, timeout=step.timeout or task.timeout)
            retry = retry or task.retry
        self._required(node, keys, type_, fields, what, task)
        if type_ == "fail" and "message" not in fields:
            fields["message"] = Constant(f"step {name!r} was reached")
        step = replace(step, retry=retry or Retry())
        if fields:
            step = replace(step, fields=templates.mapping_template(fields))
        return self._routing(step, keys, type_)

    def _action(self, node: Node, keys: Mapping[str, Node], what: str) -> tuple[Task | None, str | None, set[str]]:
        """Return the task, the action type (None: unknown), and the keys that are the type's own."""
        reader = self.reader
        common = set(STEP_KEYS)
        if "result" in keys:
            common.add("result")
        if "type" not in keys or keys["type"].null:
            if "type" in keys:
                reader.error(keys["type"], "wrong-type", f"the type of {what} is empty: name one, or leave it out")
            self._stray_fields(node, common, what)
            return None, ROUTER, set()
        type_ = reader.name(keys["type"], f"the type of {what}")
        if type_ is None:
            return None, None, set()
        if type_ in ROUTER_TYPES:
            reader.unknown(node, common, what, LATER_KEYS)
            return None, ROUTER, set()
        if type_ == WORKBOOK:
            return self._workbook(node, keys, common, what)
        if type_ not in ACTIONS or type_ == ROUTER:
            reader.error(keys["type"], "unknown-type", f"{what}: {unknown_type(type_)}")
            return None, None, set()
        own = _spellings(type_)
        reader.unknown(node, common | own, f"{what} of type {type_}", LATER_KEYS)
        return None, type_, own & set(keys)

    def _stray_fields(self, node: Node, common: set[str], what: str) -> None:
        """Report unknown keys of a step without a type; a tool's field means that the type was forgotten."""
        for type_ in ("python", "http", "playbook", "wait", "fail"):
            required = {name for name, field in ACTIONS[type_].items() if field.required} or _spellings(type_)
            strays = [key for key in node.keys if key in required and key not in common]
            if strays:
                self.reader.error(
                    node.keys[strays[0]], "missing", f"{what} has {strays[0]!r} but no type: add 'type: {type_}'"
                )
                return
        self.reader.unknown(node, common, what, LATER_KEYS)

    def _workbook(
        self, node: Node, keys: Mapping[str, Node], common: set[str], what: str
    ) -> tuple[Task | None, str | None, set[str]]:
        reader = self.reader
        named = [key for key in ("task", "name") if key in keys]
        if not named:
            reader.error(node, "missing", f"{what} of type workbook names no task: add 'task: name'")
            return None, None, set()
        if len(named) > 1:
            reader.error(node.keys["name"], "unknown-key", f"{what} has both 'task' and 'name': leave out 'name'")
        wanted = reader.name(keys[named[0]], f"the task of {what}")
        if wanted is None:
            return None, None, set()
        if wanted not in self.tasks:
            hint = did_you_mean(wanted, self.tasks) or _listed("the workbook's tasks are", self.tasks)
            reader.error(keys[named[0]], "unknown-task", f"{what} names the task {wanted!r}, which there is not{hint}")
            return None, None, set()
        task = self.tasks[wanted]
        if task is None:
            return None, None, set()
        own = _spellings(task.type)
        allowed = common | own | set(named)
        reader.unknown(node, allowed, f"{what} (its task is of type {task.type})", LATER_KEYS)
        return task, task.type, (own & set(keys)) - set(named)

    def _fields(
        self, node: Node, own: set[str], type_: str, step: str, task: Task | None = None
    ) -> dict[str, AnyTemplate]:
        """Return the templates of a type's own fields, under their canonical names."""
        fields: dict[str, AnyTemplate] = {}
        for name, spec in ACTIONS[type_].items():
            given = [spelling for spelling in (name, *spec.also) if spelling in own]
            if len(given) > 1:
                key = node.keys[given[1]]
                self.reader.error(
                    key, "unknown-key", f"step {step!r} has both {given[0]!r} and {given[1]!r}: leave one out"
                )
            if given and not (node.value[given[0]].null and spec.kind != "any"):
                found = self._field(node.value[given[0]], spec, step, name)
                if found is not None:
                    fields[name] = found
        if type_ == "python" and "code" in own and isinstance(node.value["code"].value, str):
            pycode.check(self.reader, node.value["code"], f"step {step!r}")
        if type_ == "wait" and len(fields) > 1:
            self.reader.error(
                node.keys["until"], "unknown-key", f"step {step!r} has both 'for' and 'until': leave one out"
            )
        return fields

    def _field(self, node: Node, spec: Field, step: str, name: str) -> AnyTemplate | None:
        reader, value = self.reader, node.value
        if spec.raw:
            found = reader.text(node, f"{name} of step {step!r}")
            return None if found is None else Constant(found)
        if isinstance(value, str) and templates.is_template(value):
            return reader.template(node, step, name)
        if spec.kind == "mapping":
            return reader.mapping_template(node, step, name)
        what = f"{name} of step {step!r}"
        if spec.kind == "integer" and reader.integer(node, what, 1) is None:
            return None
        if spec.kind == "duration" and reader.duration(node, what) is None:
            return None
        if spec.kind == "text":
            found = reader.name(node, what)
            if found is None:
                return None
            if spec.choices and found.upper() not in spec.choices:
                hint = did_you_mean(found, spec.choices) or f": it is one of {', '.join(spec.choices)}"
                reader.error(node, "value", f"{what} is {found!r}{hint}")
        return reader.template(node, step, name)

    def _required(
        self,
        node: Node,
        keys: Mapping[str, Node],
        type_: str | None,
        fields: Mapping[str, AnyTemplate],
        what: str,
        task: Task | None,
    ) -> None:
        if type_ is None:
            return
        for name, spec in ACTIONS[type_].items():
            present = name in fields or any(s in keys and not keys[s].null for s in (name, *spec.also))
            if spec.required and not present:
                self.reader.error(node, "missing", f"{what} of type {type_} has no {name!r}: add it")
        if type_ == "wait" and not any(key in fields or key in keys for key in ("for", "until")):
            self.reader.error(node, "missing", f"{what} of type wait has no 'for' and no 'until': add one of them")

    # -- keys of any step

    def _mapping(self, keys: Mapping[str, Node], key: str, step: str) -> AnyTemplate | None:
        if key not in keys or keys[key].null:
            return None
        return self.reader.mapping_template(keys[key], step, key)

    def _result(self, keys: Mapping[str, Node], node: Node, step: str, type_: str | None) -> AnyTemplate | None:
        if "result" not in keys:
            return None
        if step != END and type_ not in (ROUTER, None):
            self.reader.error(
                node.keys["result"],
                "unknown-key",
                f"'result' of step {step!r}: only 'end' and steps without a type have it",
            )
        return self.reader.template(keys["result"], step, "result")

    def _integer(self, keys: Mapping[str, Node], key: str, what: str) -> int | None:
        return self.reader.integer(keys[key], f"{key} of {what}", 1) if key in keys else None

    def _name(self, keys: Mapping[str, Node], key: str, what: str) -> str | None:
        return self.reader.name(keys[key], f"{key} of {what}") if key in keys else None

    def _text(self, keys: Mapping[str, Node], key: str, what: str) -> str:
        if key not in keys or keys[key].null:
            return ""
        return self.reader.text(keys[key], f"{key} of {what}") or ""

    def _timeout(self, keys: Mapping[str, Node], step: str) -> AnyTemplate | None:
        if "timeout" not in keys or keys["timeout"].null:
            return None
        node = keys["timeout"]
        if isinstance(node.value, str) and templates.is_template(node.value):
            return self.reader.template(node, step, "timeout")
        found = self.reader.duration(node, f"timeout of step {step!r}")
        if found == 0:
            self.reader.error(node, "value", f"timeout of step {step!r} is 0: it must be more")
        return None if found is None else Constant(found)

    def _retry(self, keys: Mapping[str, Node], step: str) -> Retry | None:
        if "retry" not in keys or keys["retry"].null:
            return None
        reader, node = self.reader, keys["retry"]
        if isinstance(node.value, bool):
            return _RETRY_TRUE if node.value else Retry()
        if node.kind == "scalar":
            attempts = reader.integer(node, f"retry of step {step!r} (true, a number of attempts or a mapping)", 1)
            return None if attempts is None else replace(_RETRY_TRUE, max_attempts=attempts)
        given = reader.mapping(node, f"retry of step {step!r}")
        if given is None:
            return None
        reader.unknown(node, _RETRY_KEYS, f"retry of step {step!r}")
        retry = _RETRY_TRUE
        for key, value in given.items():
            what = f"retry.{key} of step {step!r}"
            if key == "max_attempts":
                retry = replace(retry, max_attempts=reader.integer(value, what, 1) or 1)
            elif key == "initial_delay":
                retry = replace(retry, initial_delay=reader.duration(value, what) or 0.0)
            elif key == "max_delay":
                retry = replace(retry, max_delay=reader.duration(value, what) or 0.0)
            elif key == "backoff":
                retry = replace(retry, backoff=reader.number(value, what, 1) or 1.0)
            elif key == "jitter":
                retry = replace(retry, jitter=reader.boolean(value, what) or False)
            elif key == "when":
                retry = replace(retry, when=reader.condition(value, step, "retry.when"))
        return retry

    # -- routing

    def _routing(self, step: Step, keys: Mapping[str, Node], type_: str | None) -> Step:
        following = self._clauses(step.name, "next", keys.get("next"))
        failing = keys.get("on_error")
        goes_on = failing is not None and failing.value == _CONTINUE
        handlers = () if goes_on else self._clauses(step.name, "on_error", failing)
        if type_ == "fail":
            for key in ("next", "on_error"):
                if key in keys and not keys[key].null:
                    self.reader.error(
                        keys[key], "fail", f"step {step.name!r} of type fail ends its branch: {key!r} is never followed"
                    )
        return replace(step, next=following, on_error=handlers, on_error_continue=goes_on)

    def _clauses(self, step: str, key: str, node: Node | None) -> tuple[Clause, ...]:
        if node is None or node.null:
            return ()
        given = node.value if node.kind == "list" else [node]
        return tuple(clause for item in given for clause in self._clause(step, key, item))

    def _clause(self, step: str, key: str, node: Node) -> Iterator[Clause]:
        """Yield the clauses that one item of `next` or `on_error` stands for."""
        reader = self.reader
        if node.kind != "mapping":
            yield Clause(None, tuple(self._targets(step, key, node, None)))
            return
        keys: dict[str, Node] = node.value
        when = None
        conditions = [name for name in ("when", "condition") if name in keys]
        if conditions:
            when = reader.condition(keys[conditions[0]], step, f"{key}.when")
        if len(conditions) > 1:
            reader.error(
                node.keys["condition"], "unknown-key", f"{key} of step {step!r} has both 'when' and 'condition'"
            )
        if "then" in keys or "else" in keys:
            reader.unknown(node, {"when", "condition", "then", "else", "args"}, f"{key} of step {step!r}")
            if when is not None and "then" not in keys:
                reader.error(node, "missing", f"{key} of step {step!r} has a condition but no 'then': add it")
            if "then" in keys:
                yield Clause(when, tuple(self._targets(step, key, keys["then"], keys.get("args"))))
            if "else" in keys:
                yield Clause(None, tuple(self._targets(step, key, keys["else"], keys.get("args"))))
            return
        reader.unknown(node, {"when", "condition", "step", "args", "then", "else"}, f"{key} of step {step!r}")
        if "step" not in keys:
            reader.error(node, "missing", f"{key} of step {step!r} leads nowhere: add 'step: name', or 'then'")
            return
        yield Clause(when, tuple(self._targets(step, key, keys["step"], keys.get("args"))))

    def _targets(self, step: str, key: str, node: Node, args: Node | None) -> Iterator[Edge]:
        """Yield the edges that `then`, `else` or a plain name stands for."""
        for item in node.value if node.kind == "list" else [node]:
            target, own = item, args
            if item.kind == "mapping":
                self.reader.unknown(item, {"step", "args"}, f"a target in {key} of step {step!r}")
                if "step" not in item.value:
                    if not item.keys.keys() - {"step", "args"}:
                        self.reader.error(item, "missing", f"a target in {key} of step {step!r} has no 'step'")
                    continue
                target, own = item.value["step"], item.value.get("args", args)
            name = self.reader.name(target, f"a target in {key} of step {step!r}")
            if name is None:
                continue
            rendered = None
            if own is not None and not own.null:
                rendered = self.reader.mapping_template(own, step, f"{key}.{name}.args")
            self.edges += 1
            self.targets.append(Target(step, name, target))
            yield Edge(self.edges, step, name, rendered)

    # -- workbook

    def task(self, node: Node) -> tuple[str | None, Task | None]:
        """Return a task of the workbook by its name; None for the task where it has problems."""
        reader = self.reader
        keys = reader.mapping(node, "a task of the workbook")
        if keys is None:
            return None, None
        if "name" not in keys:
            reader.error(node, "missing", "a task of the workbook has no name: give it 'name: name'")
            return None, None
        name = reader.name(keys["name"], "the name of a task")
        if name is None:
            return None, None
        what, before = f"task {name!r}", len(reader.problems)
        if "type" not in keys:
            reader.error(node, "missing", f"{what} has no type: add 'type: python' or another")
            return name, None
        type_ = reader.name(keys["type"], f"the type of {what}")
        if type_ is None:
            return name, None
        if type_ not in ACTIONS or type_ == ROUTER:
            sentence = "a task does something" if type_ in (ROUTER, WORKBOOK, *ROUTER_TYPES) else unknown_type(type_)
            reader.error(keys["type"], "unknown-type", f"{what} is of type {type_!r}: {sentence}")
            return name, None
        own = _spellings(type_)
        if type_ != ROUTER:
            reader.unknown(node, TASK_KEYS | own, f"{what} of type {type_}", LATER_KEYS)
        fields = self._fields(node, own & set(keys), type_, f"task {name}")
        self._text(keys, "desc", what)
        label = f"task {name}"
        task = Task(
            name,
            type_,
            fields,
            self._mapping(keys, "args", label),
            self._timeout(keys, label),
            self._retry(keys, label),
        )
        return name, task if len(reader.problems) == before else None


def constant_seconds(template: AnyTemplate | None) -> float | None:
    """Return a timeout that has nothing to render, in seconds."""
    return durations.seconds(template.value) if isinstance(template, Constant) else None


def _spellings(type_: str) -> set[str]:
    return {spelling for name, spec in ACTIONS[type_].items() for spelling in (name, *spec.also)}


def _listed(words: str, names: Mapping[str, object]) -> str:
    return f": {words} {', '.join(sorted(names))}" if names else ": the workbook is empty"

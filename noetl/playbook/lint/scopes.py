"""The names that a template can read, by its step and key: the engine's rules, applied before the run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from noetl.playbook.lint.flow import Flow
from noetl.playbook.model import Step
from noetl.playbook.read.clauses import Target
from noetl.playbook.read.loops import DEFAULT_ITERATOR, loop_levels
from noetl.playbook.templates.sandbox import ENVIRONMENT
from noetl.playbook.yaml.tree import Node

STEP_NAMES_ALWAYS: Final = frozenset(
    {"workload", "results", "execution_id", "env", "job", "secret", "status", *ENVIRONMENT.globals}
)
"""What is there wherever a step's template stands. (`secret` and `env` have checks of their own.)"""

IN_WORKLOAD: Final = frozenset({"env", "job", "execution_id", "secret", *ENVIRONMENT.globals})
_IN_LOOPS: Final = frozenset({"index", "_loop"})
_OF_LOOP: Final = frozenset({"results", "count", "errors", "items"})
"""What the save of a loop that is over can name besides."""
_IN_RETRY: Final = frozenset({"error", "result", "status_code", "success", "data", "attempt"})
IN_FINALLY: Final = frozenset({"status", "error", "result"})


class At(Enum):
    """The kinds of places in a step at which templates stand."""

    ARGS = "args"
    TASK_ARGS = "task args"
    FIELD = "field"
    LOOP = "loop"
    RETRY = "retry"
    SAVE = "save"
    ITEM_SAVE = "save of an item"
    RESULT = "result"
    NEXT = "next"
    ON_ERROR = "on_error"


_RENDERED_ONCE: Final = frozenset({At.LOOP, At.NEXT, At.ON_ERROR, At.RESULT})
"""Places that are rendered once for a step with a loop, when there are neither items nor args of its own."""


@dataclass(slots=True)
class Args:
    """Names that arguments give: `sure` ones always, `some` not on every way. `open`: there can be any others."""

    sure: set[str] = field(default_factory=set)
    some: set[str] = field(default_factory=set)
    open: bool = False

    def add(self, node: Node | None) -> None:
        """Add the keys of a mapping; those of a template are not known."""
        if node is None or node.null:
            return
        if node.kind == "mapping":
            self.sure.update(node.value)
        else:
            self.open = True


@dataclass(slots=True)
class Section:
    """The steps of `workflow` or `finally`, with their mappings in the file and the ways between them."""

    steps: Mapping[str, Step]
    nodes: Mapping[str, Node]
    flow: Flow
    arriving: Mapping[str, list[Target]]
    after: "Section | None" = None  # the workflow, where this is `finally`
    _transition: dict[str, Args] = field(default_factory=dict)
    _behind_failures: set[str] | None = None

    def transition(self, name: str) -> Args:
        """Return the names that the ways to a step give."""
        args = self._transition.get(name)
        if args is None:
            args = self._transition[name] = self._gather(name)
        return args

    def _gather(self, name: str) -> Args:
        args, ways, everywhere = Args(), self.arriving.get(name, ()), list[set[str]]()
        if name == self.flow.entry:
            everywhere.append(set())  # it begins without anybody's args
        for way in ways:
            one = Args()
            one.add(way.args)
            args.open |= one.open
            args.some |= one.sure
            everywhere.append(one.sure)
            if self._surely_taken(way):
                args.sure |= one.sure
        if everywhere:
            args.sure |= set.intersection(*everywhere)
        args.some -= args.sure
        return args

    def _surely_taken(self, way: Target) -> bool:
        """Whether a join always gets this arrival: its source has run, and leads here whatever the data."""
        source = self.steps[way.step]
        if (
            way.args is None
            or way.key != "next"
            or source.on_error
            or any(clause.when is not None for clause in source.next)
        ):
            return False
        return self.flow.is_join(way.name) and self.flow.sure(way.step, way.name)

    @property
    def behind_failures(self) -> set[str]:
        """The steps in which `error` can be a failure that was handled."""
        if self._behind_failures is None:
            seen = {
                way.name
                for ways in self.arriving.values()
                for way in ways
                if way.key == "on_error" or self.steps[way.step].on_error_continue
            }
            stack = [name for name in seen if name in self.steps]
            while stack:
                for way in self.leaving(stack.pop()):
                    if way.name not in seen and way.name in self.steps:
                        seen.add(way.name)
                        stack.append(way.name)
            self._behind_failures = seen
        return self._behind_failures

    def leaving(self, name: str) -> Iterable[Target]:
        """Return the ways out of a step."""
        return [way for target in self.flow_targets(name) for way in self.arriving.get(target, ()) if way.step == name]

    def flow_targets(self, name: str) -> set[str]:
        step = self.steps[name]
        return {edge.target for clause in (*step.next, *step.on_error) for edge in clause.edges}


def make_section(
    steps: Sequence[Step], nodes: Mapping[str, Node], ways: Iterable[Target], after: Section | None
) -> Section:
    """Return the section of the steps of `workflow` or `finally`."""
    known = {step.name: step for step in steps}
    arriving: dict[str, list[Target]] = {}
    for way in ways:
        if way.step in known:
            arriving.setdefault(way.name, []).append(way)
    return Section(known, nodes, Flow(steps), arriving, after)


@dataclass(frozen=True, slots=True)
class Local:
    """The names that a place in a step gives itself, before all others."""

    names: frozenset[str]
    args: Args
    iterators: frozenset[str]


def local_names(section: Section, step: Step, at: At, task: Node | None) -> Local:
    """Return the names that a template's place gives, beside step results and workload."""
    node, names, args = section.nodes[step.name], set[str](), Args()
    transition = section.transition(step.name)
    args.sure |= transition.sure
    args.some |= transition.some
    args.open |= transition.open
    once = at in _RENDERED_ONCE or (at is At.SAVE and "loop" in node.value)
    if at is not At.ARGS and (step.is_router or at is At.RESULT or not once):
        args.add(node.value.get("args"))
        if at is not At.TASK_ARGS and task is not None:
            args.add(task.value.get("args"))
    iterators = _iterators(node) if at is At.LOOP or not once else frozenset()
    if iterators:
        args.open |= "" in iterators
        names |= _IN_LOOPS
    if at in (At.NEXT, At.ON_ERROR, At.SAVE, At.ITEM_SAVE, At.RESULT):
        names |= {"result", "this"}
    if at in (At.SAVE, At.ITEM_SAVE):
        names.add("data")
        if once:
            names |= _OF_LOOP
    if at is At.ON_ERROR or (at is At.NEXT and step.on_error_continue):
        names.add("error")
    elif at is At.RETRY:
        names |= _IN_RETRY
    if section.after is not None:
        names |= IN_FINALLY
    args.some -= args.sure
    return Local(frozenset(names) | iterators, args, iterators)


def _iterators(node: Node) -> frozenset[str]:
    """Return the names of the items of a step's loops; one that cannot be read is empty."""
    iterators = [level.value.get("iterator") for level in loop_levels(node)]
    return frozenset(
        DEFAULT_ITERATOR if one is None or one.null else one.value if one.text else "" for one in iterators
    )

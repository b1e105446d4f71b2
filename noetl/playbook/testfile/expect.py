"""The reader of a test's `expect`: one expectation per requirement, with its line."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.read.reader import Reader
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.testfile.model import Expectation
from noetl.playbook.testfile.stubs import ITEM_INDEX, SAVE_SUFFIX
from noetl.playbook.yaml.tree import Node
from noetl.words import TERMINAL_STATUSES, ExecutionStatus

EXPECT_KEYS: Final = frozenset({"status", "result", "error", "steps", "calls", "duration"})
ERROR_KEYS: Final = frozenset({"type", "message", "step", "retryable"})
STEPS_KEYS: Final = frozenset({"exactly", "in_order", "taken", "not_taken", "visits"})
CALL_KEYS: Final = frozenset({"visit", "item", "attempt", "args", "fields", "auth", "timeout"})
CONTAINS: Final = "contains"
EQUALS: Final = "equals"

Steps = Mapping[str, str]


def read_expectations(
    reader: Reader, node: Node | None, steps: Steps | None, label: str, line: int
) -> tuple[Expectation, ...]:
    """Return the expectations of a test. The default status is `completed`, or `failed` where an error is expected."""
    keys: Mapping[str, Node] = {}
    if node is not None:
        keys = reader.mapping(node, f"expect of {label}") or {}
        reader.unknown(node, EXPECT_KEYS, f"expect of {label}")
    expectations: list[Expectation] = []
    if "status" not in keys:
        default = ExecutionStatus.FAILED if "error" in keys else ExecutionStatus.COMPLETED
        expectations.append(Expectation(node.line if node else line, "status", default.value))
    expect = _Expect(reader, steps, label)
    for key, value in keys.items():
        if key in EXPECT_KEYS:
            expectations += getattr(expect, key)(value)
    return tuple(expectations)


class _Expect:
    """Reads one key each."""

    def __init__(self, reader: Reader, steps: Steps | None, label: str) -> None:
        self._reader = reader
        self._steps = steps
        self._label = label

    def status(self, node: Node) -> Iterator[Expectation]:
        known = sorted(str(each) for each in TERMINAL_STATUSES)
        if node.value in known:
            yield Expectation(node.line, "status", node.value)
        else:
            hint = did_you_mean(node.text, known) if node.kind == "scalar" else ""
            message = f"status in expect of {self._label} is {node.describe()}{hint}: it is one of {', '.join(known)}"
            self._reader.error(node, Code.VALUE, message)

    def result(self, node: Node) -> Iterator[Expectation]:
        kind, inner = "result", node
        if node.kind == "mapping" and len(node.value) == 1:
            only = next(iter(node.value))
            if only in (CONTAINS, EQUALS):
                kind, inner = "result contains" if only == CONTAINS else "result", node.value[only]
        yield Expectation(node.line, kind, self._reader.data(inner, f"result in expect of {self._label}"))

    def error(self, node: Node) -> Iterator[Expectation]:
        inside = f"error in expect of {self._label}"
        if isinstance(node.value, str):
            yield Expectation(node.line, "error", {"message": node.value})
            return
        if self._reader.mapping(node, inside) is not None:
            self._reader.unknown(node, ERROR_KEYS, inside)
            if "step" in node.value:
                self._known(node.value["step"], node.value["step"].value, inside)
            yield Expectation(node.line, "error", self._reader.data(node, inside))

    def steps(self, node: Node) -> Iterator[Expectation]:
        inside = f"steps in expect of {self._label}"
        if node.kind == "list":
            yield Expectation(node.line, "steps", self._names(node, inside))
            return
        self._reader.unknown(node, STEPS_KEYS, inside)
        for key, value in (self._reader.mapping(node, inside) or {}).items():
            line = node.keys[key].line
            if key == "visits":
                yield from self._visits(value, inside)
            elif key in STEPS_KEYS:
                yield Expectation(line, "steps" if key == "exactly" else key, self._names(value, f"{key} of {inside}"))

    def calls(self, node: Node) -> Iterator[Expectation]:
        inside = f"calls in expect of {self._label}"
        for step, value in (self._reader.mapping(node, inside) or {}).items():
            self._known(node.keys[step], step, inside, saves=True)
            yield Expectation(node.keys[step].line, "calls", self._call(value, f"{step!r} of {inside}"), step)

    def duration(self, node: Node) -> Iterator[Expectation]:
        seconds = self._reader.duration(node, f"duration in expect of {self._label}")
        if seconds is not None:
            yield Expectation(node.line, "duration", seconds)

    # -- parts

    def _names(self, node: Node, inside: str) -> list[str]:
        names = []
        for item in self._reader.items(node, inside):
            name = self._reader.name(item, f"a step of {inside}")
            if name is not None and self._known(item, name, inside):
                names.append(name)
        return names

    def _visits(self, node: Node, inside: str) -> Iterator[Expectation]:
        for step, value in (self._reader.mapping(node, f"visits of {inside}") or {}).items():
            count = self._reader.integer(value, f"visits of {step!r} in {inside}", 0)
            if self._known(node.keys[step], step, inside) and count is not None:
                yield Expectation(node.keys[step].line, "visits", count, step)

    def _call(self, node: Node, inside: str) -> Any:
        """Return a number of calls, one call that must be among them, or the list of all calls."""
        if node.kind == "scalar":
            return self._reader.integer(node, f"{inside} (a number, a call, or the list of all calls)", 0)
        for call in node.value if node.kind == "list" else [node]:
            if self._reader.mapping(call, f"a call of {inside}") is None:
                continue
            self._reader.unknown(call, CALL_KEYS, f"a call of {inside}")
            for key in ("visit", "attempt"):
                if key in call.value:
                    self._reader.integer(call.value[key], f"{key} in a call of {inside}", 1)
            item = call.value.get("item")
            if item is not None and not (isinstance(item.value, str) and ITEM_INDEX.fullmatch(item.value)):
                self._reader.integer(item, f"item in a call of {inside}", 0)
            for key in ("args", "fields"):
                if key in call.value:
                    self._reader.mapping(call.value[key], f"{key} in a call of {inside}")
        return self._reader.data(node, inside)

    def _known(self, node: Node, step: str, inside: str, *, saves: bool = False) -> bool:
        """Tell whether there is a step of this name; `saves`: the block `save` of one counts, too."""
        if self._steps is None:
            return True
        names = [name for name in self._steps if saves or not name.endswith(SAVE_SUFFIX)]
        if step in names:
            return True
        hint = did_you_mean(str(step), names) or f": the steps are {', '.join(names)}"
        self._reader.error(node, Code.UNKNOWN_STEP, f"{inside}: there is no step {step!r}{hint}")
        return False

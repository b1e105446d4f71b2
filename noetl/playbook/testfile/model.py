"""The model of a playbook's test that has been read: immutable, every part with its line.

Test
 ├── stubs           Stub by step, or by type of step
 │    └── answers    StubAnswer, tried in order; `items`: a Stub per item of a loop
 ├── children        Child by catalog path, with stubs of its own
 └── expectations    Expectation, each checked by itself
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from noetl.playbook.model import Template


@dataclass(frozen=True, slots=True)
class StubAnswer:
    """The answer to a call. One of `result`, `render`, `error` counts, as `kind` says; `run` carries the step out.

    `times`: how many calls it answers, None for any number; `when` narrows them. `takes` is in seconds of virtual
    time.
    """

    line: int
    kind: str  # "result" | "render" | "error" | "run"
    result: Any = None
    render: Template | None = None
    error: Mapping[str, Any] | None = None
    when: Template | None = None
    times: int | None = None
    takes: float = 0.0


@dataclass(frozen=True, slots=True)
class Stub:
    """The answers to a step's calls, tried in order. `items` has those of a loop's items that have their own: by index
    as text, `2/0` for item 0 of the loop that item 2 runs."""

    line: int
    answers: tuple[StubAnswer, ...] = ()
    items: Mapping[str, "Stub"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Child:
    """A child playbook that runs in the test: its file, None for the one beside the playbook, and its stubs."""

    line: int
    column: int
    file: str | None
    stubs: Mapping[str, Stub]


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that must be so. `kind` is one of `status`, `result`, `result contains`, `error`,
    `steps`, `in_order`, `taken`, `not_taken`, `visits`, `calls`, `duration`. `step`: of which step."""

    line: int
    kind: str
    value: Any
    step: str = ""


@dataclass(frozen=True, slots=True)
class Test:
    """One test. `now` is the moment it begins at, in microseconds since 1970 (None: a fixed one); `cancel_at` are
    seconds of virtual time after which somebody cancels the execution."""

    name: str
    line: int
    file: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    merge: bool = False
    execution_id: int = 1
    now: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, Any] = field(default_factory=dict)
    stubs: Mapping[str, Stub] = field(default_factory=dict)
    children: Mapping[str, Child] = field(default_factory=dict)
    cancel_at: tuple[float, ...] = ()
    expectations: tuple[Expectation, ...] = ()

    __test__ = False  # pytest is not meant

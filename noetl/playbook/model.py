"""The model of a playbook that has been read: immutable, compiled, in canonical words.

    Playbook
     ├── workload       Template, rendered once at start
     ├── workflow       Graph of Steps
     └── finally_       Graph of Steps, or None

An **edge** is one target of a `next` or `on_error` clause. Edges are numbered through the whole playbook in its
order (workflow before finally; of a step, `next` before `on_error`), so a number names one for ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from noetl.words import ROUTER


class Template(Protocol):
    """A value of the playbook, with or without `{{ }}` in it, compiled once.

    `names` are the top-level names it reads (also those behind `results['x']`, as `x`); `constant` is true where
    there is nothing to render.
    """

    @property
    def names(self) -> frozenset[str]: ...

    @property
    def constant(self) -> bool: ...

    def render(self, scope: Mapping[str, object]) -> Any:
        """Return the value as plain JSON types. Raises `TemplateError`."""
        ...


@dataclass(frozen=True, slots=True)
class Edge:
    """One way from a step to another, with the arguments it hands over."""

    number: int
    source: str
    target: str
    args: Template | None  # a mapping


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of `next` or `on_error`. `when` is None for `else` and for clauses without a condition."""

    when: Template | None
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """The policy by which an attempt is followed by another. Delays are in seconds.

    `when` says which failures are worth one; where it looks at what an attempt gave, of successes, too. `until` is what
    ends it: an attempt that succeeded is repeated until it is true.
    """

    max_attempts: int = 1
    initial_delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 60.0
    jitter: bool = True
    when: Template | None = None
    until: Template | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """One level of a step's `loop`: its action runs once per item.

    `where`, `order_by`, `limit`, `batch` are applied in this order. `concurrency` counts for loops that are not
    `sequential`; `continue_on_error`: an item that fails gives null. `enumerate`: the args get the item's index, too.
    """

    items: Template  # `in`: a list
    iterator: str = "item"
    sequential: bool = True
    concurrency: Template | None = None
    where: Template | None = None
    order_by: Template | None = None
    limit: Template | None = None
    batch: Template | None = None
    enumerate: bool = False
    continue_on_error: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `type` is `router` where it has no action; for `type: workbook` it is the task's own type.

    `loops` are its loops, the outermost first. `save` and `item_save` are the fields of a save that runs when the
    step, or one item of its innermost loop, is done; `auth` is what its tool logs in with.
    """

    name: str
    type: str
    line: int
    desc: str = ""
    fields: Template | None = None  # the tool's own fields (code, endpoint ...), a mapping; step over task
    args: Template | None = None  # the step's args, a mapping
    task: str | None = None  # the workbook task's name
    task_args: Template | None = None  # the task's args, a mapping
    result: Template | None = None  # of `end` (and other routers)
    next: tuple[Clause, ...] = ()
    on_error: tuple[Clause, ...] = ()
    on_error_continue: bool = False
    retry: Retry = Retry()
    timeout: Template | None = None  # seconds (a number), or a duration as text; per attempt
    pool: str | None = None
    max_visits: int = 10_000
    loops: tuple[Loop, ...] = ()
    auth: Template | None = None
    save: Template | None = None  # a mapping
    item_save: Template | None = None  # a mapping
    join: bool = False  # it waits for all that can reach it, also with one source or as a handler

    @property
    def is_router(self) -> bool:
        return self.type == ROUTER


@dataclass(frozen=True, slots=True)
class Graph:
    """The steps of one workflow and what routing asks of them, worked out once.

    `sources[s]`: the steps with an edge to `s`, itself left out. `joins`: steps with two or more sources, `end`, and
    those that say `join: true`; `handlers`: steps reached by `on_error` edges only (a handler is no join).
    `ancestors[s]`: every step that can reach `s` along one or more edges (`s` itself where it stands in a cycle).
    `cycle[s]`: the number of its strongly connected component. `order[s]`: its place in the playbook.
    """

    entry: str
    steps: Mapping[str, Step]
    sources: Mapping[str, frozenset[str]]
    joins: frozenset[str]
    handlers: frozenset[str]
    ancestors: Mapping[str, frozenset[str]]
    cycle: Mapping[str, int]
    order: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Playbook:
    """A checked playbook. `hash` is the content hash (line ends and trailing space aside)."""

    path: str
    name: str
    hash: str
    workload: Template  # a mapping
    workflow: Graph
    finally_: Graph | None = None
    timeout: float | None = None  # seconds, whole execution
    pool: str | None = None
    priority: int = 0
    labels: Mapping[str, str] | None = None
    desc: str = ""
    declared: frozenset[str] = frozenset()  # the keys of the workload
    parameters: frozenset[str] | None = None  # what a run may set; None: anything
    secrets: bool = False  # whether its calls may have references to secrets in them

    def step(self, name: str) -> Step:
        """Return a step of `workflow` or `finally` (names are unique over both)."""
        step = self.workflow.steps.get(name)
        if step is None and self.finally_ is not None:
            step = self.finally_.steps.get(name)
        if step is None:
            raise KeyError(name)
        return step

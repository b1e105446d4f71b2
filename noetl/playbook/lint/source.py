"""The source of a playbook, as the checks see it: its tree, its steps and tasks, and the ways between them."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.scopes import Section, make_section
from noetl.playbook.model import Graph, Playbook, Step
from noetl.playbook.read.clauses import Target
from noetl.playbook.read.loops import loop_levels
from noetl.playbook.read.reader import Reader
from noetl.playbook.read.sections import StepList
from noetl.playbook.yaml.tree import Node

_STRUCTURE_CODES: Final = frozenset(
    {
        *(Code.YAML, Code.DUPLICATE_KEY, Code.DANGLING, Code.UNREACHABLE),
        *(Code.DUPLICATE_STEP, Code.RESERVED_NAME, Code.BAD_NAME, Code.UNKNOWN_TASK),
    }
)
"""Errors after which the order and the names of the steps are not known."""


@dataclass(frozen=True, slots=True)
class StepOrTask:
    """A step, or a task of the workbook: its mapping in the file, its type, and its label in messages."""

    node: Node
    type: str
    label: str
    step: Step | None = None

    @property
    def levels(self) -> list[Node]:
        """The levels of its loop, the outermost first."""
        return loop_levels(self.node)

    @property
    def saves(self) -> list[Node]:
        """Its blocks `save`: its own, and those of its loop."""
        blocks = [owner.value.get("save") for owner in (self.node, *self.levels)]
        return [block for block in blocks if block is not None and block.kind == "mapping"]


@dataclass(frozen=True)
class PlaybookSource:
    """A playbook as it stands in the file, as far as it could be read.

    `tasks` are the mappings of the workbook's tasks; `playbook` is None where there are errors; `credentials` are the
    names of those that exist, None where that is not known.
    """

    reader: Reader
    workload: Node | None
    tasks: Mapping[str, Node]
    targets: list[Target]
    lists: list[StepList]  # workflow, and finally where there is one
    playbook: Playbook | None = None
    credentials: Collection[str] | None = None

    @cached_property
    def steps_and_tasks(self) -> list[StepOrTask]:
        """All steps and tasks."""
        return [*self._steps(), *self._tasks()]

    def _steps(self) -> Iterator[StepOrTask]:
        for steps in self.lists:
            for step in steps.steps:
                yield StepOrTask(steps.nodes[step.name], step.type, f"step {step.name!r}", step)

    def _tasks(self) -> Iterator[StepOrTask]:
        for name, task in self.tasks.items():
            type_ = task.value.get("type")
            yield StepOrTask(task, type_.text if type_ is not None else "", f"task {name!r}")

    @property
    def workload_keys(self) -> Mapping[str, Node]:
        """The values of the workload by their keys, where it is written out."""
        mapping = self.workload is not None and self.workload.kind == "mapping"
        return self.workload.value if self.workload is not None and mapping else {}

    @property
    def graphs(self) -> list[tuple[Graph, Mapping[str, Node]]]:
        """The graphs of workflow and `finally`, with the places of their steps' names; none where there are errors."""
        graphs = (self.playbook.workflow, self.playbook.finally_) if self.playbook is not None else ()
        return [(graph, steps.places) for graph, steps in zip(graphs, self.lists, strict=False) if graph is not None]

    @cached_property
    def sections(self) -> list[Section]:
        """The workflow and `finally`, with the ways between their steps; none where these are not known."""
        sections: list[Section] = []
        if any(problem.severity == "error" and problem.code in _STRUCTURE_CODES for problem in self.reader.problems):
            return sections
        for steps in self.lists:
            if steps.steps:
                before = sections[-1] if sections else None
                sections.append(make_section(steps.steps, steps.nodes, self.targets, before))
        return sections

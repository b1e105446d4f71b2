"""The reader of a playbook's lists: `workbook`, `workflow` and `finally`, with the places of their items."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from noetl.playbook.lint.codes import Code
from noetl.playbook.model import Step
from noetl.playbook.read.clauses import Clauses
from noetl.playbook.read.reader import Reader
from noetl.playbook.read.steps import UNREADABLE_TYPE, Task, read_step, read_task
from noetl.playbook.yaml.tree import Node


@dataclass(slots=True)
class Workbook:
    """The tasks by name, None for those with errors, and their mappings in the file."""

    tasks: dict[str, Task | None] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)


@dataclass(slots=True)
class StepList:
    """The steps of `workflow` or `finally`, by name their mappings in the file and the places of their names.

    `lost` are the items of the list of which no step could be read.
    """

    name: str
    steps: list[Step] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    places: dict[str, Node] = field(default_factory=dict)
    lost: list[Node] = field(default_factory=list)


def read_workbook(reader: Reader, node: Node | None) -> Workbook:
    """Read the tasks of the workbook."""
    workbook = Workbook()
    for item in reader.items(node, "workbook") if node is not None and not node.null else ():
        name, task = read_task(reader, item)
        if name is None:
            continue
        if name in workbook.tasks:
            message = f"the task {name!r} is defined twice: rename one of them"
            reader.error(item.value["name"], Code.DUPLICATE_TASK, message)
        workbook.tasks[name] = task
        workbook.nodes[name] = item
    return workbook


def read_steps(reader: Reader, clauses: Clauses, tasks: Mapping[str, Task | None], root: Node, name: str) -> StepList:
    """Read the steps of `workflow` or `finally`, the key `name` of the document."""
    section, node = StepList(name), root.value.get(name)
    if node is None or node.null or (node.kind == "list" and not node.value):
        message = f"{name} has no steps: add '- step: start'" if node else f"there is no {name}: add one"
        reader.error(node or root, Code.MISSING, message)
        return section
    for item in reader.items(node, name):
        step = read_step(reader, clauses, tasks, item)
        if step is None:
            section.lost.append(item)
        elif step.name in section.nodes:
            first = section.places[step.name].line
            message = f"the step {step.name!r} is defined twice (first in line {first}): rename one of them"
            reader.error(item.value["step"], Code.DUPLICATE_STEP, message)
        else:
            section.steps.append(step)
            section.nodes[step.name] = item
            section.places[step.name] = item.value["step"]
    return section


def report_unread(reader: Reader, workbook: Workbook, sections: list[StepList]) -> None:
    """Report tasks and steps that could not be read although no error says so: nothing runs in their place."""
    if reader.errors:
        return
    lost = [(workbook.nodes[name], f"the task {name!r}") for name, task in workbook.tasks.items() if task is None]
    for section in sections:
        lost += [(node, f"a step of {section.name}") for node in section.lost]
        lost += [
            (section.places[step.name], f"the step {step.name!r}")
            for step in section.steps
            if step.type == UNREADABLE_TYPE
        ]
    for node, part in lost:
        message = f"{part} could not be read: this is a fault of NoETL, report the file"
        reader.error(node, Code.UNREADABLE, message)

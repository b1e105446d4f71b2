"""The further checks of a playbook that has been read: names, fields, commands, credentials, ways never taken.

They are for people who write or register a playbook; one that stands in the catalog is loaded without them.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from noetl.playbook.graph import END
from noetl.playbook.lint.arguments import check_arguments
from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.commands import check_commands
from noetl.playbook.lint.field_rules import check_constants
from noetl.playbook.lint.names import Names
from noetl.playbook.lint.overwritten_files import check_repeats
from noetl.playbook.lint.python_checks import check_code
from noetl.playbook.lint.scopes import Section, make_section
from noetl.playbook.lint.template_faults import faults_of
from noetl.playbook.lint.template_places import scalars
from noetl.playbook.model import Step
from noetl.playbook.read.clauses import Target
from noetl.playbook.read.number_texts import check_numbers
from noetl.playbook.read.reader import Reader
from noetl.playbook.step_types import fields_of
from noetl.playbook.templates import template as templates
from noetl.playbook.yaml.positions import place_in
from noetl.playbook.yaml.tree import Node

_BROKEN: Final = frozenset(
    {
        *(Code.YAML, Code.DUPLICATE_KEY, Code.DANGLING, Code.UNREACHABLE),
        *(Code.DUPLICATE_STEP, Code.RESERVED_NAME, Code.BAD_NAME, Code.UNKNOWN_TASK),
    }
)
"""With one of these, nobody knows which steps come before which, or what they are called."""

_FIELDS_OF_AUTH: Final = frozenset(
    {"type", "key", "credential", "name", "host", "port", "user", "username", "password", "token", "header", "value"}
    | {"database", "dbname", "db", "dsn", "url", "scheme", "sslmode", "options", "location", "prefix", "in", "cookie"}
)


_TRUTH: Final[Mapping[str, str]] = {"yes": "true", "on": "true", "no": "false", "off": "false"}


@dataclass(slots=True)
class Given:
    """What the file says, as far as it could be read."""

    workload: Node | None
    tasks: Mapping[str, Node]
    ways: list[Target]
    workflow: "Part"
    finally_: "Part | None"


@dataclass(slots=True)
class Part:
    """The steps of `workflow` or `finally`, with their mappings in the file and the places of their names."""

    steps: list[Step] = field(default_factory=list)
    items: dict[str, Node] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)


def examine(reader: Reader, given: Given, credentials: Collection[str] | None) -> None:
    """Report what the further checks find. `credentials`: the names of those that exist, None where nobody knows."""
    sound = not any(problem.severity == "error" and problem.code in _BROKEN for problem in reader.problems)
    names = Names(reader, given.workload, given.tasks, credentials)
    parts = [part for part in (given.workflow, given.finally_) if part is not None and part.steps]
    known = {*names.keys, *(step.name for part in parts for step in part.steps)}
    for part in parts:
        for step in part.steps:
            _check_step(names, step, part.items[step.name])
            _check_languages(reader, part.items[step.name], step.type, f"step {step.name!r}", known)
    for name, task in given.tasks.items():
        type_ = task.value.get("type")
        _check_languages(reader, task, type_.value if type_ is not None else "", f"task {name!r}", known)
        check_commands(reader, task, type_.value if type_ is not None else "", f"task {name!r}")
        check_constants(reader, task, type_.value if type_ is not None else "", f"task {name!r}")
        _check_credentials(names, task)
    check_numbers(reader, given.workload, _owners(given, parts))
    names.check_workload()
    _check_words(reader, given.workload)
    _check_templates(reader, given.workload, "workload")
    before: Section | None = None
    for part in parts if sound else ():
        section = make_section(part.steps, part.items, given.ways, before)
        _check_ways(reader, section, part.nodes)
        names.check_section(section)
        check_repeats(reader, section)
        check_arguments(reader, section, given.tasks)
        before = section


def _owners(given: Given, parts: Iterable[Part]) -> list[tuple[Node, str]]:
    """Return the mappings of all steps and tasks, each with its type."""
    steps = [(part.items[step.name], step.type) for part in parts for step in part.steps]
    types = [(task, task.value.get("type")) for task in given.tasks.values()]
    return steps + [(task, type_.text if type_ is not None else "") for task, type_ in types]


def _check_step(names: Names, step: Step, node: Node) -> None:
    check_commands(names.reader, node, step.type, f"step {step.name!r}")
    if not (node.value.get("task") and step.type == "save"):  # the rest of its fields stands in the task
        check_constants(names.reader, node, step.type, f"step {step.name!r}")
    if step.type == "save" and not step.task:
        _check_has_data(names.reader, step, node)
    _check_credentials(names, node)
    for level in _levels(node):
        items = level.value.get("in")
        if items is not None and items.kind == "list" and not items.value:
            told = f"the loop of step {step.name!r} runs over an empty list: it does nothing"
            names.reader.warning(items, Code.EMPTY_LOOP, told)
        order = level.value.get("order_by")
        if order is not None and not order.null and not any(map(templates.is_template, _texts(order))):
            told = f"order_by in loop of step {step.name!r} is the same for every item: write '{{{{ item.name }}}}'"
            names.reader.error(order, Code.VALUE, told)


def _check_languages(reader: Reader, node: Node, type_: str, what: str, known: Collection[str]) -> None:
    """Check the templates of a step or task, and its Python."""
    if type_ == "python":
        check_code(reader, node, what, known)
    raw = {name for name, spec in fields_of(type_).items() if spec.raw}
    for key, value in node.value.items():
        if key not in raw:
            _check_templates(reader, value, f"{key} of {what}")


def _check_templates(reader: Reader, node: Node | None, what: str) -> None:
    """Report expressions that never work."""
    for scalar in scalars(node):
        for index, word, told in faults_of(scalar.value):
            reader.report(*place_in(reader.lines, scalar, index, word), "error", Code.TEMPLATE, f"{what}: {told}")


def _check_words(reader: Reader, node: Node | None) -> None:
    """Hint at words in the workload that YAML 1.1 read as truth values, and that are text today."""
    for scalar in scalars(node):
        meant = _TRUTH.get(scalar.value.lower())
        row = reader.lines[scalar.line - 1] if scalar.line <= len(reader.lines) else ""
        if meant and row.startswith(scalar.value, scalar.column - 1):
            told = (
                f"{scalar.value} is text: write {meant} for a truth value, or '{scalar.value}' in quotes for the text"
            )
            reader.report(scalar.line, scalar.column, "hint", Code.VALUE, told)


def _check_has_data(reader: Reader, step: Step, node: Node) -> None:
    """Report a step of type save that has nothing to save; a block `save` in it is about its result."""
    if any(name in node.value for name in ("data", "statement")):
        return
    block = "save" in node.value
    advice = "write the fields of its block 'save' into the step itself" if block else "add 'data'"
    told = f"step {step.name!r} of type save has nothing to save: {advice}"
    reader.error(node.keys["save"] if block else node, Code.MISSING, told)


def _texts(node: Node) -> Iterator[str]:
    """Yield the texts in a value."""
    for item in node.value if node.kind == "list" else [node]:
        if isinstance(item.value, str):
            yield item.value


def _levels(node: Node) -> list[Node]:
    loop = node.value.get("loop")
    levels = [] if loop is None else loop.value if loop.kind == "list" else [loop]
    return [level for level in levels if level.kind == "mapping"]


# ---- credentials -----------------------------------------------------------------------------------------------------


def _check_credentials(names: Names, node: Node) -> None:
    for holder in (node, *(level.value.get("save") for level in [node, *_levels(node)])):
        if holder is not None and holder.kind == "mapping" and "auth" in holder.value:
            for named in _named(holder.value["auth"]):
                names.check_credential(named, named.value)


def _named(auth: Node) -> Iterator[Node]:
    """Yield the names of credentials in an `auth`: a name, `{type, key}`, or a map of aliases."""
    found: list[Node] = [auth]
    if auth.kind == "mapping":
        aliases = _FIELDS_OF_AUTH.isdisjoint(auth.value)
        inner = auth.value.values() if aliases else [auth.value.get("key"), auth.value.get("credential")]
        found = [one for one in inner if one is not None]
        if aliases:
            found = [one for item in found for one in (_named(item) if item.kind == "mapping" else [item])]
    for node in found:
        if isinstance(node.value, str) and not templates.is_template(node.value):
            yield node


# ---- ways ------------------------------------------------------------------------------------------------------------


def _check_ways(reader: Reader, section: Section, nodes: Mapping[str, Node]) -> None:
    """Warn of steps to which ways lead, none of which is ever taken."""
    taken = section.flow.reached(failing=True)
    for step in section.steps.values():
        alive = [source for source in section.flow.sources[step.name] if source in taken]
        alone = step.name == END and step.result is not None and not section.flow.sources[step.name]
        if step.name not in taken and alive and not alone:
            kind = "join" if section.flow.is_join(step.name) else "step"
            told = f"the {kind} {step.name!r} never starts: the conditions of all ways to it are never true"
            reader.warning(nodes[step.name], Code.NEVER, told)

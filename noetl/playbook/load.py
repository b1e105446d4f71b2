"""A playbook's text in, a checked `Playbook` out; all problems at once."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from noetl.errors import PlaybookError, Problem
from noetl.playbook.graph import make_graph
from noetl.playbook.legacy import normalise as spelling
from noetl.playbook.legacy.generations import later_generation
from noetl.playbook.lint import structure as check
from noetl.playbook.lint.advice import advise
from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.run import Given, Part, examine
from noetl.playbook.model import Playbook, Step
from noetl.playbook.parameters import parameters
from noetl.playbook.read.clauses import Clauses
from noetl.playbook.read.document import API_VERSION, KIND, METADATA_KEYS, read_head
from noetl.playbook.read.reader import Reader
from noetl.playbook.read.steps import UNREADABLE, Task, read_step, read_task
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.templates.template import SECRET_CALL, AnyTemplate, Constant
from noetl.playbook.testfile.section import read_tests
from noetl.playbook.testfile.stubs import stubbed
from noetl.playbook.yaml import tree as yamltree
from noetl.playbook.yaml.tree import Node

KEYS: Final = frozenset(
    {
        "apiVersion",
        "kind",
        "metadata",
        "workload",
        "additional",
        "workbook",
        "workflow",
        "finally",
        "timeout",
        "pool",
        "priority",
        "labels",
        "tests",
    }
)


@dataclass(slots=True)
class _Section(Part):
    """The steps of `workflow` or `finally` with the places they stand at."""

    lost: list[Node] = field(default_factory=list)  # steps that could not be read


def content_hash(text: str) -> str:
    """Return the hash of a playbook's text; line ends and trailing space do not count."""
    lines = [line.rstrip() for line in text.removeprefix("\ufeff").splitlines()]
    return hashlib.sha256("\n".join(lines).rstrip("\n").encode(errors="replace")).hexdigest()


def load_playbook(text: str, filename: str) -> Playbook:
    """Return the playbook of a text. Raises `PlaybookError` with all problems, those of check included."""
    return _whole(*_load(text, filename))


def stored_playbook(text: str, filename: str) -> Playbook:
    """Return a playbook that was registered once, without the further checks: they may have become stricter.

    Raises `PlaybookError`.
    """
    return _whole(*_load(text, filename, further=False))


def _whole(playbook: Playbook | None, problems: list[Problem]) -> Playbook:
    if playbook is None or any(problem.severity == "error" for problem in problems):
        raise PlaybookError(_findings(problems))
    return playbook


def lint(text: str, filename: str, credentials: Collection[str] | None = None) -> list[Problem]:
    """Return all findings, errors, warnings and hints, in the order of the file.

    `credentials` are the names of those that exist; None where that is not known, and nothing is said about them.
    """
    return _load(text, filename, credentials=credentials)[1]


def document_kind(text: str, filename: str) -> tuple[str, str, str, str]:
    """Return kind, path, name and description of a document of any kind. Raises `PlaybookError`.

    Nothing else of it is looked at, unless a playbook's head has problems: then all of its problems are told.
    """
    root, problems = read_document(text, filename)
    reader = Reader(filename, text)
    reader.problems += [problem for problem in problems if problem.severity == "error"]
    found = read_head(reader, root) if root is not None else None
    if found is None or reader.errors:
        whole = root is not None and _is_playbook(root)
        raise PlaybookError(_findings(_load(text, filename)[1]) if whole else reader.problems)
    return found.kind, found.path, found.name, found.description


def read_document(text: str, filename: str) -> tuple[Node | None, list[Problem]]:
    """Return a document's tree in canonical spelling, and the problems and notes on the way."""
    root, problems = yamltree.read(text, filename)
    if root is None:
        return None, problems
    runs = _is_playbook(root)
    later = later_generation(root, filename) if runs else None
    if later is not None:
        return None, [later]
    root, notes = spelling.normalise(root, filename, runs=runs)
    return root, problems + notes


def _load(
    text: str, filename: str, *, further: bool = True, credentials: Collection[str] | None = None
) -> tuple[Playbook | None, list[Problem]]:
    root, problems = read_document(text, filename)
    reader = Reader(filename, text)
    reader.problems += problems
    playbook = None
    if root is not None:
        loader = _Loader(reader, further)
        playbook = loader.playbook(root, text)
        if further and loader.given is not None:
            examine(reader, loader.given, credentials)
        if reader.errors:
            playbook = None
    return playbook, sorted(set(reader.problems), key=lambda p: (p.line, p.column, p.severity, p.code, p.message))


def _findings(problems: list[Problem]) -> list[Problem]:
    """Return what is wrong or doubtful; a hint is neither."""
    return [problem for problem in problems if problem.severity != "hint"]


def _is_playbook(root: Node) -> bool:
    kind = root.value.get("kind") if root.kind == "mapping" else None
    return kind is None or not isinstance(kind.value, str) or bool(did_you_mean(kind.value, (KIND,)))


def _has_secrets(step: Step) -> bool:
    """Whether a step calls `secret()`, or can give references to secrets to those after it."""
    templates = (step.fields, step.args, step.task_args, step.auth, step.save, step.item_save)
    return step.type in ("secrets", "playbook") or any(each and SECRET_CALL in each.names for each in templates)


class _Loader:
    """Reads one playbook."""

    def __init__(self, reader: Reader, further: bool) -> None:
        self.reader = reader
        self.further = further
        self.given: Given | None = None
        self.task_nodes: dict[str, Node] = {}

    def playbook(self, root: Node, text: str) -> Playbook | None:
        reader = self.reader
        document = read_head(reader, root)
        if root.kind != "mapping":
            return None
        keys: dict[str, Node] = root.value
        if document is not None:
            reader.playbook = document.path
        self._head(root, keys)
        workload = self._workload(keys)
        tasks, clauses = self._workbook(keys), Clauses(reader)
        workflow = self._section(tasks, clauses, keys.get("workflow"), root, "workflow")
        finally_ = self._section(tasks, clauses, keys["finally"], root, "finally") if "finally" in keys else None
        self.given = Given(keys.get("workload"), self.task_nodes, clauses.targets, workflow, finally_)
        check.check_names(reader, workflow.nodes, finally_.nodes if finally_ else {}, keys.get("workload"))
        check.check_targets(reader, clauses.targets, workflow.nodes, finally_.nodes if finally_ else {})
        if self.further:
            self._tests(keys.get("tests"), workflow, finally_)
        labels = self._labels(keys)
        timeout = self._timeout(keys)
        pool = reader.name(keys["pool"], "pool") if "pool" in keys else None
        priority = reader.integer(keys["priority"], "priority") if "priority" in keys else None
        if priority is not None and not -(2**31) <= priority < 2**31:
            reader.error(keys["priority"], Code.VALUE, f"priority is {priority}: write a number of at most 32 bits")
        additional = "additional" in keys and reader.boolean(keys["additional"], "additional") is True
        self._refuse_losses(tasks, workflow, finally_)
        if document is None or reader.errors:
            return None
        graph = make_graph(workflow.steps)
        advise(reader, graph, workflow.nodes)
        after = make_graph(finally_.steps) if finally_ else None
        if after is not None and finally_ is not None:
            advise(reader, after, finally_.nodes)
        steps = (*workflow.steps, *(finally_.steps if finally_ else ()))
        given = keys.get("workload")
        declared = frozenset[str](given.value if given is not None and given.kind == "mapping" else ())
        return Playbook(
            path=document.path,
            name=document.name,
            hash=content_hash(text),
            workload=workload,
            workflow=graph,
            finally_=after,
            timeout=timeout,
            pool=pool,
            priority=priority or 0,
            labels=labels,
            desc=document.description,
            declared=declared,
            parameters=None if additional else parameters(declared, text, steps),
            secrets=any(map(_has_secrets, steps)),
        )

    def _refuse_losses(self, tasks: Mapping[str, Task | None], *sections: _Section | None) -> None:
        """Report what could not be read and whose reader reported no error: nothing runs in its place."""
        if self.reader.errors:
            return
        lost = [(self.task_nodes[name], f"the task {name!r}") for name, task in tasks.items() if task is None]
        for what, section in zip(("workflow", "finally"), sections, strict=True):
            if section is not None:
                lost += [(node, f"a step of {what}") for node in section.lost]
                lost += [
                    (section.nodes[step.name], f"the step {step.name!r}")
                    for step in section.steps
                    if step.type == UNREADABLE
                ]
        for node, part in lost:
            self.reader.error(
                node, Code.UNREADABLE, f"{part} could not be read: this is a fault of NoETL, report the file"
            )

    def _head(self, root: Node, keys: Mapping[str, Node]) -> None:
        """Check what stands at the top of the document."""
        reader = self.reader
        reader.unknown(root, KEYS, "the playbook", "document")
        version = keys.get("apiVersion")
        if version is not None and version.value != API_VERSION:
            reader.error(version, Code.VALUE, f"apiVersion is {version.describe()}: write {API_VERSION}")
        kind = keys.get("kind")
        if (
            kind is not None
            and isinstance(kind.value, str)
            and kind.value != KIND
            and not did_you_mean(kind.value, (KIND,))
        ):
            reader.error(kind, Code.VALUE, f"kind is {kind.describe()}: a file that runs is of kind {KIND}")
        metadata = keys.get("metadata")
        if metadata is not None and metadata.kind == "mapping":
            reader.unknown(metadata, METADATA_KEYS, "metadata")

    def _workload(self, keys: Mapping[str, Node]) -> AnyTemplate:
        node = keys.get("workload")
        if node is None or node.null or self.reader.mapping(node, "workload") is None:
            return Constant({})
        return self.reader.template(node, "", "workload")

    def _workbook(self, keys: Mapping[str, Node]) -> dict[str, Task | None]:
        """Return the workbook's tasks by name."""
        node = keys.get("workbook")
        if node is None or node.null:
            return {}
        reader, tasks = self.reader, dict[str, Task | None]()
        for item in reader.items(node, "workbook"):
            name, task = read_task(reader, item)
            if name is None:
                continue
            if name in tasks:
                key = item.value["name"]
                reader.error(
                    key, Code.DUPLICATE_TASK, f"the task {name!r} stands here a second time: rename one of them"
                )
            tasks[name] = task
            self.task_nodes[name] = item
        return tasks

    def _section(
        self, tasks: Mapping[str, Task | None], clauses: Clauses, node: Node | None, root: Node, what: str
    ) -> _Section:
        """Read the steps of `workflow` or `finally`."""
        reader, section = self.reader, _Section()
        if node is None or node.null or (node.kind == "list" and not node.value):
            message = f"{what} has no steps: add '- step: start'" if node else f"there is no {what}: add one"
            reader.error(node or root, Code.MISSING, message)
            return section
        for item in reader.items(node, what):
            step = read_step(reader, clauses, tasks, item)
            if step is None:
                section.lost.append(item)
                continue
            if step.name in section.nodes:
                first = section.nodes[step.name].line
                reader.error(
                    item.value["step"],
                    Code.DUPLICATE_STEP,
                    f"the step {step.name!r} stands here a second time (first in line {first}): rename one of them",
                )
                continue
            section.steps.append(step)
            section.nodes[step.name] = item.value["step"]
            section.items[step.name] = item
        if not section.lost:
            check.check_reachable(reader, section.steps, section.nodes, what)
        return section

    def _tests(self, node: Node | None, *sections: _Section | None) -> None:
        """Check the tests; who runs them reads them again. Where steps have problems, their names alone count."""
        broken = self.reader.errors > 0
        given = [section for section in sections if section is not None]
        steps = stubbed((step for section in given for step in section.steps), types=not broken)
        read_tests(self.reader, node, steps if not any(section.lost for section in given) else None)

    def _labels(self, keys: Mapping[str, Node]) -> dict[str, str] | None:
        node = keys.get("labels")
        if node is None or node.null:
            return None
        labels: dict[str, str] = {}
        for name, value in (self.reader.mapping(node, "labels") or {}).items():
            if value.kind == "scalar" and not value.null:
                labels[name] = value.text
            else:
                self.reader.error(value, Code.WRONG_TYPE, f"the label {name!r} is {value.describe()}: it must be text")
        return labels

    def _timeout(self, keys: Mapping[str, Node]) -> float | None:
        node = keys.get("timeout")
        if node is None or node.null:
            return None
        found = self.reader.duration(node, "timeout")
        if found == 0:
            self.reader.error(node, Code.VALUE, "timeout is 0: it must be more")
        return found

"""The loader: from a playbook's text to a checked `Playbook`, with all problems at once."""

import hashlib
from collections.abc import Collection, Mapping

from noetl.errors import PlaybookError, Problem
from noetl.playbook.graph import make_graph
from noetl.playbook.legacy.generations import later_generation
from noetl.playbook.legacy.normalise import normalise
from noetl.playbook.lint.run import run_checks
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.lint.structure import check_structure
from noetl.playbook.model import Playbook, Step
from noetl.playbook.parameters import parameters
from noetl.playbook.read.clauses import Clauses
from noetl.playbook.read.document import PLAYBOOK_KIND, Document, read_head
from noetl.playbook.read.options import Options, check_document_keys, read_options, read_workload
from noetl.playbook.read.reader import Reader
from noetl.playbook.read.sections import StepList, read_steps, read_workbook, report_unread
from noetl.playbook.step_types import STEP_TYPES
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.templates.template import REFERENCE_CALL, AnyTemplate
from noetl.playbook.testfile.section import read_tests
from noetl.playbook.testfile.stubs import stubbed
from noetl.playbook.yaml.tree import Node, read


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

    Only the head is read, unless it has problems and the document is a playbook: then all problems are raised.
    """
    root, problems = read_document(text, filename)
    reader = Reader(filename, text)
    reader.problems += [problem for problem in problems if problem.severity == "error"]
    head = read_head(reader, root) if root is not None else None
    if head is None or reader.errors:
        whole = root is not None and _is_playbook(root)
        raise PlaybookError(_findings(_load(text, filename)[1]) if whole else reader.problems)
    return head.kind, head.path, head.name, head.description


def read_document(text: str, filename: str) -> tuple[Node | None, list[Problem]]:
    """Return a document's tree in canonical spelling, and the problems and notes on the way."""
    root, problems = read(text, filename)
    if root is None:
        return None, problems
    runs = _is_playbook(root)
    later = later_generation(root, filename) if runs else None
    if later is not None:
        return None, [later]
    root, notes = normalise(root, filename, runs=runs)
    return root, problems + notes


def _load(
    text: str, filename: str, *, further: bool = True, credentials: Collection[str] | None = None
) -> tuple[Playbook | None, list[Problem]]:
    """Return the playbook of a text, None where it has errors, and all findings. `further`: also those of lint."""
    root, problems = read_document(text, filename)
    reader = Reader(filename, text)
    reader.problems += problems
    playbook = _read(reader, root, text, further, credentials) if root is not None else None
    findings = sorted(set(reader.problems), key=lambda p: (p.line, p.column, p.severity, p.code, p.message))
    return (None if reader.errors else playbook), findings


def _read(reader: Reader, root: Node, text: str, further: bool, credentials: Collection[str] | None) -> Playbook | None:
    """Return the playbook of a tree, None where errors have been reported before the further checks."""
    head = read_head(reader, root)
    if root.kind != "mapping":
        return None
    keys: Mapping[str, Node] = root.value
    reader.playbook = head.path if head is not None else reader.playbook
    check_document_keys(reader, root)
    workload, workbook = read_workload(reader, keys.get("workload")), read_workbook(reader, keys.get("workbook"))
    clauses, names = Clauses(reader), ["workflow", "finally"] if "finally" in keys else ["workflow"]
    sections = [read_steps(reader, clauses, workbook.tasks, root, name) for name in names]
    check_structure(reader, sections, clauses.targets, keys.get("workload"))
    if further:
        _check_tests(reader, keys.get("tests"), sections)
    options = read_options(reader, keys)
    report_unread(reader, workbook, sections)
    playbook = None
    if head is not None and not reader.errors:
        playbook = _playbook(head, options, workload, sections, keys, text)
    if further:
        source = PlaybookSource(
            reader=reader,
            workload=keys.get("workload"),
            tasks=workbook.nodes,
            targets=clauses.targets,
            lists=sections,
            playbook=playbook,
            credentials=credentials,
        )
        run_checks(source)
    return playbook


def _playbook(
    head: Document,
    options: Options,
    workload: AnyTemplate,
    sections: list[StepList],
    keys: Mapping[str, Node],
    text: str,
) -> Playbook:
    """Return the playbook of parts read without errors; `keys` are those of the document, `text` is all of it."""
    steps = [step for section in sections for step in section.steps]
    graphs = [make_graph(section.steps) for section in sections]
    node = keys.get("workload")
    declared = frozenset[str](node.value if node is not None and node.kind == "mapping" else ())
    return Playbook(
        path=head.path,
        name=head.name,
        hash=content_hash(text),
        workload=workload,
        workflow=graphs[0],
        finally_=graphs[1] if len(graphs) > 1 else None,
        timeout=options.timeout,
        pool=options.pool,
        priority=options.priority,
        labels=options.labels,
        desc=head.description,
        declared=declared,
        parameters=None if options.additional else parameters(declared, text, steps),
        secrets=any(map(_has_secrets, steps)),
    )


def _check_tests(reader: Reader, node: Node | None, sections: list[StepList]) -> None:
    """Check the tests, which are read again to be run. Where steps have problems, only their names count."""
    steps = stubbed((step for section in sections for step in section.steps), types=not reader.errors)
    read_tests(reader, node, None if any(section.lost for section in sections) else steps)


def _findings(problems: list[Problem]) -> list[Problem]:
    """Return errors and warnings, without hints."""
    return [problem for problem in problems if problem.severity != "hint"]


def _is_playbook(root: Node) -> bool:
    kind = root.value.get("kind") if root.kind == "mapping" else None
    return kind is None or not isinstance(kind.value, str) or bool(did_you_mean(kind.value, (PLAYBOOK_KIND,)))


def _has_secrets(step: Step) -> bool:
    """Whether a step calls `secret()`, or can give references to secrets to those after it."""
    templates = (step.fields, step.args, step.task_args, step.auth, step.save, step.item_save)
    if step.type in STEP_TYPES and STEP_TYPES[step.type].gives_secrets:
        return True
    return any(each and REFERENCE_CALL in each.names for each in templates)

"""A playbook together with its tests: those in its own file, and those in a file beside it."""

from typing import Final

from noetl.errors import PlaybookError
from noetl.playbook.lint.codes import Code
from noetl.playbook.load import load_playbook, read_document
from noetl.playbook.model import Playbook
from noetl.playbook.read.reader import Reader
from noetl.playbook.testfile.model import Test
from noetl.playbook.testfile.section import read_tests
from noetl.playbook.testfile.stubs import stubbed
from noetl.playbook.yaml import tree as yamltree

_FILE_KEYS: Final = frozenset({"tests"})


def load_tested(text: str, filename: str) -> tuple[Playbook, tuple[Test, ...]]:
    """Return a playbook and the tests in its file. Raises `PlaybookError` with all problems of both."""
    playbook = load_playbook(text, filename)
    root, _problems = read_document(text, filename)
    node = root.value.get("tests") if root is not None else None
    return playbook, read_tests(Reader(filename, text), node, steps_of(playbook))


def load_tests(text: str, filename: str, playbook: Playbook) -> tuple[Test, ...]:
    """Return the tests of a file that has nothing but `tests`. Raises `PlaybookError` with all its problems."""
    root, problems = yamltree.read(text, filename)
    reader = Reader(filename, text)
    reader.problems += problems
    tests: tuple[Test, ...] = ()
    if root is not None:
        keys = reader.mapping(root, "the file of tests") or {}
        reader.unknown(root, _FILE_KEYS, "the file of tests")
        if "tests" not in keys:
            reader.error(root, Code.MISSING, "the file has no tests: add 'tests:' with a list of them")
        tests = read_tests(reader, keys.get("tests"), steps_of(playbook))
    if reader.errors:
        raise PlaybookError(sorted(reader.problems, key=lambda problem: (problem.line, problem.column)))
    return tests


def steps_of(playbook: Playbook) -> dict[str, str]:
    """Return the types of all steps and blocks `save` that tests of a playbook can name."""
    graphs = [graph for graph in (playbook.workflow, playbook.finally_) if graph is not None]
    return dict(stubbed(step for graph in graphs for step in graph.steps.values()))

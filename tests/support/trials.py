"""Tests of playbooks, as short as tests want them, and what came of running them."""

from collections.abc import Mapping
from textwrap import dedent, indent
from typing import Any

from noetl.playbook.load import stored_playbook
from noetl.playbook.model import Playbook
from noetl.playbook.testfile.load import load_tests
from noetl.playbook.testfile.model import Test
from noetl.testing.python import PythonChild
from noetl.testing.suite import Verdict, run_test

HEAD = "apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {path: test/trial}\n"


def document(body: str, tests: str = "", path: str = "test/trial") -> str:
    """Return a playbook's text; a body that begins with a step is the workflow alone."""
    body = dedent(body).strip("\n")
    if body.startswith("-"):
        body = f"workflow:\n{body}"
    text = HEAD.replace("test/trial", path) + body + "\n"
    return text + (f"tests:\n{indent(dedent(tests).strip(chr(10)), '  ')}\n" if tests else "")


def read_trial(body: str, tests: str = "", path: str = "test/trial") -> tuple[Playbook, tuple[Test, ...]]:
    """Return a playbook and its tests. They are about running, so the further checks are left out: what a step gives
    here need not be what its tool would give."""
    whole, alone = document(body, tests, path), document(body, path=path)
    playbook = stored_playbook(alone, "trial.yaml")
    lines = "\n" * alone.count("\n") + whole.removeprefix(alone)
    return playbook, load_tests(lines, "trial.yaml", playbook) if tests else ()


class Trials:
    """Runs tests with one python child, and with child playbooks that stand in no file."""

    def __init__(self, python: PythonChild) -> None:
        self._python = python

    def each(self, body: str, tests: str, children: Mapping[str, str] | None = None) -> list[Verdict]:
        """Run all tests of a playbook."""
        playbook, found = read_trial(body, tests)
        known = {path: read_trial(text, path=path)[0] for path, text in (children or {}).items()}

        def find(path: str, file: str | None) -> Playbook | None:
            return known.get(path if file is None else file)

        return [run_test(playbook, test, find, self._python) for test in found]

    def one(self, body: str, test: str, children: Mapping[str, str] | None = None) -> Verdict:
        """Run one test, given by its keys without the name."""
        (tested,) = self.each(body, "- name: it\n" + indent(dedent(test).strip("\n"), "  "), children)
        return tested

    def passes(self, body: str, test: str, children: Mapping[str, str] | None = None) -> Verdict:
        """Run one test, which must pass."""
        tested = self.one(body, test, children)
        assert tested.ok, told(tested)
        return tested

    def fails(self, body: str, test: str, children: Mapping[str, str] | None = None) -> str:
        """Run one test, which must fail, and return why."""
        tested = self.one(body, test, children)
        assert not tested.ok, "it passed"
        return told(tested)


def told(tested: Verdict) -> str:
    """Return all that a test says of its failures."""
    return "\n".join([*(line for failure in tested.failures for line in failure.lines), tested.advice]).strip()


def result_of(tested: Verdict) -> Any:
    """Return the result of a test's execution."""
    return tested.run.result

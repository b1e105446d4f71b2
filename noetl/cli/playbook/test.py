"""`noetl playbook test`: run the tests of playbooks, or write one from an execution."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noetl.cli.options import Host, Json, Port
from noetl.cli.playbook.verdict_report import VerdictStyle, print_summary, print_verdict
from noetl.cli.playbook_files import PLAYBOOK_SUFFIXES, child_file, documents, find_file, read_text
from noetl.cli.terminal import complain, print_json
from noetl.errors import InputError, NotFound

if TYPE_CHECKING:
    from noetl.playbook.model import Playbook
    from noetl.playbook.testfile.model import Test

TEST_SUFFIXES = tuple(f".test{suffix}" for suffix in PLAYBOOK_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Tests:
    """A playbook's file and its tests, those of the file beside it included."""

    file: Path
    playbook: "Playbook"
    tests: "Sequence[Test]"


def run_playbook_tests(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE|DIR...", help="Playbooks with tests, and folders with all files below."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("-k", metavar="NAME", help="Part of the names of the tests to run. Default: all.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show each event with its time, and the output.")] = (
        False
    ),
    record: Annotated[
        str | None, typer.Option("--record", metavar="ID", help="Id of the execution from which a test is written.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="File that --record writes. Default: stdout.")
    ] = None,
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Run the tests of playbooks: on the real engine, without database and network, in virtual time.

    Exit codes: 0 all passed, 1 some failed, 2 wrong usage, wrong files, or no tests.
    """
    if record is not None:
        if files or name is not None:
            raise InputError("--record writes a test and runs none: leave FILE and -k out")
        from noetl.cli.playbook.record import record_test

        record_test(record, output, host, port)
        return
    if not files:
        raise InputError("name a playbook with tests, or a folder: noetl playbook test FILE|DIR")
    if output is not None or host is not None or port is not None:
        raise InputError("--output, --host and --port belong to --record: leave them out")
    suites, broken = gather(files)
    count, failed = _run(suites, name, VerdictStyle(as_json, verbose))
    if not count and not broken:
        wanted = f" with {name!r} in their name" if name is not None else ""
        raise NotFound(f"there are no tests{wanted} in {', '.join(files)}")
    raise typer.Exit(2 if broken else 1 if failed else 0)


def _run(suites: "Sequence[Tests]", name: str | None, style: VerdictStyle) -> tuple[int, int]:
    """Run tests; return how many there were, and how many failed."""
    from noetl.testing.python import PythonChild
    from noetl.testing.suite import as_data, run_test
    from noetl.worker.runner.process import runner_environment

    rows, failed = [], 0
    with PythonChild(runner_environment(os.environ)) as python:
        for each in suites:
            wanted = [one for one in each.tests if name is None or name.lower() in one.name.lower()]
            if wanted and not style.as_json:
                print(each.file)
            for one in wanted:
                tested = run_test(each.playbook, one, Finder(each.file, each.playbook, Path(one.file)), python)
                failed += not tested.ok
                rows.append(as_data(tested, str(each.file)))
                if not style.as_json:
                    print_verdict(tested, verbose=style.verbose)
    if style.as_json:
        print_json(rows)
    elif rows:
        print_summary(len(rows), failed, sum(row["milliseconds"] for row in rows))
    return len(rows), failed


def gather(paths: Sequence[str]) -> tuple[list[Tests], int]:
    """Return the playbooks with their tests, and how many files have problems, which are printed here."""
    suites, broken = list[Tests](), 0
    for file in _playbooks(paths):
        try:
            read = _read(file)
        except InputError as problem:
            broken += 1
            complain(str(problem))
            continue
        if read is not None:
            suites.append(read)
    return suites, broken


def _playbooks(paths: Sequence[str]) -> Iterator[Path]:
    """Give each playbook once; a file of tests stands for the playbook beside it."""
    seen = set[Path]()
    for text in paths:
        named = find_file(text)
        if named is not None and named.name.endswith(TEST_SUFFIXES):
            own = find_file(str(named.with_name(named.stem.removesuffix(".test"))))
            if own is None:
                raise NotFound(f"{named} has the tests of a playbook beside it, and there is none: name it alike")
            text = str(own)
        for file in documents([text]):
            if file.resolve() not in seen and not file.name.endswith(TEST_SUFFIXES):
                seen.add(file.resolve())
                yield file


def _read(file: Path) -> Tests | None:
    """Return a playbook with its tests, None for a document that is no playbook. Raises `InputError`."""
    from noetl.playbook.load import document_kind
    from noetl.playbook.read.document import PLAYBOOK_KIND
    from noetl.playbook.testfile.load import load_tested, load_tests

    text = read_text(file)
    if _holds_tests_only(text, str(file)):
        raise InputError(
            f"{file} holds tests and no playbook: call it NAME.test.yaml beside the playbook NAME.yaml, and name either"
        )
    if document_kind(text, str(file))[0] != PLAYBOOK_KIND:
        return None
    playbook, tests = load_tested(text, str(file))
    for suffix in TEST_SUFFIXES:
        beside = file.with_name(file.stem + suffix)
        if beside.is_file():
            tests += load_tests(read_text(beside), str(beside), playbook)
    return Tests(file, playbook, tests)


def _holds_tests_only(text: str, name: str) -> bool:
    """Tell whether a document is what stands beside a playbook: its only key is `tests`."""
    from noetl.playbook.load import read_document

    root, _problems = read_document(text, name)
    return root is not None and root.kind == "mapping" and list(root.value) == ["tests"]


class Finder:
    """Finds child playbooks for a test: in the file that it names, else where the catalog path says."""

    def __init__(self, file: Path, playbook: "Playbook", test_file: Path) -> None:
        self._file, self._path = file, playbook.path
        self._folder = test_file.parent
        self._known: dict[Path, Playbook] = {}

    def __call__(self, path: str, named: str | None) -> "Playbook | None":
        if named is not None:
            file = find_file(str(self._folder / named))
            if file is None:
                raise NotFound(f"the file {self._folder / named} of the child {path!r} is not there")
        else:
            file = child_file(self._file, self._path, path)
        if file is None:
            return None
        if file not in self._known:
            from noetl.playbook.load import load_playbook

            self._known[file] = load_playbook(read_text(file), str(file))
        return self._known[file]

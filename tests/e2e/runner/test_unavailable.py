"""A worker that cannot start processes: it says so once, takes nothing, gives back what it has, and tries again."""

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from noetl.outcomes import Done
from noetl.worker.answers import NotBegun
from noetl.worker.executor import Executor
from tests.support.calls import collect, python, run, until

QUICK = "def main(a=0):\n    return a\n"
FORKS = "import os\ndef main(a=0):\n    return a\n"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noetl.worker.runner.availability.FIRST_RETRY_SECONDS", 0.05)


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Three slots, without a runner as yet."""
    executor = Executor(3, warm=False)
    yield executor
    executor.close()


def _recovers(executor: Executor, code: str = QUICK) -> None:
    until(lambda: executor.free >= 3, executor)
    assert run(executor, python(code, {"a": 5})).answer == Done(b"5")


def test_an_interpreter_that_is_not_there_costs_no_job_its_attempt(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/no/such/python")
        for token in range(3):
            executor.submit(token, python(QUICK))
        reports = collect(executor, 3)
        assert {report.answer for report in reports.values()} == {NotBegun(surplus=True)}
        assert executor.free == 0
        assert caplog.text.count("takes no jobs") == 1
        assert "/no/such/python" in caplog.text
        assert len(os.listdir("/proc/self/fd")) == before
    _recovers(executor)


def test_a_runner_that_ends_before_it_is_ready_costs_no_job_its_attempt(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no orjson here')\n")
    with monkeypatch.context() as patch:
        patch.setattr("noetl.worker.runner.process._CHILD_SCRIPT", broken)
        assert run(executor, python(QUICK)).answer == NotBegun(surplus=True)
        assert executor.free == 0
        assert "no orjson here" in caplog.text
    _recovers(executor)


def test_without_a_free_descriptor_nothing_is_taken_until_there_is_one(
    executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 2, hard))
    try:
        assert run(executor, python(QUICK)).answer == NotBegun(surplus=True)
        assert executor.free == 0
        assert caplog.text.count("Too many open files") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    _recovers(executor)


def test_runners_start_with_few_descriptors(executor: Executor) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(60, len(os.listdir("/proc/self/fd")) + 20), hard))
    try:
        assert run(executor, python(QUICK, {"a": 1})).answer == Done(b"1")
        assert run(executor, python(FORKS, {"a": 2})).answer == Done(b"2")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_runner_that_can_make_no_process_gives_its_call_back(
    executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    """Its descriptors are used up, so that no pipe can be made; as long, nothing is taken."""
    assert run(executor, python(FORKS, {"a": 1})).answer == Done(b"1")
    pid = executor.runner_pids[0]
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, hard))
    assert run(executor, python(FORKS, {"a": 2})).answer == NotBegun(surplus=True)
    assert "no process can be made for a step" in caplog.text
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    _recovers(executor, FORKS)
    assert executor.runner_pids == [pid]


def test_a_folder_that_is_gone_is_not_needed(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    code = "import os\ndef main():\n    return os.path.isdir(os.getcwd())\n"
    assert run(executor, python(code)).answer == Done(b"true")

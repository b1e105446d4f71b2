"""Runners behind slow pipes: whatever the sizes, the readers and the kills, each call is answered exactly once."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noetl.outcomes import Done, Failed
from noetl.worker.answers import NotBegun, Report
from noetl.worker.executor import Executor
from noetl.worker.runner.process import Runner, SentCall
from tests.support.calls import LIMIT, collect, python, read_pid, until

CODE = """
import time
def main(page, nap, answer):
    time.sleep(nap)
    return [len(page), 'y' * answer]
"""

PIPE = 70_000
"""Bytes that no pipe takes at once."""

SIZES = st.one_of(st.integers(0, 100), st.just(PIPE), st.integers(PIPE, 400_000), st.just(3_000_000))

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), SIZES, st.sampled_from([0.0, 0.0, 0.0, 0.003, 0.03]), SIZES),
        st.tuples(st.just("poll"), st.sampled_from([0.0, 0.002, 0.02])),
        st.tuples(st.just("kill"), st.integers(0, 40)),
        st.tuples(st.just("recall")),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    """Three slots, whose runners live through all examples."""
    executor = Executor(3)
    yield executor
    executor.close()


class _Crowd:
    """Calls in slots, by token, and what came of them."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.sizes: dict[int, tuple[int, int]] = {}
        self.reports: dict[int, Report] = {}

    def call(self, page: int, nap: float, answer: int) -> None:
        token = len(self.sizes)
        self.sizes[token] = page, answer
        args = {"page": "x" * page, "nap": nap, "answer": answer}
        self.executor.submit(token, python(CODE, args, where=f"examples/test#{token % 3}"))

    def poll(self, seconds: float) -> None:
        for report in self.executor.poll(seconds):
            assert report.token not in self.reports, f"call {report.token} was answered twice"
            self.reports[report.token] = report

    def finish(self) -> None:
        limit = time.monotonic() + LIMIT
        while len(self.reports) < len(self.sizes):
            assert time.monotonic() < limit, f"{set(self.sizes) - set(self.reports)} have no answer"
            self.poll(0.05)
        assert self.executor.running == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_each_call_is_answered_once_over_slow_pipes(executor: Executor, actions: list[tuple[object, ...]]) -> None:
    crowd = _Crowd(executor)
    for name, *values in actions:
        getattr(executor if name in ("kill", "recall") else crowd, str(name))(*values)
    crowd.finish()
    for token, (page, answer) in crowd.sizes.items():
        said = crowd.reports[token].answer
        if isinstance(said, Done):
            assert said.result == f'[{page},"{"y" * answer}"]'.encode()
        else:
            assert isinstance(said, NotBegun) or (isinstance(said, Failed) and said.error["type"] == "cancelled")


def test_the_pipe_of_a_runner_that_ends_is_not_taken_for_that_of_another(tmp_path: Path) -> None:
    """A new runner gets the descriptors that the old one has closed, and is waited for until its pipe takes more."""
    executor = Executor(2)
    try:
        code = "import time\ndef main(file):\n    open(file, 'w').close()\n    time.sleep(60)\n"
        executor.submit(0, python(code, {"file": str(tmp_path / "begun")}))
        until((tmp_path / "begun").exists, executor)
        executor.kill(0)
        executor.submit(1, python("def main(page):\n    return len(page)\n", {"page": "x" * 3_000_000}))
        reports = collect(executor, 2)
        assert reports[1].answer == Done(b"3000000")
    finally:
        executor.close()


def test_a_runner_whose_pipe_is_full_is_handed_more_calls(tmp_path: Path) -> None:
    """Known to be fast, they stand in line before one runner that does not read, beyond what its pipe takes."""
    executor = Executor(1)
    try:
        code = (
            "import os, time\n"
            "def main(page='', gate=''):\n"
            "    open(gate + '.begun', 'w').close() if gate else None\n"
            "    while gate and not os.path.exists(gate): time.sleep(0.001)\n"
            "    return len(page)\n"
        )
        for token in range(50):
            executor.submit(token, python(code))
        collect(executor, 50)
        executor.submit(0, python(code, {"gate": str(tmp_path / "gate")}))
        assert not executor.poll(0.0)
        until(lambda: (tmp_path / "gate.begun").exists())
        for token in range(1, 8):
            executor.submit(token, python(code, {"page": "x" * 300_000}))
            executor.poll(0.0)
        (tmp_path / "gate").touch()
        reports = collect(executor, 8)
        assert {reports[token].answer for token in range(1, 8)} <= {Done(b"300000"), NotBegun(surplus=True)}
    finally:
        executor.close()


def test_what_breaks_over_one_runner_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours where an answer is read fails that runner's call, with its traceback in the log."""
    read, broken = Runner.read_answers, list[int]()

    def read_answers(runner: Runner) -> tuple[list[SentCall], bool]:
        if runner.pid in broken:
            raise ZeroDivisionError("nobody thought of this")
        return read(runner)

    monkeypatch.setattr(Runner, "read_answers", read_answers)
    code = (
        "import os, time\n"
        "def main(file):\n"
        "    open(file, 'w').write('1\\n')\n"
        "    while not os.path.exists(file + '.gate'): time.sleep(0.001)\n"
    )
    executor = Executor(2)
    try:
        for token in (1, 2):
            executor.submit(token, python(code, {"file": str(tmp_path / str(token))}, where=f"examples/test#{token}"))
            until(lambda token=token: read_pid(tmp_path / str(token)), executor)  # type: ignore[misc]
        broken.append(executor.runner_pids[0])
        for token in (1, 2):
            (tmp_path / f"{token}.gate").touch()
        answers = {token: report.answer for token, report in collect(executor, 2).items()}
        failed = next(answer for answer in answers.values() if isinstance(answer, Failed))
        assert failed.error["type"] == "internal"
        assert "nobody thought of this" in failed.error["message"]
        assert Done(b"null") in answers.values()
        assert "nobody thought of this" in caplog.text
    finally:
        executor.close()

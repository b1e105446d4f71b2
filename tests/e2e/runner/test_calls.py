"""Calls in real runners: results, prints, order, batches, timeouts, kills."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from noetl.errors import SettingsError
from noetl.outcomes import Done, Failed
from noetl.tools.registry import TOOLS
from noetl.worker.answers import NotBegun
from noetl.worker.executor import Executor
from noetl.worker.runner.process import runner_environment
from tests.support.calls import LIMIT, alive, collect, python, read_pid, run, until

QUICK = "def main(a=0):\n    return a\n"


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Four slots."""
    executor = Executor(4)
    yield executor
    executor.close()


def test_a_result_comes_back_as_raw_json(executor: Executor) -> None:
    report = run(executor, python("def main(a):\n    return {'b': a, 'ü': [1.5, None]}\n", {"a": "x"}))
    assert report.answer == Done('{"b":"x","ü":[1.5,null]}'.encode())
    assert 0 < report.seconds < 5


def test_a_warm_runner_is_used_again_and_nothing_of_a_call_stays(executor: Executor, tmp_path: Path) -> None:
    first = run(
        executor,
        python(
            "import os, sys, signal\n"
            "def main(folder):\n"
            "    os.chdir(folder)\n"
            "    os.environ['LEFT'] = 'behind'\n"
            "    os.environ.pop('PATH', None)\n"
            "    signal.alarm(1)\n"
            "    sys.stdout.close()\n"
            "    sys.stderr = None\n"
            "    return 1\n",
            {"folder": str(tmp_path)},
        ),
    )
    pids = executor.runner_pids
    second = run(
        executor,
        python(
            "import os, signal, sys\n"
            "def main():\n"
            "    print('heard')\n"
            "    print('too', file=sys.stderr)\n"
            "    left = signal.getitimer(signal.ITIMER_REAL)[0]\n"
            "    return [os.getcwd(), os.environ.get('LEFT'), 'PATH' in os.environ, left]\n"
        ),
    )
    assert first.answer == Done(b"1")
    assert isinstance(second.answer, Done)
    assert executor.runner_pids == pids
    assert orjson.loads(second.answer.result) == [os.getcwd(), None, True, 0.0]
    assert second.answer.output == "heard\ntoo\n"


def test_prints_of_python_of_descriptors_and_of_children_are_captured_in_order(executor: Executor) -> None:
    code = (
        "import os, subprocess, sys\n"
        "def main():\n"
        "    print('one')\n"
        "    os.write(1, b'two\\n')\n"
        "    subprocess.run(['sh', '-c', 'echo three; echo four >&2'], check=True)\n"
        "    sys.stderr.write('five')\n"
        "    raise ValueError('six')\n"
    )
    report = run(executor, python(code))
    assert isinstance(report.answer, Failed)
    assert report.answer.error["message"] == "ValueError: six"
    assert report.answer.output == "one\ntwo\nthree\nfour\nfive"
    silent = run(executor, python(QUICK))
    assert isinstance(silent.answer, Done)
    assert silent.answer.output == ""


def test_each_call_of_a_batch_has_its_own_prints(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noetl.worker.executor.SURPLUS_SECONDS", 60.0)
    code = "import os\ndef main(a):\n    print('say', a)\n    os.write(1, b'more %d\\n' % a)\n    return a\n"
    for token in range(64):
        executor.submit(token, python(code, {"a": token}, where="examples/test#prints"))
    for token, report in collect(executor, 64).items():
        assert report.answer == Done(str(token).encode(), f"say {token}\nmore {token}\n")


@pytest.mark.parametrize("how", ["print('x' * 99)", "os.write(1, b'x' * 99 + b'\\n')"])
def test_ten_megabytes_of_prints_neither_block_nor_are_kept(executor: Executor, how: str) -> None:
    code = f"import os\ndef main():\n    for _ in range(100_000):\n        {how}\n    print('end')\n    return 1\n"
    before = _memory()
    report = run(executor, python(code))
    assert isinstance(report.answer, Done)
    assert report.answer.output.endswith("x\nend\n")
    assert report.answer.output.startswith("... ")
    assert 60_000 < len(report.answer.output) <= 65_536
    assert _memory() - before < 8_000


def _memory() -> int:
    """Return this process's resident memory in KiB."""
    text = Path("/proc/self/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1])


def test_a_result_of_fifty_megabytes_is_refused_in_the_runner(executor: Executor) -> None:
    report = run(executor, python("def main():\n    return 'x' * 50_000_000\n"))
    assert isinstance(report.answer, Failed)
    assert report.answer.error["type"] == "too_large"
    assert "50,000,002" in report.answer.error["message"]


def test_large_arguments_and_results_pass_while_others_continue(executor: Executor) -> None:
    big = "x" * 20_000_000
    executor.submit(1, python("def main(a):\n    return a\n", {"a": big}))
    executor.submit(2, python(QUICK, {"a": 2}))
    reports = collect(executor, 2)
    assert reports[1].answer == Done(orjson.dumps(big))
    assert reports[2].answer == Done(b"2")


@pytest.mark.parametrize("value", ["float('nan')", "'\\x00'", "b'1'", "[1, float('-inf')]"])
def test_what_is_not_json_fails_and_leaves_the_runner_alone(executor: Executor, value: str) -> None:
    pids = run(executor, python(QUICK)) and executor.runner_pids
    report = run(executor, python(f"def main():\n    return {value}\n"))
    assert isinstance(report.answer, Failed)
    assert report.answer.error["type"] == "not_json"
    assert executor.runner_pids == pids


def test_arguments_that_are_not_json_fail_before_they_are_sent(executor: Executor) -> None:
    report = run(executor, python(QUICK, {"a": {1, 2}}))
    assert isinstance(report.answer, Failed)
    assert report.answer.error["type"] == "validation"
    assert "serializable: set" in report.answer.error["message"]


def test_an_unknown_tool_is_a_validation_error(executor: Executor) -> None:
    call = python(QUICK)
    report = run(executor, type(call)("smtp", call.key, call.where, {}, {}, None, 1, {}))
    assert isinstance(report.answer, Failed)
    known = ", ".join(sorted(TOOLS))
    assert report.answer.error["message"] == f"examples/test#step: no tool 'smtp' ({known})"


def test_slow_calls_run_side_by_side_and_later_ones_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("noetl.worker.executor.SURPLUS_SECONDS", 60.0)
    executor = Executor(3)
    try:
        code = (
            "import os, time\n"
            "def main(file, gate):\n"
            "    open(file, 'w').close()\n"
            "    while not os.path.exists(gate): time.sleep(0.005)\n"
        )
        assert executor.free == 3
        for token in range(6):
            args = {"file": str(tmp_path / f"begun{token}"), "gate": str(tmp_path / "gate")}
            executor.submit(token, python(code, args, where=f"examples/test#s{token}"))
        assert executor.free == 0
        until(lambda: len(list(tmp_path.glob("begun*"))) == 3, executor)
        assert {path.name for path in tmp_path.glob("begun*")} == {"begun0", "begun1", "begun2"}
        (tmp_path / "gate").touch()
        assert all(report.answer == Done(b"null") for report in collect(executor, 6).values())
        assert len(executor.runner_pids) == 3
        assert executor.free == 3
    finally:
        executor.close()


def test_a_burst_of_short_calls_that_nobody_knows_yet_starts_no_process(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first of them they are known to be fast, and stand in line before the runner that is there."""
    monkeypatch.setattr("noetl.worker.executor.GROWTH_SECONDS", LIMIT)
    run(executor, python(QUICK))
    count = executor.free
    for token in range(count):
        executor.submit(token, python(QUICK, where="examples/test#new"))
    collect(executor, count)
    assert len(executor.runner_pids) == 1


def test_a_call_that_has_waited_has_a_process_started_by_itself(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other event has to come: one poll both notices that and brings the answer."""
    monkeypatch.setattr("noetl.worker.executor.SURPLUS_SECONDS", 2 * LIMIT)
    code = "import os, time\ndef main(file):\n    while not os.path.exists(file): time.sleep(0.01)\n"
    run(executor, python(QUICK))
    executor.submit(1, python(code, {"file": str(tmp_path / "go")}, where="examples/test#slow"))
    executor.submit(2, python(QUICK, where="examples/test#behind"))
    tokens: list[int] = []
    limit = time.monotonic() + LIMIT
    while not tokens and time.monotonic() < limit:
        tokens = [report.token for report in executor.poll(LIMIT)]
    assert tokens == [2]
    assert len(executor.runner_pids) == 2
    (tmp_path / "go").touch()
    collect(executor, 1)


def test_slots_are_deep_while_runs_are_short_and_shallow_when_they_are_not(executor: Executor) -> None:
    for token in range(100):
        executor.submit(token, python(QUICK))
    collect(executor, 100)
    assert executor.free == 32
    for token in range(3):
        executor.submit(token, python("import time\ndef main():\n    time.sleep(0.1)\n"))
    collect(executor, 3)
    assert executor.free == 4


def test_what_cannot_begin_beyond_the_slots_is_given_back() -> None:
    executor = Executor(1)
    try:
        for token in range(50):
            executor.submit(token, python(QUICK))
        collect(executor, 50)
        assert executor.free == 8
        slow = python("import time\ndef main():\n    time.sleep(1.2)\n", where="examples/test#slow")
        for token in range(8):
            executor.submit(token, slow)
        reports = collect(executor, 8)
        given_back = [token for token, report in reports.items() if report.answer == NotBegun(surplus=True)]
        assert given_back == [7, 6, 5, 4, 3, 2, 1]
        assert reports[0].answer == Done(b"null")
    finally:
        executor.close()


def test_a_timeout_counts_from_its_own_start_and_kills_what_the_step_started(
    executor: Executor, tmp_path: Path
) -> None:
    code = (
        "import subprocess\n"
        "def main(file):\n"
        "    child = subprocess.Popen(['sleep', '100'])\n"
        "    print('begun')\n"
        "    open(file, 'w').write(f'{child.pid}\\n')\n"
        "    while True: pass\n"
    )
    report = run(executor, python(code, {"file": str(tmp_path / "pid")}, timeout=0.4))
    assert isinstance(report.answer, Failed)
    assert report.answer.error["type"] == "timeout"
    assert report.answer.error["retryable"] is True
    assert "0.4 s" in report.answer.error["message"]
    assert report.answer.output == "begun\n"
    assert 0.4 <= report.seconds < 1.5
    pid = read_pid(tmp_path / "pid")
    assert pid is not None
    until(lambda: not alive(pid))
    assert run(executor, python(QUICK, {"a": 1})).answer == Done(b"1")


def test_waiting_behind_others_is_not_counted_into_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noetl.worker.executor.SURPLUS_SECONDS", 60.0)
    executor = Executor(1)
    try:
        code = "import time\ndef main():\n    time.sleep(0.2)\n"
        for token in range(4):
            executor.submit(token, python(code, timeout=0.6, where=f"examples/test#{token}"))
        assert all(report.answer == Done(b"null") for report in collect(executor, 4).values())
    finally:
        executor.close()


def test_calls_behind_a_fast_one_that_turned_out_slow_go_to_another_runner(tmp_path: Path) -> None:
    executor = Executor(2)
    try:
        gate = tmp_path / "gate"
        code = (
            "import os, time\n"
            "def main(wait=False, gate=''):\n"
            "    while wait and not os.path.exists(gate): time.sleep(0.01)\n"
            "    return os.getpid()\n"
        )
        where = "examples/test#usually-fast"
        for token in range(100):
            executor.submit(token, python(code, where=where))
        collect(executor, 100)
        executor.submit(0, python(code, {"wait": True, "gate": str(gate)}, where=where))
        for token in range(1, 9):
            executor.submit(token, python(code, where=where))
        others = collect(executor, 8)
        assert sorted(others) == list(range(1, 9)), "the eight did not wait for the slow one"
        gate.write_text("")
        assert isinstance(collect(executor, 1)[0].answer, Done)
    finally:
        executor.close()


def test_killing_a_running_call_fails_it_as_cancelled_and_nobody_else(executor: Executor, tmp_path: Path) -> None:
    code = (
        "import subprocess\n"
        "def main(file):\n"
        "    child = subprocess.Popen(['sleep', '100'])\n"
        "    open(file, 'w').write(f'{child.pid}\\n')\n"
        "    child.wait()\n"
    )
    executor.submit(1, python(code, {"file": str(tmp_path / "1")}))
    executor.submit(2, python("import time\ndef main():\n    time.sleep(0.5)\n", where="examples/test#other"))
    until(lambda: read_pid(tmp_path / "1"), executor)
    executor.kill(1)
    executor.kill(99)
    reports = collect(executor, 2)
    cancelled = reports[1].answer
    assert isinstance(cancelled, Failed)
    assert cancelled.error["type"] == "cancelled"
    assert reports[2].answer == Done(b"null")
    pid = read_pid(tmp_path / "1")
    assert pid is not None
    until(lambda: not alive(pid))


def test_killing_a_call_that_waits_says_that_it_was_not_begun() -> None:
    executor = Executor(1)
    try:
        executor.submit(1, python("import time\ndef main():\n    time.sleep(0.2)\n"))
        executor.submit(2, python(QUICK, where="examples/test#waits"))
        assert not executor.poll(0.05)
        executor.kill(2)
        executor.kill(2)
        reports = collect(executor, 2)
        assert reports[2].answer == NotBegun()
        assert reports[1].answer == Done(b"null")
    finally:
        executor.close()


def _line_up(executor: Executor, gate: Path) -> None:
    """Let call 0 run until the gate opens, and 1 to 7 stand in line behind it, already in the runner's pipe."""
    code = (
        "import os, time\n"
        "def main(gate=''):\n"
        "    open(gate + '.begun', 'w').close() if gate else None\n"
        "    while gate and not os.path.exists(gate): time.sleep(0.001)\n"
    )
    for token in range(50):
        executor.submit(token, python(code))
    collect(executor, 50)
    executor.submit(0, python(code, {"gate": str(gate)}))
    for token in range(1, 8):
        executor.submit(token, python(code))
    assert not executor.poll(0.0)
    until(lambda: os.path.exists(f"{gate}.begun"))


def test_killing_a_call_in_line_leaves_the_running_one_alone(tmp_path: Path) -> None:
    executor = Executor(1)
    try:
        _line_up(executor, tmp_path / "gate")
        executor.kill(3)
        assert collect(executor, 1)[3].answer == NotBegun()
        (tmp_path / "gate").write_text("")
        reports = collect(executor, 7)
        assert {token: report.answer for token, report in reports.items()} == {
            token: Done(b"null") for token in (0, 1, 2, 4, 5, 6, 7)
        }
    finally:
        executor.close()


def test_recall_gives_back_everything_that_was_not_begun(tmp_path: Path) -> None:
    executor = Executor(1)
    try:
        _line_up(executor, tmp_path / "gate")
        executor.submit(8, python(QUICK))
        executor.recall()
        reports = collect(executor, 8)
        assert all(reports[token].answer == NotBegun() for token in range(1, 9))
        (tmp_path / "gate").write_text("")
        assert collect(executor, 1)[0].answer == Done(b"null")
    finally:
        executor.close()


def test_a_death_fails_the_running_call_and_gives_back_those_in_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noetl.worker.runner.pool.STUCK_SECONDS", 60.0)
    executor = Executor(1)
    try:
        _line_up(executor, tmp_path / "gate")
        os.kill(executor.runner_pids[0], 9)
        reports = collect(executor, 8)
        dead = reports[0].answer
        assert isinstance(dead, Failed)
        assert dead.error["type"] == "runner_exited"
        assert all(reports[token].answer == NotBegun() for token in range(1, 8))
    finally:
        executor.close()


def test_wake_ends_a_poll_from_another_thread(executor: Executor) -> None:
    threading.Timer(0.05, executor.wake).start()
    start = time.monotonic()
    while executor.poll(10) or time.monotonic() - start < 0.05:
        pass
    assert time.monotonic() - start < 5


def test_closed_slots_may_be_woken() -> None:
    executor = Executor(1)
    executor.close()
    executor.wake()


def test_a_token_is_held_once(executor: Executor) -> None:
    executor.submit(1, python(QUICK))
    with pytest.raises(ValueError, match="held already"):
        executor.submit(1, python(QUICK))
    collect(executor, 1)
    executor.submit(1, python(QUICK))
    assert executor.running == 1
    collect(executor, 1)
    assert executor.running == 0


def test_a_thousand_calls_of_many_steps_each_report_once(executor: Executor) -> None:
    submitted = 0
    seen: dict[int, bytes] = {}
    limit = time.monotonic() + 20
    while len(seen) < 1000 and time.monotonic() < limit:
        while executor.free and submitted < 1000:
            executor.submit(submitted, python(QUICK, {"a": submitted}, where=f"examples/test#{submitted % 13}"))
            submitted += 1
        for report in executor.poll(0.2):
            assert isinstance(report.answer, Done)
            seen[report.token] = report.answer.result
    assert seen == {number: str(number).encode() for number in range(1000)}


def test_the_environment_of_runners_is_a_handful_and_what_is_listed() -> None:
    given = {"PATH": "/bin", "HOME": "/h", "LANG": "C", "SHELL": "sh", "MINE": "1", "OTHER": "2", "X": "3"}
    assert runner_environment(given) == {"PATH": "/bin", "HOME": "/h", "LANG": "C"}
    listed = runner_environment({**given, "NOETL_RUNNER_ENV": "MINE, OTHER,ABSENT"})
    assert listed == {"PATH": "/bin", "HOME": "/h", "LANG": "C", "MINE": "1", "OTHER": "2"}


@pytest.mark.parametrize("name", ["NOETL_PASSWORD", "POSTGRES_PASSWORD", "PGPASSWORD", "NOETL_DATABASE_URL"])
def test_the_engines_own_variables_are_never_passed_on(name: str) -> None:
    with pytest.raises(SettingsError, match=f"NOETL_RUNNER_ENV lists {name}"):
        Executor(1, environment={"NOETL_RUNNER_ENV": f"A,{name}"})

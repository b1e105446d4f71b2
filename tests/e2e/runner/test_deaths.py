"""What somebody's code can do to its runner: exit, crash, fork, close, kill; and what must not be found in one."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from noetl.outcomes import Done, Failed
from noetl.worker.executor import Executor
from tests.support.calls import alive, collect, python, read_pid, run, until

QUICK = "def main(a=0):\n    return a\n"


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Three slots."""
    executor = Executor(3)
    yield executor
    executor.close()


def exited(executor: Executor, code: str, **options: object) -> Failed:
    """Run code that ends its runner; return the failure, after making sure that the next call works."""
    report = run(executor, python(code, **options))  # type: ignore[arg-type]
    assert isinstance(report.answer, Failed)
    assert report.answer.error["type"] == "runner_exited"
    assert report.answer.error["retryable"] is True
    assert run(executor, python(QUICK, {"a": 7})).answer == Done(b"7")
    return report.answer


@pytest.mark.parametrize(
    ("end", "word"),
    [
        ("os._exit(0)", "exited with status 0"),
        ("os._exit(3)", "exited with status 3"),
        ("os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
        ("os.kill(os.getpid(), 15)", "was killed by SIGTERM"),
        ("os.killpg(0, 9)", "was killed by SIGKILL"),
        ("ctypes.string_at(0)", "was killed by SIGSEGV"),
        ("os.abort()", "was killed by SIGABRT"),
        ("os.execv('/bin/true', ['true'])", "exited with status 0"),
    ],
)
def test_a_process_that_ends_fails_its_call_and_its_prints_are_kept(executor: Executor, end: str, word: str) -> None:
    code = (
        "import ctypes, os, resource\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        f"def main():\n    print('last words')\n    {end}\n"
    )
    failed = exited(executor, code)
    assert failed.error["message"] == f"examples/test#step: the process that ran the step {word}"
    assert failed.output == "last words\n"


def test_a_fork_that_returns_from_main_does_not_answer_twice(executor: Executor) -> None:
    code = "import os\ndef main():\n    return 'child' if os.fork() == 0 else os.wait()[1]\n"
    assert run(executor, python(code)).answer == Done(b"0")
    assert run(executor, python(QUICK, {"a": 1})).answer == Done(b"1")
    assert len(executor.runner_pids) == 1


def test_a_fork_that_raises_does_not_answer(executor: Executor) -> None:
    code = "import os\ndef main():\n    if os.fork() == 0: raise ValueError\n    return os.wait()[1]\n"
    assert run(executor, python(code)).answer == Done(b"0")


def test_a_fork_that_lives_on_does_not_hide_the_death_of_its_parent(executor: Executor, tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "def main(file):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        while True: time.sleep(1)\n"
        "    open(file, 'w').write(f'{pid}\\n')\n"
        "    os._exit(5)\n"
    )
    failed = exited(executor, code, args={"file": str(tmp_path / "pid")})
    assert "status 5" in failed.error["message"]
    pid = read_pid(tmp_path / "pid")
    assert pid is not None
    until(lambda: not alive(pid))


def test_multiprocessing_works_in_a_step(executor: Executor) -> None:
    code = (
        "from multiprocessing import get_context\n"
        "def square(x): return x * x\n"
        "def main():\n"
        "    with get_context('fork').Pool(2) as pool:\n"
        "        return pool.map(square, range(5))\n"
    )
    assert run(executor, python(code)).answer == Done(b"[0,1,4,9,16]")


def test_a_step_that_kills_its_siblings_fails_them_only(executor: Executor, tmp_path: Path) -> None:
    sleeper = "import time\ndef main(file):\n    open(file, 'w').write('1\\n')\n    time.sleep(100)\n"
    for token in (1, 2):
        executor.submit(token, python(sleeper, {"file": str(tmp_path / str(token))}, where=f"examples/test#{token}"))
    until(lambda: read_pid(tmp_path / "1") and read_pid(tmp_path / "2"), executor)
    code = (
        "import os, pathlib, signal\n"
        "def main():\n"
        "    runner, killed = os.getppid(), 0\n"
        "    parent = pathlib.Path(f'/proc/{runner}/stat').read_text().rpartition(')')[2].split()[1]\n"
        "    for task in pathlib.Path(f'/proc/{parent}/task').iterdir():\n"
        "        for pid in map(int, (task / 'children').read_text().split()):\n"
        "            if pid != runner and 'runner/child.py' in pathlib.Path(f'/proc/{pid}/cmdline').read_text():\n"
        "                os.kill(pid, signal.SIGKILL)\n"
        "                killed += 1\n"
        "    return killed\n"
    )
    executor.submit(3, python(code, where="examples/test#killer"))
    reports = collect(executor, 3)
    assert reports[3].answer == Done(b"2")
    for token in (1, 2):
        answer = reports[token].answer
        assert isinstance(answer, Failed)
        assert answer.error["type"] == "runner_exited"
    assert run(executor, python(QUICK, {"a": 1})).answer == Done(b"1")


def test_an_idle_runner_that_was_killed_costs_no_call_its_attempt(executor: Executor) -> None:
    for _ in range(20):
        assert isinstance(run(executor, python(QUICK)).answer, Done)
        os.kill(executor.runner_pids[0], signal.SIGKILL)
        executor.submit(1, python(QUICK, {"a": 1}))
        answer = collect(executor, 1)[1].answer
        assert not isinstance(answer, Failed)


def test_code_that_closes_low_descriptors_or_points_them_elsewhere_harms_only_itself(
    executor: Executor, tmp_path: Path
) -> None:
    code = (
        "import os\n"
        "def main(file):\n"
        "    os.closerange(0, 100)\n"
        "    mine = os.open(file, os.O_CREAT | os.O_WRONLY)\n"
        "    for other in range(1, 60): os.dup2(mine, other)\n"
        "    os.write(5, b'not a frame')\n"
        "    print('into the file')\n"
        "    return 'well'\n"
    )
    assert run(executor, python(code, {"file": str(tmp_path / "f")})).answer == Done(b'"well"')
    heard = run(executor, python("def main():\n    print('heard')\n"))
    assert heard.answer == Done(b"null", "heard\n")
    assert len(executor.runner_pids) == 1


def test_code_that_closes_every_descriptor_loses_its_runner(executor: Executor) -> None:
    exited(executor, "import os\ndef main():\n    os.closerange(0, 4096)\n")


def test_what_a_step_starts_inherits_none_of_the_runners_descriptors(executor: Executor) -> None:
    code = (
        "import subprocess\n"
        "def main():\n"
        "    text = subprocess.run(['ls', '/proc/self/fd'], capture_output=True, close_fds=False, text=True)\n"
        "    return sorted(map(int, text.stdout.split()))\n"
    )
    report = run(executor, python(code))
    assert report.answer == Done(b"[0,1,2,3]")


def test_a_child_that_makes_the_prints_nonblocking_harms_nobody(executor: Executor) -> None:
    code = "import os\ndef main():\n    os.set_blocking(1, False)\n    print('said')\n    return 1\n"
    assert run(executor, python(code)).answer == Done(b"1", "said\n")
    assert run(executor, python(code)).answer == Done(b"1", "said\n")


def test_a_background_child_that_never_stops_printing_does_not_stop_the_worker(executor: Executor) -> None:
    code = (
        "import subprocess\ndef main():\n    subprocess.Popen(['sh', '-c', 'while :; do echo y; done'])\n    return 1\n"
    )
    assert isinstance(run(executor, python(code)).answer, Done)
    for number in range(5):
        answer = run(executor, python(QUICK, {"a": number})).answer
        assert isinstance(answer, Done)
        assert answer.result == str(number).encode()


def test_closing_leaves_no_process_and_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    executor = Executor(2)
    code = (
        "import subprocess, time\n"
        "def main(file):\n"
        "    child = subprocess.Popen(['sleep', '100'])\n"
        "    open(file, 'w').write(f'{child.pid}\\n')\n"
        "    time.sleep(100)\n"
    )
    executor.submit(1, python(code, {"file": str(tmp_path / "pid")}))
    until(lambda: read_pid(tmp_path / "pid"), executor)
    pids = executor.runner_pids
    executor.close()
    child = read_pid(tmp_path / "pid")
    assert child is not None
    assert not any(alive(pid) for pid in pids)
    until(lambda: not alive(child))
    assert len(os.listdir("/proc/self/fd")) == before


WORKER = """
import sys
from noetl.worker.executor import Executor
from tests.support.calls import python
executor = Executor(2)
code = '''
import ctypes, os, re, subprocess
def main(file, closes):
    child = subprocess.Popen(['sleep', '100'])
    open(file, 'w').write(f'{child.pid}\\\\n')
    open(file + '.runner', 'w').write(f'{os.getpid()}\\\\n')
    if closes: os.closerange(3, 4096)
    re.match('(a*)*b', 'a' * 60)  # in C, never lets another thread run
'''
executor.submit(1, python(code, {"file": sys.argv[1], "closes": sys.argv[2] == "closes"}))
while True:
    executor.poll(1)
"""


@pytest.mark.parametrize("how", ["busy", "closes"])
def test_runners_die_with_their_worker_however_busy_they_are(tmp_path: Path, how: str) -> None:
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path / "pid"), how])
    try:
        until(lambda: read_pid(tmp_path / "pid") and read_pid(tmp_path / "pid.runner"))
    finally:
        worker.kill()
        worker.wait()
    runner, child = read_pid(tmp_path / "pid.runner"), read_pid(tmp_path / "pid")
    assert runner is not None
    assert child is not None
    try:
        until(lambda: not alive(runner))
        if how == "busy":
            until(lambda: not alive(child))
    finally:
        if how == "closes" and alive(child):
            os.kill(child, signal.SIGKILL)


def test_neither_password_nor_key_is_in_a_runners_environment_or_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    canary = "canary-" + os.urandom(12).hex()
    held = f"postgresql://noetl:{canary}@localhost/noetl"  # in memory, beside the environment
    for name in ("NOETL_PASSWORD", "POSTGRES_PASSWORD", "PGPASSWORD", "NOETL_API_TOKEN", "SOME_KEY"):
        monkeypatch.setenv(name, canary)
    executor = Executor(3)
    try:
        marker = "witness-" + os.urandom(12).hex()
        keep = "import builtins\ndef main(a):\n    builtins.kept = a\n"
        assert isinstance(run(executor, python(keep, {"a": marker})).answer, Done)
        pid = executor.runner_pids[0]
        assert canary.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        assert canary.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert _in_memory(pid, marker.encode()), "the search finds what is there"
        assert not _in_memory(pid, canary.encode())
        assert held
    finally:
        executor.close()


def _in_memory(pid: int, wanted: bytes) -> bool:
    """Whether some bytes are anywhere in a process's readable memory."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            if not rights.startswith("r") or line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            start, end = (int(text, 16) for text in span.split("-"))
            memory.seek(start)
            try:
                data = memory.read(end - start)
            except OSError:
                continue  # a guard page, or a device
            if wanted in data:
                return True
    return False

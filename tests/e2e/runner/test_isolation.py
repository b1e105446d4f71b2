"""What a step leaves behind is nobody else's: state, output, threads, processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from noetl.calls import Call
from noetl.outcomes import Done, Failed
from noetl.worker.executor import Executor
from tests.support.calls import alive, collect, python, read_pid, run, until


@pytest.fixture
def executor() -> Iterator[Executor]:
    """One slot: every call meets what the one before it has left."""
    executor = Executor(1)
    yield executor
    executor.close()


LEAVES = {
    "decimal": ("decimal.getcontext().prec = 4", "str(decimal.Decimal('1234.567') + 0)"),
    "time zone": ("os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()", "time.tzname"),
    "locale": ("locale.setlocale(locale.LC_ALL, 'C')", "locale.setlocale(locale.LC_ALL)"),
    "socket timeout": ("socket.setdefaulttimeout(1.5)", "socket.getdefaulttimeout()"),
    "a patched module": ("json.dumps = None", "json.dumps is None"),
    "a patched builtin": ("builtins.oct = None", "builtins.oct is None"),
    "sys.modules": ("sys.modules['email'] = 1", "'email' in sys.modules and sys.modules['email'] == 1"),
    "sys.path": ("sys.path.insert(0, '/nowhere')", "sys.path[0]"),
    "a signal's handler": ("signal.signal(signal.SIGUSR1, signal.SIG_IGN)", "int(signal.getsignal(signal.SIGUSR1))"),
    "recursion limit": ("sys.setrecursionlimit(77_000)", "sys.getrecursionlimit()"),
    "a limit": ("resource.setrlimit(resource.RLIMIT_FSIZE, (9, 9))", "resource.getrlimit(resource.RLIMIT_FSIZE)"),
    "niceness": ("os.nice(3)", "os.nice(0)"),
    "warnings": ("warnings.simplefilter('error')", "len(warnings.filters)"),
    "logging": ("logging.basicConfig(level=1)", "logging.getLogger().level"),
    "a thread": ("threading.Thread(target=time.sleep, args=(99,)).start()", "threading.active_count()"),
    "an open file": ("builtins.kept = open('/dev/null')", "len(os.listdir('/proc/self/fd'))"),
    "the garbage collector": ("gc.disable()", "gc.isenabled()"),
}
IMPORTS = (
    "import builtins, decimal, gc, json, locale, logging, os, resource, signal, socket, sys, threading, time,"
    " warnings\n"
)


@pytest.mark.parametrize("leaves", LEAVES)
def test_a_step_meets_the_state_of_a_fresh_interpreter(executor: Executor, leaves: str) -> None:
    change, look = LEAVES[leaves]
    code = f"{IMPORTS}def main(change):\n    before = {look}\n    if change: {change}\n    return [before, {look}]\n"
    first, second, third = (run(executor, python(code, {"change": change})).answer for change in (False, True, False))
    assert isinstance(second, Done)
    assert first == third
    assert isinstance(first, Done)
    before, after = orjson.loads(second.result)
    assert before != after, "the change is one that can be seen"
    assert orjson.loads(first.result)[0] == before


def test_code_that_is_changed_is_read_again(executor: Executor, tmp_path: Path) -> None:
    code = "import sys\ndef main(folder):\n    sys.path.insert(0, folder)\n    import helper\n    return helper.VALUE\n"
    for value in ("'one'", "'second'", "'3'"):
        (tmp_path / "helper.py").write_text(f"VALUE = {value}\n")
        answer = run(executor, python(code, {"folder": str(tmp_path)})).answer
        assert answer == Done(value.replace("'", '"').encode())


def test_what_a_thread_prints_late_is_nobodys(executor: Executor) -> None:
    code = (
        "import threading, time\n"
        "def late():\n    time.sleep(0.2); print('password', flush=True)\n"
        "def main():\n    threading.Thread(target=late, daemon=True).start(); return 1\n"
    )
    listens = "import time\ndef main():\n    time.sleep(0.5); print('mine'); return 2\n"
    assert run(executor, python(code)).answer == Done(b"1")
    for text in (listens, listens.replace("import time", "import os, time")):
        assert run(executor, python(text)).answer == Done(b"2", "mine\n")


@pytest.mark.parametrize("start", ["['sh', '-c', '{}']", "['setsid', 'sh', '-c', '{}']"])
def test_what_a_process_prints_late_is_nobodys_and_it_ends(executor: Executor, start: str, tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; sleep 0.3; echo password; sleep 90"
    code = (
        "import os, subprocess, time\n"
        f"def main():\n    subprocess.Popen({start.format(script)})\n"
        f"    while not os.path.exists('{tmp_path}/pid'): time.sleep(0.001)\n    return 1\n"
    )
    assert run(executor, python(code)).answer == Done(b"1")
    pid = read_pid(tmp_path / "pid")
    assert pid is not None
    assert not alive(pid)
    answer = run(executor, python("import time\ndef main():\n    time.sleep(0.5); return 2\n")).answer
    assert answer == Done(b"2")


DAEMON = """
import os, time
def main(file, end):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir('/')
            open(file, 'w').write(f'{os.getpid()}\\n')
            time.sleep(100)
        os._exit(0)
    while not os.path.exists(file): time.sleep(0.001)
    if end == 'overruns': time.sleep(100)
    if end == 'crashes': os.abort()
    return 1
"""


@pytest.mark.parametrize("end", ["returns", "overruns", "crashes", "is cancelled"])
def test_a_daemon_ends_with_its_step_however_that_ends(executor: Executor, tmp_path: Path, end: str) -> None:
    file = tmp_path / "pid"
    timeout = 1.5 if end == "overruns" else None
    executor.submit(1, python(DAEMON, {"file": str(file), "end": "overruns" if end == "is cancelled" else end},
                           timeout=timeout))  # fmt: skip
    if end == "is cancelled":
        until(lambda: read_pid(file), executor)
        executor.kill(1)
    answer = collect(executor, 1)[1].answer
    pid = read_pid(file)
    assert pid is not None
    assert not alive(pid), "it ended before its step was reported"
    kinds = {"returns": None, "overruns": "timeout", "crashes": "runner_exited", "is cancelled": "cancelled"}
    assert (answer.error["type"] if isinstance(answer, Failed) else None) == kinds[end]


def shell(command: str, **options: object) -> Call:
    return Call("shell", "1:shell:1:-1", "examples/test#shell", {"command": command, **options}, {}, None, 1 << 20, {})


def test_a_background_process_of_a_shell_ends_with_it(executor: Executor, tmp_path: Path) -> None:
    report = run(executor, shell(f"setsid sleep 100 > /dev/null 2>&1 & echo $! > {tmp_path}/pid"))
    assert isinstance(report.answer, Done)
    pid = read_pid(tmp_path / "pid")
    assert pid is not None
    assert not alive(pid)


WORKER = """
import sys
from noetl.worker.executor import Executor
from tests.e2e.runner.test_isolation import DAEMON, shell
from tests.support.calls import python
executor = Executor(2)
executor.submit(1, python(DAEMON, {"file": sys.argv[1], "end": "overruns"}))
executor.submit(2, shell(f"setsid sleep 100 & echo $! > {sys.argv[1]}.shell; sleep 100"))
while True:
    executor.poll(1)
"""


def test_everything_dies_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(file)])
    try:
        until(lambda: read_pid(file) and read_pid(tmp_path / "pid.shell"))
    finally:
        worker.kill()
        worker.wait()
    for pid in (read_pid(file), read_pid(tmp_path / "pid.shell")):
        assert pid is not None
        until(lambda pid=pid: not alive(pid))  # type: ignore[misc]


def test_a_second_attempt_ends_what_the_first_has_left(executor: Executor) -> None:
    """Even where the runner was killed, too, and could not."""
    environment = {**os.environ, "NOETL_IDEMPOTENCY_KEY": "7:step:1:-1"}
    left = subprocess.Popen(["sleep", "100"], env=environment, start_new_session=True)
    other = subprocess.Popen(["sleep", "100"], env={**environment, "NOETL_IDEMPOTENCY_KEY": "7:step:1:-12"})
    try:
        call = python("import os\ndef main():\n    return 1\n", key="7:step:1:-1", context={"attempt": 2})
        assert run(executor, call).answer == Done(b"1")
        assert left.wait(10) == -9
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


def test_pure_code_runs_without_a_process_of_its_own(executor: Executor) -> None:
    """Its effects end with it, so that it does not pay for a fork; its prints are its own all the same."""
    code = "import math\ndef main(a):\n    print('a is', a)\n    return math.floor(a)\n"
    asks = "import os\ndef main():\n    return [os.getpid(), os.getppid()]\n"
    assert run(executor, python(code, {"a": 1.5})).answer == Done(b"1", "a is 1.5\n")
    answer = run(executor, python(asks)).answer
    assert isinstance(answer, Done)
    pid, parent = orjson.loads(answer.result)
    assert [parent] == executor.runner_pids
    assert pid != parent

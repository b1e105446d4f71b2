"""The environment of server and workers is not shown to steps, which run as the same account."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from noetl.process_memory import hide_environment
from tests.support.calls import until
from tests.support.canaries import environment_of
from tests.support.home import a_home
from tests.support.postgres import TestServer

CANARY = "canary-" + os.urandom(9).hex()

WORKER = """
import json, os, subprocess, sys
from noetl.process_memory import hide_environment
hide_environment()
from noetl.worker.executor import Executor
from tests.support.calls import python, run
READ = '''
import os
def main():
    seen, pid = {}, os.getpid()
    while pid > 1:
        try: seen[str(pid)] = open(f'/proc/{pid}/environ', 'rb').read().decode(errors='replace').replace(chr(0), ' ')
        except OSError as error: seen[str(pid)] = str(error)
        pid = int(open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[1])
        if pid == %d: break
    return seen
''' % os.getppid()
executor = Executor(1)
answer = run(executor, python(READ)).answer
executor.close()
own = [os.environ["NOETL_PASSWORD"], subprocess.check_output(["printenv", "NOETL_PASSWORD"], text=True).strip()]
print(json.dumps([answer.result.decode(), os.getpid(), own]))
"""


def test_a_step_finds_nothing_in_the_environments_above_it() -> None:
    """The worker and its children have the variable all the same."""
    environment = {**os.environ, "NOETL_PASSWORD": CANARY}
    told = subprocess.run([sys.executable, "-c", WORKER], env=environment, capture_output=True, text=True, check=True)
    result, worker, own = json.loads(told.stdout)
    assert own == [CANARY, CANARY]
    assert f'"{worker}"' in result, "the step has looked at its worker"
    assert CANARY not in result


def _in_a_fork(work: Callable[[], bool]) -> bool:
    """Return what some work gives, done in a fork of this process."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 1), status
    return status == 0


def _dumpable() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(4, 1)  # as a process is that was started by exec


def _is_open(path: str) -> bool:
    try:
        with open(path, "rb", buffering=0) as file:
            return path.endswith("/mem") or bool(file.read(1))
    except OSError:
        return False


def test_another_account_than_root_reads_neither_environment_nor_memory() -> None:
    """Of a process of its own account: a step is one."""

    def work(hidden: bool) -> bool:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        _dumpable()
        if hidden:
            hide_environment()
        parent = os.getpid()

        def step() -> bool:
            _dumpable()
            return _is_open(f"/proc/{parent}/environ") or _is_open(f"/proc/{parent}/mem")

        return _in_a_fork(step)

    assert _in_a_fork(lambda: work(hidden=False)), "without it the step reads them"
    assert not _in_a_fork(lambda: work(hidden=True))


def test_server_and_workers_hide_theirs(server: TestServer, tmp_path: Path) -> None:
    with a_home(server, tmp_path, {"NOETL_API_TOKEN": CANARY}) as home:
        home.run("server", "start")
        home.run("worker", "start")
        ours = [
            int(path.name)
            for path in Path("/proc").iterdir()
            if path.name.isdecimal() and _descends(int(path.name), str(tmp_path))
        ]
        assert ours
        until(lambda: not any(CANARY.encode() in environment_of(pid) for pid in ours))


def _descends(pid: int, folder: str) -> bool:
    """Whether a process is one of this home's: its working files lie there."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        files = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return b"noetl" in line and any(folder in file for file in files)

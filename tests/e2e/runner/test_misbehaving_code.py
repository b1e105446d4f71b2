"""What a step does to descriptors, modules and processes harms itself; what it needs of them it has."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from noetl.outcomes import Done, Failed
from noetl.worker.executor import Executor
from tests.support.calls import collect, python, read_pid, run, until

QUICK = "def main(a=0):\n    return a\n"
SLEEPER = "import os, time\ndef main(file):\n    while not os.path.exists(file): time.sleep(0.005)\n    return 'well'\n"


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Two slots."""
    executor = Executor(2)
    yield executor
    executor.close()


HARMS = {
    "writes to every descriptor": """
import os
def main():
    for number in range(3, 1000):
        try: os.write(number, b'\\xff' * 64)
        except OSError: pass
    return 1
""",
    "closes every descriptor": "import os\ndef main():\n    os.closerange(3, 1000)\n    return 1\n",
    "points every descriptor elsewhere": """
import os
def main():
    null = os.open('/dev/null', os.O_RDWR)
    for number in range(3, 1000):
        if number != null: os.dup2(null, number)
    return 1
""",
    "answers for the engine": """
import os, struct
def main():
    for number in range(3, 1000):
        try: os.write(number, struct.pack('<IBd', 5, 1, 0.0) + b'false')
        except OSError: pass
    return 1
""",
    "crashes": "import ctypes\ndef main():\n    ctypes.string_at(0)\n",
    "crashes in C, in the middle of a write": "import os\ndef main():\n    os.write(2, b'x' * 60000); os.abort()\n",
    "uses up its stack": """
import sys, threading
def main():
    sys.setrecursionlimit(10**6)
    def down(): return [down].sort(key=lambda f: f())
    down()
""",
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_step_that_harms_what_it_finds_fails_alone(executor: Executor, tmp_path: Path, harm: str) -> None:
    assert run(executor, python(QUICK, {"a": 1})).answer == Done(b"1")
    executor.submit(1, python(SLEEPER, {"file": str(tmp_path / "go")}, where="examples/test#other"))
    assert run(executor, python("import os\ndef main():\n    return 2\n")).answer == Done(b"2")  # beside it
    pids = executor.runner_pids
    assert len(pids) == 2
    executor.submit(2, python(HARMS[harm], where="examples/test#harm"))
    answer = collect(executor, 1)[2].answer
    assert isinstance(answer, Failed), answer
    assert answer.error["type"] in ("runner_exited", "python")
    (tmp_path / "go").touch()
    assert collect(executor, 1)[1].answer == Done(b'"well"')
    assert run(executor, python(QUICK, {"a": 2})).answer == Done(b"2")
    assert executor.runner_pids == pids, "no runner had to be replaced"


PATCHES = """
import builtins, json, os, sys
def main():
    def no(*a, **k): raise OSError('patched')
    import orjson
    os.write = os.read = os.getpid = os._exit = orjson.dumps = orjson.loads = json.dumps = no
    for name in list(sys.modules): del sys.modules[name]
    builtins.print = builtins.open = no
    return 'well'
"""


def test_a_step_that_patches_the_modules_answers_all_the_same(executor: Executor) -> None:
    answer = run(executor, python(PATCHES)).answer
    assert answer == Done(b'"well"')
    assert run(executor, python("import os\ndef main():\n    return os.getpid() > 1\n")).answer == Done(b"true")


@pytest.fixture
def cores() -> Iterator[None]:
    """Crashes of this process, and of those it starts, write cores."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    assert resource.getrlimit(resource.RLIMIT_CORE)[0] != 0, "this machine lets no process write a core"
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


def test_a_crash_writes_no_core(cores: None, executor: Executor) -> None:
    code = "import resource\ndef main():\n    return resource.getrlimit(resource.RLIMIT_CORE)[0]\n"
    assert run(executor, python(code)).answer == Done(b"0")


def test_when_memory_is_short_the_kernel_takes_the_step_first(executor: Executor) -> None:
    code = "def main():\n    return int(open('/proc/self/oom_score_adj').read())\n"
    answer = run(executor, python(code)).answer
    assert isinstance(answer, Done)
    assert int(answer.result) > int(Path("/proc/self/oom_score_adj").read_text())


# ---- what a step needs ----------------------------------------------------------------------------------------------

POOL = """
from {module} import {name}
import multiprocessing, os
class Odd(Exception): pass
OFFSET = 7
def square(x):
    return x * x + OFFSET
def main():
    with {make} as pool:
        return list(pool.map(square, range(5)))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("pooled", [False, True])
def test_multiprocessing_works_by_methods_that_start_an_interpreter(
    executor: Executor, method: str, pooled: bool
) -> None:
    context = f"multiprocessing.get_context('{method}')"
    code = (
        POOL.format(
            module="concurrent.futures",
            name="ProcessPoolExecutor",
            make=f"ProcessPoolExecutor(2, mp_context={context})",
        )
        if pooled
        else POOL.format(module="multiprocessing", name="Pool", make=f"{context}.Pool(2)")
    )
    assert run(executor, python(code)).answer == Done(b"[7,8,11,16,23]")


def test_a_process_with_a_queue_works_and_nothing_of_it_stays(executor: Executor) -> None:
    code = (
        "import multiprocessing\n"
        "def fill(queue, n): queue.put({'n': n})\n"
        "def main():\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    queue = context.Queue()\n"
        "    process = context.Process(target=fill, args=(queue, 3))\n"
        "    process.start()\n"
        "    found = queue.get()\n"
        "    process.join()\n"
        "    locks = [queue._rlock, queue._wlock, queue._sem]\n"
        "    return [found, process.exitcode, *('sem.' + lock._semlock.name.lstrip('/') for lock in locks)]\n"
    )
    answer = run(executor, python(code)).answer
    assert isinstance(answer, Done), answer
    found, status, *semaphores = orjson.loads(answer.result)
    assert (found, status) == ({"n": 3}, 0)
    assert all(name.startswith("sem.mp-") for name in semaphores)
    assert not set(semaphores) & set(os.listdir("/dev/shm"))  # others' may come and go meanwhile


def test_what_a_step_registers_for_its_end_is_run(executor: Executor, tmp_path: Path) -> None:
    code = (
        "import atexit, tempfile, os\n"
        "kept = []\n"
        "def main(file):\n"
        "    kept.append(tempfile.TemporaryDirectory(dir=file))\n"
        "    atexit.register(print, 'last words')\n"
        "    return len(os.listdir(file))\n"
    )
    assert run(executor, python(code, {"file": str(tmp_path)})).answer == Done(b"1", "last words\n")
    assert os.listdir(tmp_path) == []


def test_an_end_that_does_not_come_is_not_waited_for_long(executor: Executor) -> None:
    code = (
        "import atexit, time\n"
        "def main():\n"
        "    atexit.register(time.sleep, 1000)\n"
        "    atexit.register(print, 'begun')\n"
        "    return 1\n"
    )
    assert run(executor, python(code)).answer == Done(b"1", "begun\n")


def test_an_installed_module_is_imported_once_by_the_runner(executor: Executor) -> None:
    """Its second import costs nothing; a module that starts a thread when it is imported is left to each call."""
    code = "import sys, os\nhad = 'fractions' in sys.modules\ndef main():\n    import fractions\n    return had\n"
    assert run(executor, python(code)).answer == Done(b"true")
    dynamic = "import sys\ndef main(name):\n    had = name in sys.modules\n    __import__(name)\n    return had\n"
    assert run(executor, python(dynamic, {"name": "colorsys"})).answer == Done(b"false")
    assert run(executor, python(dynamic, {"name": "colorsys"})).answer == Done(b"false")


def test_the_default_connection_of_duckdb_works_in_each_step(executor: Executor) -> None:
    """The runner has imported DuckDB for all, without the thread that this connection has."""
    code = "import duckdb\ndef main():\n    return duckdb.sql('SELECT 42').fetchall()\n"
    for _ in range(2):
        assert run(executor, python(code)).answer == Done(b"[[42]]")
    for pid in executor.runner_pids:
        assert len(os.listdir(f"/proc/{pid}/task")) == 1


def test_the_processes_of_a_step_are_told_its_key(executor: Executor, tmp_path: Path) -> None:
    code = "import subprocess\ndef main():\n    return subprocess.check_output(['printenv', 'NOETL_IDEMPOTENCY_KEY'])\n"
    code = code.replace("'])\n", "'], text=True)\n")
    answer = run(executor, python(code, key="1:a:1:-1")).answer
    assert isinstance(answer, Done)
    assert orjson.loads(answer.result) == "1:a:1:-1\n"


def test_a_runner_that_is_killed_takes_what_it_ran_along(executor: Executor, tmp_path: Path) -> None:
    code = (
        "import subprocess, time\n"
        "def main(file):\n"
        "    child = subprocess.Popen(['sleep', '100'])\n"
        "    open(file, 'w').write(f'{child.pid}\\n')\n"
        "    time.sleep(100)\n"
    )
    executor.submit(1, python(code, {"file": str(tmp_path / "pid")}))
    until(lambda: read_pid(tmp_path / "pid"), executor)
    child = read_pid(tmp_path / "pid")
    assert child is not None
    runner = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
    runner = int(Path(f"/proc/{runner}/stat").read_text().rpartition(")")[2].split()[1])
    assert runner in executor.runner_pids
    os.kill(runner, 9)
    answer = collect(executor, 1)[1].answer
    assert isinstance(answer, Failed)
    assert answer.error["type"] == "runner_exited"
    until(lambda: not Path(f"/proc/{child}").exists() or _is_zombie(child))


def _is_zombie(pid: int) -> bool:
    return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()

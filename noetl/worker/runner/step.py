"""A fork of the runner that runs one call: it has nothing of the runner's pipes, and ends with the call."""

import atexit
import contextlib
import fcntl
import io
import os
import resource
import signal
import struct
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from os import _exit, getpid  # by names of our own: a step may patch the module's
from os import write as _write
from time import monotonic as _monotonic
from types import ModuleType
from typing import Any, Final, NoReturn

from orjson import dumps as _dumps

from noetl.calls import Call
from noetl.outcomes import Failed
from noetl.tools import python
from noetl.tools.base import Tool
from noetl.worker.runner.descendants import die_with_parent
from noetl.worker.runner.wire import DONE, FAILED

STEP_ANSWER: Final = struct.Struct("<IBd")
"""What a step answers its runner: length, kind, seconds, and then a body."""

EXIT_HANDLERS_SECONDS: Final = 1.0
"""Seconds that a step's `atexit` functions may take, once it has answered."""

_KEY_VARIABLE: Final = "NOETL_IDEMPOTENCY_KEY"

SPAWNING_WORDS: Final = ("process", "joblib")
"""Words of code that may start another interpreter, which has to find the functions of this code."""

_own: list[int] = []  # the descriptors of this step that its own forks must not have


@dataclass(frozen=True, slots=True)
class Pipes:
    """The pipes of a step, for its answer and its prints. `foreign`: descriptors of the runner, closed in the step."""

    answer: int
    output: int
    foreign: Sequence[int]


def high_number() -> int:
    """Return the number from which our own descriptors are on: code that tidies up "everything above 2" by small
    numbers does not meet them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 200 if soft == resource.RLIM_INFINITY else max(3, min(200, soft - 32))


def run_step(call: Call, pipes: Pipes, runner: int) -> NoReturn:
    """Run a call and answer it, in the fork that was made for it. `runner`: process id of the parent."""
    status = 1
    try:
        answer = _leave_runner(pipes, runner)
        own, begun = getpid(), _monotonic()
        _set_up_main(call)
        outcome = _tool(call.type).run(call)
        if getpid() != own:
            _exit(0)  # a fork of the call came back from `main`: not ours to answer
        _flush()
        if isinstance(outcome, Failed):
            kind, body = FAILED, _dumps(outcome.error)
        else:
            kind, body = DONE, outcome.result
        _send(answer, STEP_ANSWER.pack(len(body), kind, _monotonic() - begun) + body)
        status = 0
        _run_exit_handlers()
    except BaseException:  # noqa: BLE001 - the outermost frame of this process
        with contextlib.suppress(BaseException):
            traceback.print_exc()
            _flush()
    finally:
        _exit(status)


def _tool(type_: str) -> Tool:
    """Return the tool of a type. The runner has imported the others when it was first asked for one of them."""
    if type_ == python.TOOL.type:
        return python.TOOL
    from noetl.tools.registry import TOOLS

    return TOOLS[type_]


def _leave_runner(pipes: Pipes, runner: int) -> int:
    """Leave the runner's group and descriptors; return the descriptor for the answer."""
    die_with_parent(True)
    if os.getppid() != runner:
        _exit(1)  # it ended before the kernel was told
    os.setsid()
    os.dup2(pipes.output, 1)
    os.dup2(pipes.output, 2)
    answer = fcntl.fcntl(pipes.answer, fcntl.F_DUPFD_CLOEXEC, high_number())
    for descriptor in (pipes.answer, pipes.output, *pipes.foreign):
        os.close(descriptor)
    _own.append(answer)
    return answer


def forget_in_forks() -> None:
    """Have forks of a step close its answer's pipe: they must not keep it open."""
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    while _own:
        with contextlib.suppress(OSError):
            os.close(_own.pop())


def _set_up_main(call: Call) -> None:
    """Make a call a program of its own: with `__main__`, the key, and its code where others can import it."""
    sys.modules["__main__"] = ModuleType("__main__")
    os.environ[_KEY_VARIABLE] = call.key
    code = call.fields.get("code")
    if call.type == "python" and isinstance(code, str) and "duckdb" in code and "duckdb" in sys.modules:
        duckdb = sys.modules["duckdb"]
        duckdb.set_default_connection(duckdb.connect())  # the runner's has no thread
    if call.type == "python" and isinstance(code, str) and any(word in code.lower() for word in SPAWNING_WORDS):
        sys.path.append(_importable(code))


def _importable(code: str) -> str:
    """Return an entry of `sys.path` from which an interpreter started by the step imports the step's code.

    `multiprocessing` gives its children the path and the names of functions. The entry is an archive in memory that
    this process holds, so that nothing has to be removed.
    """
    import zipfile

    descriptor = os.memfd_create("noetl_step") if hasattr(os, "memfd_create") else os.open("/dev/null", os.O_RDWR)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("noetl_step.py", code)
    _send(descriptor, packed.getvalue())
    return f"/proc/{getpid()}/fd/{descriptor}"


def _flush() -> None:
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    for stream in {id(each): each for each in streams if each is not None}.values():
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _run_exit_handlers() -> None:
    """Run the functions that the step has registered for its end, for a moment; its children are killed before."""
    processes: Any = sys.modules.get("multiprocessing")
    if processes is None and not atexit._ncallbacks():
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, EXIT_HANDLERS_SECONDS)
    if processes is not None:
        for child in processes.active_children():
            child.kill()
    atexit._run_exitfuncs()
    _flush()


def _send(descriptor: int, data: bytes) -> None:
    sent = _write(descriptor, data)
    while sent < len(data):
        sent += _write(descriptor, memoryview(data)[sent:])

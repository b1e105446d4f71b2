"""The runner's side of a call in a fork: its pipes, its prints on their way to the worker, and its end.

A step's process answers the runner over a pipe of its own. Nothing that the step does to its descriptors reaches the
worker: the runner passes on an answer only when it is whole and of the right shape.
"""

import contextlib
import fcntl
import os
import select
import signal
import struct
import termios
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from noetl.calls import Call
from noetl.outcomes import error_value
from noetl.worker.runner.descendants import die_with_parent, end_descendants
from noetl.worker.runner.step import STEP_ANSWER, Pipes, run_step
from noetl.worker.runner.wire import DONE, FAILED, NO_PROCESS, STEP, how_it_ended, process_ended

_READ_BYTES: Final = 1 << 16
_ERROR_BYTES: Final = 1 << 20  # what an error may take beyond the limit of results


class WorkerGone(Exception):
    """The worker has closed the calls: this runner ends, and with it what it runs."""


@dataclass(frozen=True, slots=True)
class StepAnswer:
    """The answer to a call in a fork: its kind and body, how long the call ran, and whether it printed."""

    kind: int
    body: bytes
    seconds: float
    printed: bool


@dataclass(slots=True)
class _Step:
    """One process that runs a call, and the ends of its pipes."""

    pid: int
    handle: int  # its pidfd, -1 where there is none
    answer: int
    output: int
    received: bytearray = field(default_factory=bytearray)
    printed: bool = False


class Forks:
    """Runs calls in forks of this process. `board`: shared with the worker; `pass_on` takes what was printed."""

    def __init__(
        self,
        calls: int,
        foreign: Sequence[int],
        board: memoryview,
        pass_on: Callable[[bytes], None],
        leave: Callable[[], None],
    ) -> None:
        """`foreign` are the runner's own descriptors, which forks close; `leave` lets a fork forget the board."""
        self._calls = calls
        self._foreign = tuple(foreign)
        self._board = board
        self._pass_on = pass_on
        self._leave = leave

    def run(self, call: Call) -> StepAnswer:
        """Run a call in a fork and wait for its end, and for the end of all that it started. Raises `WorkerGone`."""
        self._board[STEP] = 1
        die_with_parent(False)  # from here on this process ends what it started before it ends itself
        try:
            step = self._start(call)
        except OSError as failure:
            return StepAnswer(NO_PROCESS, str(failure).encode(), 0.0, printed=False)
        else:
            self._board[STEP] = step.pid
            try:
                self._follow(step, call.limit + _ERROR_BYTES)
            finally:
                code = self._end(step)
            return self._answer(call, step, code)
        finally:
            die_with_parent(True)
            self._board[STEP] = 0

    def _start(self, call: Call) -> _Step:
        own = os.getpid()
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            answer, answer_in = os.pipe()
            ours.callback(os.close, answer)
            theirs.callback(os.close, answer_in)
            output, output_in = os.pipe()
            ours.callback(os.close, output)
            theirs.callback(os.close, output_in)
            pid = os.fork()
            if pid == 0:
                self._leave()
                run_step(call, Pipes(answer_in, output_in, (answer, output, *self._foreign)), own)
            ours.pop_all()
        os.set_blocking(answer, False)
        os.set_blocking(output, False)
        return _Step(pid, _handle(pid), answer, output)

    def _follow(self, step: _Step, limit: int) -> None:
        """Take the step's answer and pass on its prints until its process has ended."""
        poll = select.poll()
        poll.register(self._calls, 0)  # its end alone
        for descriptor in (step.handle, step.answer, step.output):
            if descriptor >= 0:
                poll.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._calls in ready:
                raise WorkerGone
            if step.output in ready and not self._take_output(step):
                poll.unregister(step.output)
            if step.answer in ready and not _take_answer(step, limit):
                poll.unregister(step.answer)
                if step.handle < 0:
                    return
            if step.handle in ready:
                return

    def _take_output(self, step: _Step) -> bool:
        """Pass on a piece of the prints; return whether there may be more."""
        try:
            data = os.read(step.output, _READ_BYTES)
        except BlockingIOError:
            return True
        if data:
            step.printed = True
            self._pass_on(data)
        return bool(data)

    def _end(self, step: _Step) -> int:
        """Kill and reap the step with all that it started, and return how its process ended."""
        if step.handle < 0 or not select.select([step.handle], [], [], 0)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(step.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(step.pid, signal.SIGKILL)
        _, status = os.waitpid(step.pid, 0)
        end_descendants()
        while _take_answer(step, 1 << 62, final=True):
            pass
        left = _pending(step.output)
        while left > 0 and self._take_output(step):
            left -= _READ_BYTES
        for descriptor in (step.answer, step.output, step.handle):
            if descriptor >= 0:
                os.close(descriptor)
        return os.waitstatus_to_exitcode(status)

    @staticmethod
    def _answer(call: Call, step: _Step, code: int) -> StepAnswer:
        """Return the step's answer, or how its process ended where there is none."""
        received = step.received
        if len(received) >= STEP_ANSWER.size:
            length, kind, seconds = STEP_ANSWER.unpack_from(received)
            body = bytes(memoryview(received)[STEP_ANSWER.size :])
            if length == len(body) and kind in (DONE, FAILED) and _is_sound(kind, body):
                return StepAnswer(kind, body, seconds, step.printed)
        if received:
            text = f"{call.where}: the step wrote into the pipe that carries its own answer, or damaged what writes it"
            failed = error_value("python" if call.type == "python" else "runner_exited", text, retryable=True)
        else:
            failed = process_ended(call.where, how_it_ended(code))
        return StepAnswer(FAILED, orjson.dumps(failed), 0.0, step.printed)


def _handle(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # elsewhere than on Linux, or no descriptor is free: its pipe's end tells
        return -1


def _is_sound(kind: int, body: bytes) -> bool:
    """Tell whether a body has the shape that the worker expects."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return kind == DONE or (isinstance(value, dict) and value.keys() == {"type", "message", "retryable", "detail"})


def _take_answer(step: _Step, limit: int, final: bool = False) -> bool:
    """Take a piece of the answer; return whether there may be more. Bytes beyond the limit are no answer."""
    try:
        data = os.read(step.answer, _READ_BYTES)
    except BlockingIOError:
        return not final
    if len(step.received) <= limit:
        step.received += data
    return bool(data)


def _pending(descriptor: int) -> int:
    """Return how many bytes a pipe holds: later ones belong to nobody."""
    count: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))[0]
    return count

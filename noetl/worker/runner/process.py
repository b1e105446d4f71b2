"""A runner: one child process that runs somebody's code, seen from the worker.

It is started by exec with a bare environment. It ends what a call has started when the call ends, and everything when
its worker closes the pipe of the calls or is gone. See `wire` for what goes over its pipes.
"""

import contextlib
import json
import mmap
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from noetl.calls import Call
from noetl.errors import SettingsError
from noetl.outcomes import Done, ErrorValue, Failed, error_value
from noetl.worker.runner.output import RunnerOutput
from noetl.worker.runner.wire import (
    ANSWER_HEAD,
    BEGUN,
    BEGUN_AT,
    BOARD_BYTES,
    DONE,
    NO_PROCESS,
    PRINTED_FLAG,
    READY,
    RECALLED,
    SKIPPED,
    STEP,
    how_it_ended,
)

PASSED_VARIABLES: Final = ("PATH", "HOME", "LANG", "TZ", "TMPDIR")
"""The variables a runner always gets, where they are set."""

_OWN_PREFIXES: Final = ("NOETL_", "POSTGRES_", "PG")
_CHILD_SCRIPT: Final = Path(__file__).with_name("child.py")
_READ_BYTES: Final = 1 << 16
_MARK_START: Final = b"\x00noetl"


def runner_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of runners: a handful of variables, and those that NOETL_RUNNER_ENV lists.

    Raises `SettingsError` where it lists the engine's own variables, which hold passwords and keys.
    """
    listed = [name for name in environment.get("NOETL_RUNNER_ENV", "").replace(",", " ").split() if name]
    for name in listed:
        if name.startswith(_OWN_PREFIXES):
            raise SettingsError(
                f"NOETL_RUNNER_ENV lists {name}: the engine's own variables are never given to playbooks' code;"
                " pass what it needs under another name"
            )
    return {name: environment[name] for name in (*PASSED_VARIABLES, *listed) if name in environment}


@dataclass(slots=True)
class SentCall:
    """A call that a runner was given. `answer` and `seconds` come when it has run; a call that was recalled before it
    began, or for which no process could be made, comes back without an answer."""

    number: int
    token: int
    call: Call
    timeout: float | None
    doomed: bool = False  # shall be cancelled, whether it begins or not
    wanted_back: bool = False  # shall go back to who submitted it, if it does not begin
    answer: Done | Failed | None = None
    seconds: float = 0.0  # it ran

    def cancelled(self) -> ErrorValue:
        """Return the error of a call that is ended because it was cancelled."""
        return error_value("cancelled", f"{self.call.where}: cancelled while it ran")

    def overran(self) -> ErrorValue:
        """Return the error of a call that is ended because its time is over."""
        text = f"{self.call.where}: still running after its timeout of {self.timeout:g} s; it was killed"
        return error_value("timeout", text, retryable=True)


class Runner:
    """One child process with its pipes. Not thread-safe: it belongs to the thread that polls.

    That thread must also be the one that made it: Linux kills a child whose parent thread ends.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it. Raises `OSError` where no process can be started."""
        self.line: deque[SentCall] = deque()
        self.ready = False
        self.fast = False  # whether everything in its line is
        self.since = time.monotonic()  # when the head of its line came up, or it had no more to do
        self.output_open = True
        self.closed = False
        self.calls_open = True
        self.broken = False  # what it says is not to be read any more
        self.fork_error = ""  # why it could make no process for a call
        self.cause: ErrorValue | None = None  # the error of the call it is being ended for
        self._mark = _MARK_START + secrets.token_bytes(10)
        self._output = RunnerOutput(self._mark)
        self._in = bytearray()
        self._out = memoryview(b"")  # what is left to be written
        self._open(environment)

    def _open(self, environment: Mapping[str, str]) -> None:
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            calls, self.calls = os.pipe()
            self.answers, answers = os.pipe()
            self.output, output = os.pipe()
            board = _shared_file()
            for descriptor in (self.calls, self.answers, self.output):
                ours.callback(os.close, descriptor)
                os.set_blocking(descriptor, False)
            for descriptor in (calls, answers, output, board):
                theirs.callback(os.close, descriptor)
            self._page = mmap.mmap(board, BOARD_BYTES)
            self._board = memoryview(self._page).cast("Q")
            self._process = self._exec((calls, answers, board), output, environment)
            self.pid = self._process.pid
            ours.callback(self._process.wait)
            ours.callback(self._process.kill)
            self.pidfd = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else None
            ours.pop_all()  # from here on they are closed by `close`

    def _exec(
        self, inherited: tuple[int, ...], output: int, environment: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        folders = json.dumps([folder for folder in sys.path if folder])
        command = [sys.executable, "-I", "-X", "utf8", str(_CHILD_SCRIPT)]
        return subprocess.Popen(
            [*command, *map(str, inherited), self._mark.hex(), folders],
            env=dict(environment),
            cwd=_folder(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=inherited,
            start_new_session=True,
        )

    @property
    def begun(self) -> int:
        """The number of the call that it has begun last."""
        return self._board[BEGUN]

    def begun_at(self) -> float:
        """Return when it began that call, on this process's monotonic clock."""
        return self._board[BEGUN_AT] / 1e9

    # ---- calls ---------------------------------------------------------------------------------------------------

    def send(self, frames: Iterable[bytes]) -> bool:
        """Write calls, as many bytes as the pipe takes. Returns whether all of them went out."""
        self._out = memoryview(b"".join((self._out, *frames)))
        return self.flush()

    def flush(self) -> bool:
        """Write what is left of the calls. A child that died is found out by its pipes' end, not here."""
        while self._out:
            try:
                sent = os.write(self.calls, self._out)
            except BlockingIOError:
                return False
            except BrokenPipeError:
                sent = len(self._out)
            self._out = self._out[sent:]
        return True

    def recall(self) -> None:
        """Ask that calls not begun be left alone. What `recalled` says later is certain."""
        self._board[RECALLED] = self.line[-1].number

    def recalled(self) -> list[SentCall]:
        """Take back the calls that were not begun, some time after `recall`."""
        begun, limit = self.begun, self._board[RECALLED]
        back = [sent for sent in self.line if begun < sent.number <= limit]
        for _ in back:
            self.line.pop()
        return back

    # ---- answers -------------------------------------------------------------------------------------------------

    def read_answers(self) -> tuple[list[SentCall], bool]:
        """Return the answers that have come, and whether the pipe is still open."""
        answers: list[SentCall] = []
        while True:
            try:
                data = os.read(self.answers, _READ_BYTES)
            except BlockingIOError:
                return answers, True
            if not data:
                return answers, False
            self._in += data
            self._parse(answers)
            if len(data) < _READ_BYTES:
                return answers, True

    def _parse(self, answers: list[SentCall]) -> None:
        buffer, at = self._in, 0
        while len(buffer) - at >= ANSWER_HEAD.size:
            length, number, kind, seconds = ANSWER_HEAD.unpack_from(buffer, at)
            end = at + ANSWER_HEAD.size + length
            if len(buffer) < end:
                break
            if kind == READY:
                self.ready = True
            elif kind & ~PRINTED_FLAG == NO_PROCESS:
                self.fork_error = bytes(buffer[at + ANSWER_HEAD.size : end]).decode(errors="replace")
                answers.append(self._take(number))
            elif kind != SKIPPED or (self.line and self.line[0].number == number):
                body = bytes(memoryview(buffer)[at + ANSWER_HEAD.size : end])
                answers.append(self._answer(number, kind, body, seconds))
            at = end
        del buffer[:at]

    def _answer(self, number: int, kind: int, body: bytes, seconds: float) -> SentCall:
        sent = self._take(number)
        if kind == SKIPPED:
            return sent
        self.fork_error = ""
        output = ""
        if kind & PRINTED_FLAG:
            while not self._output.has(number) and self.read_output(limit=1 << 30):
                pass
            output = self._output.take(number)
        sent.answer = Done(body, output) if kind & ~PRINTED_FLAG == DONE else Failed(orjson.loads(body), output)
        sent.seconds = seconds
        return sent

    def _take(self, number: int) -> SentCall:
        sent = self.line.popleft()
        if sent.number != number:
            raise RuntimeError(f"runner {self.pid} answered call {number} instead of {sent.number}")
        self.since = time.monotonic()
        return sent

    def read_output(self, limit: int = 4 * _READ_BYTES) -> bool:
        """Take prints, at most `limit` bytes. Return whether some came."""
        taken = 0
        while taken < limit and self.output_open:
            try:
                data = os.read(self.output, _READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                self.output_open = False
                break
            self._output.feed(data)
            taken += len(data)
            if len(data) < _READ_BYTES:
                break
        return taken > 0

    def rest_of_output(self) -> str:
        """Return the prints of the call that was running when the process ended."""
        self.read_output(limit=64 * _READ_BYTES)
        return self._output.take_rest()

    # ---- the end -------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Have it end with everything it started. Where it runs a call itself, that has started nothing, and it is
        killed; else the end of the calls has it kill what runs. It stays to be reaped."""
        if self.calls_open:
            self.calls_open = False
            os.close(self.calls)
        if not self._board[STEP]:
            self.kill()

    def kill(self) -> None:
        """Kill it, and the group of the process that runs its call. It stays to be reaped."""
        if self._process.returncode is None:  # not reaped, so the numbers cannot be anybody else's
            step = self._board[STEP]
            for group in (self.pid, *([step] if step > 1 else [])):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)

    def ended(self, within: float = 0.0) -> bool:
        """Whether the process has ended, or does within some seconds. It is not reaped by this."""
        limit = time.monotonic() + within
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            left = limit - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, 0.0005))
        return True

    def close_output(self) -> None:
        """Read no more prints: a process that waits to write some waits no longer."""
        if self.output >= 0:
            os.close(self.output)
        self.output, self.output_open = -1, False

    def close(self) -> str:
        """Kill and reap it, close every descriptor, and return how the process ended, in words."""
        self.closed = True
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        self.close_output()
        for descriptor in (self.calls if self.calls_open else None, self.answers, self.pidfd):
            if descriptor is not None:
                os.close(descriptor)
        self.calls_open = False
        self._board.release()
        self._page.close()
        return how_it_ended(self._process.returncode)


def _folder() -> str | None:
    """Return where a runner starts: None, this process's folder, or another where that is gone."""
    try:
        os.getcwd()
    except OSError:
        return tempfile.gettempdir()
    return None


def _shared_file() -> int:
    """Return a descriptor of a small file that exists in memory only."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("noetl-board")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, BOARD_BYTES)
    return descriptor

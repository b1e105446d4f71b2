"""The child process that runs somebody's code, one call after the other, until its worker goes away.

Started by exec with the bare script's path, so that nothing of the worker's memory or environment comes along.
Arguments: file descriptors of calls, answers, lifeline and board; the mark; the worker's `sys.path` as JSON.
"""

import contextlib
import fcntl
import io
import json
import mmap
import os
import select
import signal
import struct
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING, Final, TextIO, cast

if __name__ == "__main__":
    sys.path[:] = sys.path[1:] if sys.path[:1] == [os.path.dirname(os.path.abspath(__file__))] else sys.path
    sys.path += [folder for folder in json.loads(sys.argv[6]) if folder not in sys.path]

import orjson

from noetl.tools.base import Failed
from noetl.tools.registry import TOOLS
from noetl.worker.runner_wire import (
    ANSWER,
    BEGUN,
    BEGUN_AT,
    CALL,
    DONE,
    FAILED,
    PRINTED,
    READY,
    RECALLED,
    SKIPPED,
    decode_call,
)

if TYPE_CHECKING:
    from noetl.tools.base import Call

HIGH: Final = 200
"""Where our own descriptors live: code that tidies up "everything above 2" by small numbers does not meet them."""

_PR_SET_PDEATHSIG: Final = 1


class _Counted(io.FileIO):
    """A descriptor that remembers whether something was written through it."""

    written = 0

    def write(self, data: "io.ReadableBuffer") -> int:  # type: ignore[name-defined]
        self.written += 1
        return super().write(data) or 0


class Prints:
    """Standard output and error of this process: both the pipe to the worker, whatever a call does to them."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._pipe = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, HIGH)
        self._raw: list[_Counted] = []
        self._streams: list[TextIO] = []
        self._open()

    @property
    def descriptor(self) -> int:
        return self._pipe

    def _open(self) -> None:
        os.dup2(self._pipe, 1)
        os.dup2(self._pipe, 2)
        self._raw = [_Counted(1, "w", closefd=False), _Counted(2, "w", closefd=False)]
        self._streams = [
            io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)
            for raw in self._raw
        ]
        sys.stdout, sys.stderr = self._streams

    def end_call(self, number: int) -> bool:
        """Flush what a call printed, put a mark behind it, and undo what the call did to the streams.

        Returns whether anything was printed.
        """
        printed = False
        for stream in (*self._streams, sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        for raw in self._raw:
            printed = printed or raw.written > 0
            raw.written = 0
        if printed or self._unread():
            printed = True
            os.set_blocking(self._pipe, True)  # a child of the call may have changed that for everybody
            os.write(self._pipe, self._mark + number.to_bytes(8, "little"))
        out, err = self._streams
        if sys.stdout is not out or sys.stderr is not err or out.closed or err.closed:
            self._open()
        else:
            os.dup2(self._pipe, 1)
            os.dup2(self._pipe, 2)
        return printed

    def _unread(self) -> bool:
        """Whether the pipe holds something, which then came from a descriptor or from a child of the call."""
        with contextlib.suppress(OSError):
            return cast(int, struct.unpack("i", fcntl.ioctl(self._pipe, termios.FIONREAD, b"\0\0\0\0"))[0]) > 0
        return False


class Surroundings:
    """Working folder, environment and alarm clock, put back after each call."""

    def __init__(self) -> None:
        self._folder = os.getcwd()
        self._environment = dict(os.environ)

    def restore(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        with contextlib.suppress(OSError):
            os.chdir(self._folder)
        if dict(os.environ) != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)


class Runner:
    """Reads calls, runs them, answers."""

    def __init__(self, calls: int, answers: int, board: memoryview, prints: Prints) -> None:
        self._calls = calls
        self._answers = answers
        self._board = board
        self._prints = prints
        self._surroundings = Surroundings()
        self._process = os.getpid()

    def serve(self) -> None:
        """Run until the worker closes its end."""
        self._write(ANSWER.pack(0, 0, READY, 0.0))
        buffer = bytearray()
        while True:
            data = os.read(self._calls, 1 << 16)
            if not data:
                return
            buffer += data
            at = 0
            while len(buffer) - at >= CALL.size:
                length, number = CALL.unpack_from(buffer, at)
                end = at + CALL.size + length
                if len(buffer) < end:
                    break
                body = bytes(memoryview(buffer)[at + CALL.size : end])
                at = end
                self._handle(number, body)
            del buffer[:at]

    def _handle(self, number: int, body: bytes) -> None:
        board = self._board
        start = time.monotonic_ns()
        board[BEGUN_AT] = start
        board[BEGUN] = number  # first say so, then look: the worker does it the other way round
        if number <= board[RECALLED]:
            self._write(ANSWER.pack(0, number, SKIPPED, 0.0))
            return
        call = decode_call(body)
        answer = self._run(call)
        if os.getpid() != self._process:
            os._exit(0)  # a fork of the call came back from `main`: not ours to answer
        self._surroundings.restore()
        kind = PRINTED if self._prints.end_call(number) else 0
        if isinstance(answer, Failed):
            kind, text = kind | FAILED, orjson.dumps(answer.error)
        else:
            kind, text = kind | DONE, answer.result
        seconds = (time.monotonic_ns() - start) / 1e9
        self._write(ANSWER.pack(len(text), number, kind, seconds) + text)

    @staticmethod
    def _run(call: "Call") -> "Done | Failed":  # type: ignore[name-defined]  # noqa: F821
        return TOOLS[call.type].run(call)

    def _write(self, data: bytes) -> None:
        sent = os.write(self._answers, data)
        while sent < len(data):
            sent += os.write(self._answers, memoryview(data)[sent:])


def die_with_worker(lifeline: int) -> None:
    """Arrange that this process and its group are killed when the worker is gone, however busy they are.

    Nothing is ever written to the lifeline, it only ends. On Linux the kernel then kills the whole group (a signal
    on a descriptor may be any signal, and go to a group); elsewhere a thread does.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    else:
        threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()


def _watch(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Serve until the worker is gone."""
    given = [int(text) for text in sys.argv[1:5]]
    calls, answers, lifeline, board = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH) for fd in given)
    for descriptor in given:
        os.close(descriptor)
    die_with_worker(lifeline)
    with mmap.mmap(board, 0) as page, memoryview(page).cast("Q") as view:
        prints = Prints(bytes.fromhex(sys.argv[5]))
        own = (calls, answers, lifeline, board, prints.descriptor)
        os.register_at_fork(after_in_child=lambda: _forget(own))
        if select.select([lifeline], [], [], 0)[0]:
            return  # the worker went away before we could notice
        Runner(calls, answers, view, prints).serve()
        os._exit(0)


def _forget(descriptors: tuple[int, ...]) -> None:
    """Close our descriptors in a fork of a call: what it writes is not ours, and it must not keep the pipes open."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


if __name__ == "__main__":
    main()

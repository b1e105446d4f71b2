"""The child process that runs somebody's code, one call after the other, until its worker goes away.

Started by exec with the bare script's path, so that nothing of the worker's memory or environment comes along.
Arguments: file descriptors of calls, answers and board; the mark; the worker's `sys.path` as JSON.

Pure code (`pure_code`) runs in this process. Everything else runs in a fork of it,
which sees the state of an interpreter that has run nothing yet, and ends with all that it started.
"""

import contextlib
import fcntl
import io
import json
import mmap
import os
import resource
import sys
import time
from typing import Final, TextIO

if __name__ == "__main__":
    sys.path[:] = sys.path[1:] if sys.path[:1] == [os.path.dirname(os.path.abspath(__file__))] else sys.path
    sys.path += [folder for folder in json.loads(sys.argv[5]) if folder not in sys.path]

import orjson

from noetl.calls import Call
from noetl.outcomes import Failed
from noetl.tools import python
from noetl.worker.runner.descendants import adopt, die_with_parent, end_leftovers
from noetl.worker.runner.fork import Forks, StepAnswer, WorkerGone
from noetl.worker.runner.preload import Preloaded
from noetl.worker.runner.pure_code import imported_modules, is_pure
from noetl.worker.runner.step import forget_in_forks, high_number
from noetl.worker.runner.wire import (
    ANSWER_HEAD,
    BEGUN,
    BEGUN_AT,
    CALL_HEAD,
    DONE,
    FAILED,
    PRINTED_FLAG,
    READY,
    RECALLED,
    SKIPPED,
    decode_call,
)

_OOM_SCORE_ADJ: Final = b"500"
"""What the kernel adds to this process's badness when memory is short: it goes before the worker does."""

_MAX_KNOWN_CODES: Final = 512
"""How many texts of code are remembered."""


class _CountingFile(io.FileIO):
    """A descriptor that remembers whether something was written through it."""

    written = 0

    def write(self, data: "io.ReadableBuffer") -> int:  # type: ignore[name-defined]
        self.written += 1
        return super().write(data) or 0


class OutputStreams:
    """Standard output and error of this process: both the pipe to the worker."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self.descriptor = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, high_number())
        self._raw = [_CountingFile(1, "w", closefd=False), _CountingFile(2, "w", closefd=False)]
        self._streams: list[TextIO] = [
            io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)
            for raw in self._raw
        ]
        sys.stdout, sys.stderr = self._streams

    def pass_on(self, data: bytes) -> None:
        """Write what a fork printed."""
        sent = os.write(self.descriptor, data)
        while sent < len(data):
            sent += os.write(self.descriptor, memoryview(data)[sent:])

    def end_call(self, number: int, printed: bool = False) -> bool:
        """Flush what a call printed and put a mark behind it. Returns whether anything was printed."""
        for stream in self._streams:
            stream.flush()
        for raw in self._raw:
            printed = printed or raw.written > 0
            raw.written = 0
        if printed:
            self.pass_on(self._mark + number.to_bytes(8, "little"))
        return printed


class CallServer:
    """Reads calls, runs them, answers."""

    def __init__(self, calls: int, answers: int, board: memoryview, prints: OutputStreams, forks: Forks) -> None:
        self._calls = calls
        self._answers = answers
        self._board = board
        self._prints = prints
        self._forks = forks
        self._preloaded = Preloaded()
        self._pure: dict[str, bool] = {}

    def serve(self) -> None:
        """Run until the worker closes its end."""
        self._write(ANSWER_HEAD.pack(0, 0, READY, 0.0))
        buffer = bytearray()
        while True:
            data = os.read(self._calls, 1 << 16)
            if not data:
                return
            buffer += data
            at = 0
            while len(buffer) - at >= CALL_HEAD.size:
                length, number = CALL_HEAD.unpack_from(buffer, at)
                end = at + CALL_HEAD.size + length
                if len(buffer) < end:
                    break
                body = bytes(memoryview(buffer)[at + CALL_HEAD.size : end])
                at = end
                self._handle(number, body)
            del buffer[:at]

    def _handle(self, number: int, body: bytes) -> None:
        board = self._board
        start = time.monotonic_ns()
        board[BEGUN_AT] = start
        board[BEGUN] = number  # first say so, then look: the worker does it the other way round
        if number <= board[RECALLED]:
            self._write(ANSWER_HEAD.pack(0, number, SKIPPED, 0.0))
            return
        call = decode_call(body)
        if self._is_pure(call):
            answer = python.run(call)
            kind, text = (FAILED, orjson.dumps(answer.error)) if isinstance(answer, Failed) else (DONE, answer.result)
            ran = StepAnswer(kind, text, (time.monotonic_ns() - start) / 1e9, printed=False)
        else:
            ran = self._fork(call)
        flag = PRINTED_FLAG if self._prints.end_call(number, ran.printed) else 0
        self._write(ANSWER_HEAD.pack(len(ran.body), number, ran.kind | flag, ran.seconds) + ran.body)

    def _is_pure(self, call: Call) -> bool:
        code = call.fields.get("code")
        if call.type != "python" or not isinstance(code, str):
            return False
        pure = self._pure.get(code)
        if pure is None:
            if len(self._pure) >= _MAX_KNOWN_CODES:
                del self._pure[next(iter(self._pure))]
            pure = self._pure[code] = is_pure(code)
            self._preloaded.load(call.type, imported_modules(code))
        return pure

    def _fork(self, call: Call) -> StepAnswer:
        if call.type == "python":
            python.compile_ahead(call)
        else:
            self._preloaded.load(call.type, ())
        if call.context.get("attempt", 1) > 1:
            end_leftovers(f"NOETL_IDEMPOTENCY_KEY={call.key}".encode())
        return self._forks.run(call)

    def _write(self, data: bytes) -> None:
        sent = os.write(self._answers, data)
        while sent < len(data):
            sent += os.write(self._answers, memoryview(data)[sent:])


def main() -> None:
    """Serve until the worker is gone."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))  # writing a core can take a minute
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as file:
        file.write(_OOM_SCORE_ADJ)
    inherited = [int(text) for text in sys.argv[1:4]]
    calls, answers, board = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, high_number()) for fd in inherited)
    for descriptor in inherited:
        os.close(descriptor)
    die_with_parent(True)
    adopt()
    forget_in_forks()
    prints = OutputStreams(bytes.fromhex(sys.argv[4]))
    del sys.argv[1:]
    page = mmap.mmap(board, 0)
    view = memoryview(page).cast("Q")

    def leave() -> None:
        view.release()
        page.close()

    forks = Forks(calls, (calls, answers, board, prints.descriptor), view, prints.pass_on, leave)
    with contextlib.suppress(WorkerGone, BrokenPipeError):
        CallServer(calls, answers, view, prints, forks).serve()
    os._exit(0)


if __name__ == "__main__":
    main()

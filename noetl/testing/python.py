"""The runner of Python code in tests: one child process, started when it is first needed.

The child is killed when a call overruns, and replaced; code that ends it fails its step, and never the tests.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Final

import orjson

from noetl.calls import Call
from noetl.outcomes import Done, Failed, error_value
from noetl.testing.python_child import ANSWER_HEADER, CALL_HEADER

REAL_LIMIT_SECONDS: Final = 10.0
"""Seconds that a call may really take where its step has no shorter timeout."""

START_LIMIT_SECONDS: Final = 60.0
_CHILD: Final = Path(__file__).with_name("python_child.py")
_READ_BYTES: Final = 1 << 16
_FIELDS: Final = tuple(field.name for field in fields(Call) if field.name != "auth")


class Overran(Exception):
    """The code ran longer than it may; the child has been killed."""


class PythonChild:
    """The child process. Use it as a context: the process ends with it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment`: all variables that the code can see."""
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._used = False

    def __enter__(self) -> "PythonChild":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, call: Call, limit: float) -> tuple[Done | Failed, str]:
        """Return the outcome of a call, and the text it printed. Raises `Overran` after `limit` seconds."""
        process = self._process or self._start()
        deadline = time.monotonic() + limit + (0 if self._used else START_LIMIT_SECONDS)
        body = orjson.dumps({name: getattr(call, name) for name in _FIELDS})
        assert process.stdin is not None
        try:
            process.stdin.write(CALL_HEADER.pack(len(body)) + body)
            process.stdin.flush()
            kind, size, printed = ANSWER_HEADER.unpack(self._read(process, ANSWER_HEADER.size, deadline))
            text, output = self._read(process, size, deadline), self._read(process, printed, deadline)
        except (EOFError, BrokenPipeError):
            return Failed(self._exited(call)), ""
        self._used = True
        outcome = Done(text) if kind else Failed(orjson.loads(text))
        return outcome, output.decode(errors="replace")

    def close(self) -> None:
        """End the child with everything it has started."""
        process, self._process, self._used = self._process, None, False
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        if self._lifeline is not None:
            os.close(self._lifeline)

    def _start(self) -> "subprocess.Popen[bytes]":
        ends, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_CHILD), json.dumps(sys.path), str(ends)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self._environment,
                pass_fds=(ends,),
                start_new_session=True,
                bufsize=-1,
            )
        finally:
            os.close(ends)
        return self._process

    def _read(self, process: "subprocess.Popen[bytes]", size: int, deadline: float) -> bytes:
        """Return `size` bytes of the child's answer. Raises `EOFError`, `Overran`."""
        assert process.stdout is not None
        descriptor, parts = process.stdout.fileno(), bytearray()
        while len(parts) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                self.close()
                raise Overran
            part = os.read(descriptor, min(size - len(parts), _READ_BYTES))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    def _exited(self, call: Call) -> dict[str, object]:
        """Return the error of a call that ended its process, in the words of a worker."""
        process, code = self._process, 0
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):  # its pipes end a moment before it does
                process.wait(timeout=1)
            self.close()
            code = process.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        text = f"{call.where}: the process that ran the step {how}"
        return error_value("runner_exited", text, retryable=True, detail={"process": how})

"""The child process that runs the python code of playbooks under test, one call after the other.

Frames both ways: a header, then JSON. It ends when its standard input does. What code prints goes into a file, of
which each answer carries the new part.
"""

import io
import json
import os
import struct
import sys
import tempfile
import threading
from typing import Final

ANSWER_HEADER: Final = struct.Struct(">BII")
"""Kind (1: done, 0: failed), bytes of the answer, bytes of what was printed."""

CALL_HEADER: Final = struct.Struct(">I")
MAX_PRINTED_BYTES: Final = 64 * 1024
"""Bytes of output kept per call: the last ones."""


def main() -> None:
    """Serve calls until standard input ends."""
    sys.path[:] = json.loads(sys.argv[1])
    calls, answers, lifeline = os.dup(0), os.dup(1), int(sys.argv[2])
    with tempfile.TemporaryFile() as printed:
        quiet = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((quiet, 0), (printed.fileno(), 1), (printed.fileno(), 2)):
            os.dup2(source, target)
        threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
        _serve(calls, answers, printed.fileno())


def _end_with_parent(lifeline: int) -> None:
    """End at once when the parent is gone, however busy the code is: nothing is ever written to the lifeline."""
    os.read(lifeline, 1)
    os._exit(1)


def _serve(calls: int, answers: int, printed: int) -> None:
    import orjson

    from noetl.calls import Call
    from noetl.outcomes import Failed
    from noetl.tools.python import run

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # so that prints and those of other processes keep their order
    while (head := _read(calls, CALL_HEADER.size)) is not None:
        body = _read(calls, CALL_HEADER.unpack(head)[0])
        if body is None:
            return
        answer = run(Call(**orjson.loads(body)))
        failed = isinstance(answer, Failed)
        text = orjson.dumps(answer.error) if isinstance(answer, Failed) else answer.result
        output = _printed(printed)
        _write(answers, ANSWER_HEADER.pack(not failed, len(text), len(output)) + text + output)


def _printed(file: int) -> bytes:
    """Return the text printed since the last time, and drop it."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    size = os.fstat(file).st_size
    if not size:
        return b""
    output = os.pread(file, MAX_PRINTED_BYTES, max(0, size - MAX_PRINTED_BYTES))
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    return output


def _read(descriptor: int, size: int) -> bytes | None:
    """Return `size` bytes, None at the end of the stream."""
    parts = bytearray()
    while len(parts) < size:
        part = os.read(descriptor, size - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _write(descriptor: int, data: bytes) -> None:
    sent = 0
    while sent < len(data):
        sent += os.write(descriptor, memoryview(data)[sent:])


if __name__ == "__main__":
    main()

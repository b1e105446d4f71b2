"""The protocol between a worker and its runner children: frames on two pipes, marks in the output, a shared board.

* Calls go down as `length, number` and the JSON of `[type, key, where, fields, args, limit, context, auth]`; several in
  one write.
* Answers come back one by one as `length, number, kind, seconds` and a body: a result's JSON, which the worker never
  decodes, or an error's.
* Prints go through a pipe of their own. Where a call printed, the child writes a mark behind it before it answers,
  so that the worker knows what belongs to it.
* A runner runs pure code (`pure_code`) itself, and everything else in a fork, which has
  pipes of its own to the runner: no step reaches these.
* The board is a page of shared memory: which call the child has begun and when, and up to which number the worker
  has recalled calls that the child had not begun.
"""

import signal
import struct
from typing import Any, Final

import orjson

from noetl.calls import Call
from noetl.outcomes import ErrorValue, error_value

CALL_HEAD: Final = struct.Struct("<IQ")
ANSWER_HEAD: Final = struct.Struct("<IQBd")

DONE: Final = 1
FAILED: Final = 2
READY: Final = 3  # the child has started; it carries no call
SKIPPED: Final = 4  # the call was recalled before it began
NO_PROCESS: Final = 5  # no process could be made for the call; the body says why
PRINTED_FLAG: Final = 128  # flag: the call printed, a mark with its number follows its output

BEGUN, BEGUN_AT, RECALLED, STEP = 0, 1, 2, 3
"""Places on the board, eight bytes each: number of the call begun last, its time (nanoseconds on the monotonic
clock, which all processes share), the greatest number recalled, and the process in which a call runs that has one
of its own: 0 where the runner itself runs it, 1 while that process is made."""

BOARD_BYTES: Final = 64


def encode_call(number: int, call: Call) -> bytes:
    """Return a call as a frame. Raises TypeError if fields or args are not plain JSON types.

    The context, which carries the workload, travels only with code that may name it.
    """
    code = call.fields.get("code")
    context = call.context
    if isinstance(code, str) and "context" not in code:
        context = {"attempt": context["attempt"]} if context.get("attempt", 1) > 1 else {}
    body = orjson.dumps(
        [call.type, call.key, call.where, call.fields, call.args, call.limit, context, call.auth], default=_mapping
    )
    return CALL_HEAD.pack(len(body), number) + body


def decode_call(body: bytes) -> Call:
    """Return the call of a frame's body."""
    type_, key, where, fields, args, limit, context, auth = orjson.loads(body)
    return Call(type_, key, where, fields, args, timeout=None, limit=limit, context=context, auth=auth)


def _mapping(value: Any) -> Any:
    if hasattr(value, "keys"):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is not JSON")


def process_ended(where: str, how: str) -> ErrorValue:
    """Return the error of a call whose process ended before it had answered; `how` as by `how_it_ended`."""
    text = f"{where}: the process that ran the step {how}"
    return error_value("runner_exited", text, retryable=True, detail={"process": how})


def how_it_ended(code: int | None) -> str:
    """Return in words how a process ended, by its return code: negative is a signal."""
    if code is None:
        return "could not be killed"
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"

"""The reason of a failure in lines that people read: one place for the command line, the API and pages.

An error value is `{type, message, retryable, detail, ...}`; the shape of `detail` is the tool's. A line holds no
control character, so that it can be printed anywhere.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

LINES: Final = 40
"""Lines of a reason; of a longer one the end is kept, where a traceback says most."""

BODY: Final = 12
"""Lines of an answer, or of what a command printed."""

WIDTH: Final = 400
"""Characters of a line."""

Place = Callable[[str, int], str | None]
"""From a step and a line of its code to `file, line N`, or None where that is not known."""

_FRAME: Final = re.compile(r'^(\s*)File "[^"]*#([^"]+)", line (\d+)(.*)$')
_SHOWN: Final = frozenset({"traceback", "exception", "line"})
_ASIDE: Final = frozenset({"headers", "elapsed", "position", "retryable"})
_TEXTS: Final = ("stdout", "stderr", "data", "sql")


def visible(text: str) -> str:
    """Return a line in which control characters are shown, not obeyed.

    >>> visible("a\\x1b[2Jb\\tc")
    'a\\\\x1b[2Jb\\tc'
    """
    return "".join(char if char.isprintable() or char == "\t" else _shown(char) for char in text)


def _shown(char: str) -> str:
    number = ord(char)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"


def heading(message: object) -> str:
    """Return the first line of an error's message, made visible."""
    lines = str(message or "").strip().splitlines()
    return visible(lines[0]) if lines else ""


def attempt_of(error: Mapping[str, object]) -> str:
    """Return `attempt 2 of 5` of an error whose step may be tried more than once, else nothing."""
    most, attempt = error.get("max_attempts"), error.get("attempt")
    return f"attempt {attempt} of {most}" if isinstance(most, int) and most > 1 and attempt else ""


def reason_lines(error: Mapping[str, object], place: Place | None = None) -> list[str]:
    """Return what an error says beyond the first line of its message: traceback, answer, output, SQL state."""
    lines = str(error.get("message") or "").strip().splitlines()[1:]
    detail = error.get("detail")
    if isinstance(detail, Mapping):
        lines += _traceback(detail, place)
        lines += _facts(detail)
    elif detail:
        lines += str(detail).strip().splitlines()
    if error.get("handler_error"):
        lines.append(f"no handler: {error['handler_error']}")
    kept = lines if len(lines) <= LINES else [f"{_left_out(len(lines) - LINES)} above", *lines[-LINES:]]
    return [_cut(visible(line)) for line in kept]


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."


def _traceback(detail: Mapping[str, object], place: Place | None) -> Iterator[str]:
    """Yield the traceback, its frames in the playbook's code with file and line of the file, where they are known."""
    told = detail.get("traceback")
    for line in told.strip().splitlines() if isinstance(told, str) else ():
        frame = _FRAME.match(line)
        found = (
            place(frame[2].removesuffix(" save"), int(frame[3])) if frame is not None and place is not None else None
        )
        yield f"{frame[1]}{found}{frame[4]}" if frame is not None and found is not None else line


def _facts(detail: Mapping[str, object]) -> Iterator[str]:
    """Yield the rest of what a tool kept, a line each; texts of several lines below their name."""
    for name, value in detail.items():
        if name in _SHOWN or name in _ASIDE or name == "error" or value in (None, "", {}, []):
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        lines = text.strip("\n").splitlines()
        label = name.replace("_", " ")
        if name not in _TEXTS or len(lines) < 2:
            yield f"{label}: {' '.join(lines)}"
            continue
        yield f"{label}:"
        if len(lines) <= BODY:
            yield from (f"  {line}" for line in lines)
        elif name in ("stdout", "stderr"):
            yield f"  {_left_out(len(lines) - BODY)} above"
            yield from (f"  {line}" for line in lines[-BODY:])
        else:
            yield from (f"  {line}" for line in lines[:BODY])
            yield f"  {_left_out(len(lines) - BODY)} below"


def _left_out(count: int) -> str:
    return f"... {count} more line{'' if count == 1 else 's'}"

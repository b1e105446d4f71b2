"""Run a command: `command` as a list is its argv, as text it is given to `sh -c`.

Runs in a runner child, in the child's process group: whoever ends the runner ends the command with all it started.
What it prints is in the result, and goes on to the runner's own output as it comes, so that the output of a command
that was killed is not lost. Imported by every runner child, hence light.
"""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any, Final

from noetl.errors import TooLarge
from noetl.playbook.values import plain
from noetl.tools.base import Call, Done, Failed, Tool, error, storable

KEPT: Final = 16 * 1024
"""How much of each stream an error keeps, in bytes: the last ones."""

LINGER: Final = 1.0
"""Seconds that output is still waited for when the command has ended and something it started holds its pipes."""

_CHUNK: Final = 1 << 16


class _Invalid(Exception):
    """A field is missing or wrong."""


def run(call: Call) -> Done | Failed:
    """Run the command and return `{exit_code, stdout, stderr}`.

    Errors: `validation` (a field is wrong, no such program), `shell` (it ended with another code than 0; retryable,
    `detail` has code and output), `too_large`.
    """
    try:
        argv, environment, folder = _command(call), _environment(call), _folder(call)
        process = _start(argv, environment, folder)
    except _Invalid as failure:
        return Failed(error("validation", storable(f"{call.where}: {failure}")))
    try:
        stdout, stderr = _read(process, call.limit)
    except TooLarge as failure:
        process.kill()
        process.wait()
        return Failed(error("too_large", storable(f"{call.where}: {failure}")))
    return _answer(call, process.wait(), stdout, stderr)


# ---- what is to be run -----------------------------------------------------------------------------------------------


def _command(call: Call) -> list[str]:
    given = call.fields.get("command")
    if isinstance(given, str) and given.strip():
        return ["/bin/sh", "-c", _argument("command", given)]
    if isinstance(given, list) and given:
        return [_argument(f"command[{place}]", part) for place, part in enumerate(given)]
    raise _Invalid(f"command is {given!r}: write a text for the shell, or a list of the program and its arguments")


def _argument(name: str, value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _Invalid(f"{name} is a {type(value).__name__}: it must be text")
    if "\0" in value:
        raise _Invalid(f"{name} contains a NUL character, which no command can be given")
    return value


def _environment(call: Call) -> dict[str, str]:
    """Return the runner's few variables, those of `env`, and the idempotency key."""
    given = call.fields.get("env")
    if given is not None and not isinstance(given, Mapping):
        raise _Invalid(f"env must be a mapping, not a {type(given).__name__}")
    own = {name: _variable(name, value) for name, value in (given or {}).items() if value is not None}
    return {**os.environ, "NOETL_IDEMPOTENCY_KEY": call.key, **own}


def _variable(name: str, value: Any) -> str:
    if not name or "=" in name or "\0" in name:
        raise _Invalid(f"env: {name!r} is no name for a variable")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return plain(value, 1 << 20, f"env.{name}").decode()
    return _argument(f"env.{name}", value)


def _folder(call: Call) -> str | None:
    given = call.fields.get("cwd")
    if given is None or (isinstance(given, str) and os.path.isdir(given)):
        return given
    raise _Invalid(f"cwd is {given!r}: there is no such folder")


def _start(argv: list[str], environment: Mapping[str, str], folder: str | None) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            argv,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError:
        raise _Invalid(f"there is no program {argv[0]!r} on the worker's machine") from None
    except (OSError, ValueError) as failure:
        raise _Invalid(f"{argv[0]!r} cannot be started: {failure}") from None


# ---- what it prints --------------------------------------------------------------------------------------------------


def _read(process: "subprocess.Popen[bytes]", limit: int) -> tuple[bytes, bytes]:
    """Return both streams. Raises `TooLarge` as soon as together they are over the limit."""
    assert process.stdout is not None
    assert process.stderr is not None
    streams = {process.stdout.fileno(): (1, bytearray()), process.stderr.fileno(): (2, bytearray())}
    taken, ended_at = 0, None
    with process.stdout, process.stderr, selectors.DefaultSelector() as selector:
        for descriptor in streams:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(LINGER / 4)
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fd)
                    continue
                own, text = streams[key.fd]
                os.write(own, data)
                text += data
                taken += len(data)
                if taken > limit:
                    raise TooLarge(
                        f"the command printed more than {limit:,} bytes: write to a file and print where it is"
                    )
            if process.poll() is None:
                continue
            ended_at = ended_at or time.monotonic()
            if not ready and time.monotonic() - ended_at > LINGER:
                break  # something it started in the background holds the pipes: what it prints is nobody's
    (_, stdout), (_, stderr) = streams.values()
    return bytes(stdout), bytes(stderr)


def _answer(call: Call, code: int, stdout: bytes, stderr: bytes) -> Done | Failed:
    if code == 0:
        result = {"exit_code": 0, "stdout": _text(stdout), "stderr": _text(stderr)}
        try:
            return Done(plain(result, call.limit))
        except TooLarge as failure:
            return Failed(error("too_large", storable(f"{call.where}: {failure}")))
    kept = _text(stderr[-KEPT:])
    detail = {"exit_code": code, "stdout": _text(stdout[-KEPT:]), "stderr": kept}
    lines = kept.strip().splitlines()
    said = f": {lines[-1][:500]}" if lines else ""
    return Failed(
        error("shell", storable(f"{call.where}: the command {how_it_ended(code)}{said}"), retryable=True, detail=detail)
    )


def how_it_ended(code: int) -> str:
    """Say how a process ended, by its code: negative is a signal, as is what a shell makes of it (128 + signal)."""
    number = -code if code < 0 else code - 128
    if number > 0:
        try:
            return f"was ended by {signal.Signals(number).name} (exit code {code})"
        except ValueError:
            pass  # no signal has this number: it is a code like any other
    return f"ended with exit code {code}"


def _text(data: bytes) -> str:
    """Return output as text that can be stored; bytes that are not UTF-8 are written as `\\xff`."""
    return storable(data.decode("utf-8", "backslashreplace"), 1 << 62)


TOOL: Final = Tool("shell", "runner", run, default_timeout=3600.0)

"""The shell tool: a `command`, as a list its argv, as text run by `bash -eo pipefail` or by `sh -e`.

The text reaches the shell as a file in memory: nobody sees it in the list of processes, and it may be of any size. So
may `stdin`. It runs in a fork of a runner, which ends all that the command has started. Its output is in the result,
and is passed on to the runner's own as it comes, so that a killed command's output is not lost.
Imported by every runner child, hence light.
"""

import contextlib
import errno
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from noetl.calls import Call
from noetl.errors import TooLarge
from noetl.outcomes import Done, Failed
from noetl.playbook.values import plain
from noetl.rules.choices import SHELLS
from noetl.rules.text import storable
from noetl.tools.base import InvalidCall, Tool, failed_at

ERROR_OUTPUT_BYTES: Final = 16 * 1024
"""The end of each stream that an error keeps."""

LINGER_SECONDS: Final = 1.0
"""How long output is waited for when the command has ended and a process that it started holds its pipes."""

_CHUNK_BYTES: Final = 1 << 16


def run(call: Call) -> Done | Failed:
    """Run the command and return `{exit_code, stdout, stderr}`.

    Errors: `validation` (a field is wrong, no such program), `shell` (it ended with another code than 0; retryable,
    `detail` has code and output), `too_large`.
    """
    with contextlib.ExitStack() as files:
        try:
            process = _start(_command_of(call, files))
        except (InvalidCall, TooLarge) as failure:
            return failed_at(call.where, "validation", failure)
    try:
        stdout, stderr = _read(process, call.limit)
    except TooLarge as failure:
        process.kill()
        process.wait()
        return failed_at(call.where, "too_large", failure)
    return _answer(call, process.wait(), stdout, stderr)


# ---- the call's fields -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ShellCommand:
    """A command to start: `script` is the descriptor of its text, `stdin` that of its input."""

    argv: list[str]
    script: tuple[int, ...]
    stdin: int
    environment: Mapping[str, str]
    folder: str | None


def _command_of(call: Call, files: contextlib.ExitStack) -> _ShellCommand:
    """Return the command of a call; `files` closes the descriptors. Raises `InvalidCall`."""
    command, shell = call.fields.get("command"), call.fields.get("shell")
    environment, folder, stdin = _environment(call), _folder(call), _stdin(call, files)
    if isinstance(command, str) and command.strip():
        script = _file(_argument("command", command).encode(), files)
        return _ShellCommand([*_interpreter(shell), f"/dev/fd/{script}"], (script,), stdin, environment, folder)
    if not isinstance(command, list) or not command:
        raise InvalidCall(
            f"command is {command!r}: write a text for the shell, or a list of the program and its arguments"
        )
    if shell is not None:
        raise InvalidCall(
            f"shell is {shell!r}, and command a list, which no shell reads: make it a text, or leave shell out"
        )
    argv = [_argument(f"command[{place}]", part) for place, part in enumerate(command)]
    return _ShellCommand(argv, (), stdin, environment, folder)


def _interpreter(shell: object) -> list[str]:
    """Return the interpreter that the field `shell` names; by default bash where there is one, else sh."""
    if shell is not None and shell not in SHELLS:
        raise InvalidCall(f"shell is {shell!r}: write bash or sh, or make command a list that begins with the program")
    bash = shutil.which("bash") if shell != "sh" else None
    if bash is not None:
        return [bash, "-eo", "pipefail"]
    if shell == "bash":
        raise InvalidCall("shell is 'bash', and there is none on the worker's machine: install it, or write shell: sh")
    return ["/bin/sh", "-e"]


def _stdin(call: Call, files: contextlib.ExitStack) -> int:
    """Return the descriptor of the command's input: text unchanged, other values as JSON, nothing for null."""
    value = call.fields.get("stdin")
    if value is None:
        return subprocess.DEVNULL
    return _file(value.encode() if isinstance(value, str) else plain(value, call.limit, "stdin"), files)


def _file(content: bytes, files: contextlib.ExitStack) -> int:
    """Return the descriptor of a file in memory, at its beginning."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("noetl-shell")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    files.callback(os.close, descriptor)
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _argument(name: str, value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidCall(f"{name} is a {type(value).__name__}: it must be text")
    if "\0" in value:
        raise InvalidCall(f"{name} contains a NUL character, which no command can be given")
    return value


def _environment(call: Call) -> dict[str, str]:
    """Return the runner's few variables, those of `env`, and the idempotency key."""
    env = call.fields.get("env")
    if env is not None and not isinstance(env, Mapping):
        raise InvalidCall(f"env must be a mapping, not a {type(env).__name__}")
    own_variables = {name: _variable(name, value) for name, value in (env or {}).items() if value is not None}
    return {**os.environ, "NOETL_IDEMPOTENCY_KEY": call.key, **own_variables}


def _variable(name: str, value: object) -> str:
    if not name or "=" in name or "\0" in name:
        raise InvalidCall(f"env: {name!r} is not a valid name of a variable")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return plain(value, 1 << 20, f"env.{name}").decode()
    return _argument(f"env.{name}", value)


def _folder(call: Call) -> str | None:
    folder = call.fields.get("cwd")
    if folder is None or (isinstance(folder, str) and os.path.isdir(folder)):
        return folder
    raise InvalidCall(f"cwd is {folder!r}: there is no such folder")


def _start(command: _ShellCommand) -> "subprocess.Popen[bytes]":
    program = command.argv[0]
    try:
        return subprocess.Popen(
            command.argv,
            env=command.environment,
            cwd=command.folder,
            stdin=command.stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=command.script,
        )
    except FileNotFoundError:
        raise InvalidCall(f"there is no program {program!r} on the worker's machine") from None
    except (OSError, ValueError) as failure:
        large = ": give large values in 'stdin'" if getattr(failure, "errno", None) == errno.E2BIG else ""
        raise InvalidCall(f"{program!r} cannot be started: {failure}{large}") from None


# ---- the output ------------------------------------------------------------------------------------------------------


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
            ready = selector.select(LINGER_SECONDS / 4)
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK_BYTES)
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
            if not ready and time.monotonic() - ended_at > LINGER_SECONDS:
                break  # something it started in the background holds the pipes: what it prints is nobody's
    (_, stdout), (_, stderr) = streams.values()
    return bytes(stdout), bytes(stderr)


def _answer(call: Call, code: int, stdout: bytes, stderr: bytes) -> Done | Failed:
    if code == 0:
        result = {"exit_code": 0, "stdout": _text(stdout), "stderr": _text(stderr)}
        try:
            return Done(plain(result, call.limit))
        except TooLarge as failure:
            return failed_at(call.where, "too_large", failure)
    kept_stderr = _text(stderr[-ERROR_OUTPUT_BYTES:])
    detail = {"exit_code": code, "stdout": _text(stdout[-ERROR_OUTPUT_BYTES:]), "stderr": kept_stderr}
    lines = kept_stderr.strip().splitlines()
    last_line = f": {lines[-1][:500]}" if lines else ""
    problem = f"the command {how_it_ended(code)}{last_line}"
    return failed_at(call.where, "shell", problem, retryable=True, detail=detail)


def how_it_ended(code: int) -> str:
    """Return how a process ended, by its code: a negative one is a signal, as is 128 + signal from a shell."""
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


TOOL: Final = Tool("shell", run, default_timeout=3600.0)

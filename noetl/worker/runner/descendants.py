"""The descendants of a step: processes that it started end with it.

A runner is a subreaper: a process whose parent is gone becomes the runner's child, whatever group or session it has
made for itself. So nothing that a step started can get away from its runner.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Final

IS_LINUX: Final = sys.platform == "linux"

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_END_SECONDS: Final = 5.0
"""Seconds after which processes that cannot be killed (in a call of the kernel that does not end) are let be."""

_libc: Final = ctypes.CDLL(None, use_errno=True) if IS_LINUX else None


def adopt() -> None:
    """Become the parent of all descendants that lose theirs. Elsewhere than on Linux only groups are ended."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(wanted: bool) -> None:
    """Have the kernel kill this process when its parent ends, or no longer. Linux only."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL if wanted else 0)


def end_descendants() -> None:
    """Kill and reap all processes that are left of a step; its own process has been reaped."""
    limit = time.monotonic() + _END_SECONDS
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            continue
        for child in _children(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        if time.monotonic() > limit:
            return
        time.sleep(0.0005)


def end_leftovers(mark: bytes) -> None:
    """Kill the processes whose environment began with a mark: those that an earlier attempt left on this machine."""
    own = os.getpid()
    for pid in _processes():
        with contextlib.suppress(OSError):
            if pid != own and mark in _read(f"/proc/{pid}/environ").split(b"\0"):
                os.kill(pid, signal.SIGKILL)


def _children(parent: int) -> Iterator[int]:
    for pid in _processes():
        with contextlib.suppress(OSError):
            if int(_read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[1]) == parent:
                yield pid


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()] if IS_LINUX else []


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()

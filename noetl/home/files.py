"""Folders and files that nobody but the account that runs NoETL may read: modes 0700 and 0600, whatever the umask."""

import os
import stat
from contextlib import suppress
from pathlib import Path

UMASK = 0o077
"""The umask of every process of ours that outlives a command: what it and its steps write belongs to its account."""

_MODE_OF_OTHERS = 0o077
_NAMES_IN_HOME = ("token", "encryption.key", "instance", "server.pid", "start.lock", "postgres", "logs")
_SHARED_FOLDER = Path("/var/lib/noetl")
"""As root the embedded database is below this folder, under an account that has to get there."""


def make_home(home: Path) -> None:
    """Make a home with mode 0700; take the rights of others from one that is there. Raises OSError.

    A folder that holds other things than NoETL's keeps its mode: others may need it.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if home == _SHARED_FOLDER or os.path.ismount(home):
        return
    names = set(os.listdir(home))
    if not names or not names.isdisjoint(_NAMES_IN_HOME):
        _close(home)


def make_folder(folder: Path) -> None:
    """Make a folder of a home with mode 0700; take the rights of others from one that is there. Raises OSError."""
    folder.mkdir(mode=0o700, exist_ok=True)
    _close(folder)


def _close(folder: Path) -> None:
    status = folder.stat()
    if status.st_mode & _MODE_OF_OTHERS and status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX:
        folder.chmod(stat.S_IMODE(status.st_mode) & ~_MODE_OF_OTHERS)


def open_file(path: Path, flags: int) -> int:
    """Open a file, made with mode 0600 where there is none, and return its descriptor. Raises OSError."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.fstat(descriptor).st_mode & _MODE_OF_OTHERS:
        with suppress(PermissionError):  # of another account: it was let in by that one
            os.fchmod(descriptor, 0o600)
    return descriptor


def replace_file(path: Path, text: str) -> None:
    """Write a file with mode 0600 so that nobody reads half of it. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    write_new(temporary, text)
    temporary.replace(path)


def write_new(path: Path, text: str) -> None:
    """Write a new file with mode 0600, in place of one that was left. Raises OSError."""
    path.unlink(missing_ok=True)
    with os.fdopen(open_file(path, os.O_WRONLY | os.O_EXCL), "w") as file:
        file.write(text)

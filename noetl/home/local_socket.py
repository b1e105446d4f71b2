"""The Unix socket of a home's server: `NOETL_HOME/run/server.sock`, in a folder with mode 0700.

Nobody else can put a socket there, so that the process behind it is one of this account: a client may give it the
home's token. A TCP port has no such owner; once its server has ended, any account of the machine may listen on it.
"""

import os
import socket
import struct
from pathlib import Path

from noetl.home.files import make_folder, make_home

SOCKET_FOLDER, SOCKET_NAME = "run", "server.sock"

_MAX_PATH_BYTES = 100
"""Bytes that the path of a socket may have on every system."""


class Untrusted(OSError):
    """The socket, or its folder, is not in the hands of this account alone."""


def path_of(home: Path) -> Path:
    """Return where the socket of a home is."""
    return home / SOCKET_FOLDER / SOCKET_NAME


def listen(home: Path) -> socket.socket:
    """Return the listening socket of a home, in place of one that a killed server left. Raises OSError."""
    make_home(home)
    make_folder(home / SOCKET_FOLDER)
    folder = _open_folder(home / SOCKET_FOLDER)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path_of(home).unlink(missing_ok=True)
        server.bind(_address(home, folder))
        path_of(home).chmod(0o600)
        server.listen(1024)
    except OSError:
        server.close()
        raise
    finally:
        os.close(folder)
    return server


def connect(home: Path, timeout: float | None) -> socket.socket:
    """Return a connection to a home's server.

    Raises `Untrusted` where somebody else could be behind the socket, OSError where nobody is.
    """
    folder = _open_folder(home / SOCKET_FOLDER)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.settimeout(timeout)
        client.connect(_address(home, folder))
        if (owner := _account_of(client)) not in _ours():
            raise Untrusted(f"its process belongs to account {owner}, not to this one")
    except BaseException:
        client.close()
        raise
    finally:
        os.close(folder)
    return client


def _open_folder(folder: Path) -> int:
    """Open the socket's folder and look that nobody else may write there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if status.st_uid not in _ours() or status.st_mode & 0o077:
        os.close(descriptor)
        raise Untrusted(f"{folder} belongs to another account, or is open to others")
    return descriptor


def _ours() -> set[int]:
    """Return the accounts that are trusted with the token: this one, and root, from whom nothing can be kept."""
    return {os.geteuid(), 0}


def _address(home: Path, folder: int) -> str:
    """Return a path to the socket that is short enough for the system, by way of the open folder where it must be."""
    path = path_of(home)
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        return str(path)
    return f"/proc/self/fd/{folder}/{SOCKET_NAME}"


def _account_of(client: socket.socket) -> int:
    """Return the account of the process that listens; where the system does not tell, the folder has to do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.geteuid()
    _pid, account, _group = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(account)

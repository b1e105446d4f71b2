"""The sockets on which a server listens: a TCP port, and the Unix socket of its home."""

import errno
import logging
import socket
from pathlib import Path

from noetl.errors import Conflict, InputError
from noetl.home import local_socket
from noetl.settings import DEFAULT_PORT

log = logging.getLogger("noetl.server")

PORTS_TRIED = 200
"""Number of ports tried, from the default one on, where none was given."""


def bind(host: str, port: int | None) -> socket.socket:
    """Return a listening socket; without a port on 8082 or the next free one.

    Raises `Conflict` where a given port is taken, and `InputError` where the host cannot be bound.
    """
    ports = [port] if port is not None else list(range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED))
    try:
        addresses = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InputError(f"host is {host!r}, which cannot be resolved: {error.strerror or error}") from None
    family, address = addresses[0][0], addresses[0][4]
    for number in ports:
        server = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named: asyncio sets NODELAY by it
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((address[0], number))
            server.listen(1024)
        except OSError as error:
            server.close()
            if error.errno == errno.EADDRINUSE and port is None:
                continue
            if error.errno == errno.EADDRINUSE:
                raise Conflict(f"port {number} of {host} is taken: give another one with --port") from None
            raise InputError(f"{host} port {number} cannot be bound: {error.strerror}") from None
        return server
    raise Conflict(f"the ports {ports[0]} to {ports[-1]} of {host} are all taken: give one with --port")


def bind_home(home: Path) -> socket.socket | None:
    """Return the listening socket of a home; None, with a warning, where its file system can have none."""
    try:
        return local_socket.listen(home)
    except OSError as error:
        log.warning(
            "%s cannot be listened on (%s): commands need --host, --port and NOETL_API_TOKEN",
            local_socket.path_of(home),
            error.strerror or error,
        )
        return None

"""A relay between clients and a Postgres, whose connections can freeze: they stay open, and nothing comes any more."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Relay:
    """Listen on the loopback address and pass on what comes, both ways, with two threads for each connection."""

    def __init__(self, conninfo: str) -> None:
        self._target = conninfo_to_dict(conninfo)
        self._conninfo = conninfo
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._frozen: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    @property
    def conninfo(self) -> str:
        """Return the connection string that leads through here."""
        host, port = self._listening.getsockname()
        return make_conninfo(self._conninfo, host=host, port=port)

    def freeze(self) -> None:
        """Let nothing more through on the connections that there are; new ones are served."""
        self._frozen |= set(self._sockets)

    def close(self) -> None:
        """End it, with every connection."""
        for one in (self._listening, *self._sockets):
            with suppress(OSError):  # its other side may have ended it
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the end of listening
            while True:
                client, _ = self._listening.accept()
                server = self._connect()
                self._sockets += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._copy, args=pair, name="relay", daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = str(self._target.get("host", "")), int(self._target.get("port") or 5432)
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # one side has ended the connection
            while data := source.recv(65536):
                if source not in self._frozen:
                    target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


@contextmanager
def a_relay(conninfo: str) -> Iterator[Relay]:
    """Run a relay to the server of a connection string."""
    relay = Relay(conninfo)
    try:
        yield relay
    finally:
        relay.close()

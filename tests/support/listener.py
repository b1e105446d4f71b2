"""A listener that is no server of NoETL: it writes down what it is sent, and answers as it is told to."""

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
LIMIT = 30.0


class Listener:
    """Listen on loopback; `answers` are given one per request, a None or the end of them closes the connection.

    `keep`: an answered connection stays open for the next request, else it is closed behind each answer.
    """

    def __init__(self, answers: Sequence[bytes | None] = (), *, port: int = 0, keep: bool = True) -> None:
        self._answers = list(answers)
        self._keep = keep
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = int(self._socket.getsockname()[1])
        self.heard: list[bytes] = []
        self.connections = 0
        self._peer: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def text(self) -> bytes:
        """Return everything it was sent."""
        return b"".join(self.heard)

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):  # it may be closed already
            if self._peer is not None:
                self._peer.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT)
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return  # it was shut down
            self.connections += 1
            self._peer = peer
            with peer:
                peer.settimeout(LIMIT)
                while self._one(peer) and self._keep:
                    pass

    def _one(self, peer: socket.socket) -> bool:
        """Take one request and answer it; tell whether the connection goes on."""
        request = b""
        while b"\r\n\r\n" not in request:
            part = peer.recv(65536)
            if not part:
                return False
            request += part
        head, _, body = request.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        while len(body) < int((lengths or [b"0"])[0]):
            part = peer.recv(65536)
            request, body = request + part, body + part
        self.heard.append(request)
        answer = self._answers.pop(0) if self._answers else None
        if answer is None:
            return False
        peer.sendall(answer)
        return True

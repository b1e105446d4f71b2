"""The client of a server: one connection, JSON both ways, the event stream as an iterator.

The standard library's client does it; its import is a tenth of what a larger one costs, and `noetl execute` is
called often.

A server closes connections that are idle, and may end at any moment. So a connection is used again for a moment only,
and a call whose answer was lost is repeated where a second one does no more than the first.
"""

import json
import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

from noetl.cli.connection.address import ServerLocation, find_server, known_instance, token_for
from noetl.cli.json_object import JsonObject
from noetl.errors import AnswerLost, Conflict, InputError, NotFound, Unauthorized, Unreachable
from noetl.home import local_socket
from noetl.settings import Settings

ANSWER_SECONDS = 60.0
"""Seconds to wait for an answer. The stream sends something every 15 s."""

IDLE_SECONDS = 2.0
"""How long a connection may be idle and be used again: far less than the server keeps one."""

_ERROR_OF_STATUS: dict[int, type[Exception]] = {401: Unauthorized, 404: NotFound, 409: Conflict, 503: Unreachable}


class _LocalConnection(HTTPConnection):
    """HTTP through the socket of a home's server."""

    def __init__(self, home: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._home = home

    def connect(self) -> None:
        self.sock = local_socket.connect(self._home, self.timeout)


class Client:
    """A connection to one server."""

    def __init__(self, location: ServerLocation, token: str | None = None) -> None:
        self.location = location
        self._token = token
        self._connection: HTTPConnection | None = None
        self._used = 0.0  # when the last answer was read, by the monotonic clock

    @property
    def address(self) -> str:
        """Return where the server is, for people."""
        return self.location.address if self.location.home is None else str(local_socket.path_of(self.location.home))

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """Return the JSON at a path. Raises the error that the server answers with."""
        return self._call("GET", path, query=query, repeat=True)

    def post(self, path: str, body: Mapping[str, object], *, repeat: bool = False) -> Any:
        """Send JSON to a path and return the answer; with `repeat` once more if the answer is lost.

        Raises the error that the server answers with, and `AnswerLost`.
        """
        return self._call("POST", path, body=json.dumps(body).encode(), repeat=repeat)

    def delete(self, path: str) -> Any:
        """Remove what is at a path and return the answer, None where a repeated call found it removed.

        Raises the error that the server answers with.
        """
        try:
            return self._call("DELETE", path)
        except AnswerLost:
            with suppress(NotFound):
                return self._call("DELETE", path)
            return None

    def items(self, path: str, query: Mapping[str, object] | None = None, limit: int | None = None) -> list[Any]:
        """Return the items of a list, of all its pages up to `limit`."""
        items: list[Any] = []
        parameters = {**(query or {}), "limit": min(limit or 500, 500)}
        while True:
            page = self.get(path, parameters)
            items += page["items"]
            if page["next"] is None or (limit is not None and len(items) >= limit):
                return items[:limit]
            parameters["after"] = page["next"]

    def events(self, execution_id: str, after: int) -> Iterator[JsonObject]:
        """Give the events of an execution as they happen, until it has ended. Raises `Unreachable` on a break."""
        path = f"/api/executions/{segment(execution_id)}/stream?" + urlencode({"after": after})
        try:
            response = self._send("GET", path, None)
            if response.status != 200:
                self._raise(response.status, response.read())
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        except (OSError, HTTPException) as error:
            raise self._lost(error) from None
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: bytes | None = None,
        repeat: bool = False,
    ) -> Any:
        parameters = {name: value for name, value in (query or {}).items() if value not in (None, [], ())}
        if parameters:
            path += "?" + urlencode(parameters, doseq=True)
        try:
            status, text = self._exchange(method, path, body)
        except AnswerLost:
            if not repeat:
                raise
            status, text = self._exchange(method, path, body)
        if status >= 400:
            self._raise(status, text)
        return self._json(text)

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Return status and body of one call's answer. Raises `Unreachable`, `AnswerLost`."""
        try:
            response = self._send(method, path, body)
            text = response.read()
        except (OSError, HTTPException) as error:
            self.close()
            raise self._lost(error) from None
        self._used = monotonic()
        return response.status, text

    def _send(self, method: str, path: str, body: bytes | None) -> HTTPResponse:
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = self._open()
        # A body refused for its size is answered before all of it was taken: the answer is there to be read.
        with suppress(BrokenPipeError):
            connection.request(method, path, body, headers)
        return connection.getresponse()

    def _open(self) -> HTTPConnection:
        """Return a connection that is open: the last one if it was in use just now, else a new one."""
        if self._connection is not None and self._is_fresh(self._connection.sock):
            return self._connection
        self.close()
        connection = self._connect()
        try:
            connection.connect()
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise Unreachable(f"no server can be reached at {self.address} ({reason}): noetl server start") from None
        self._connection = connection
        return connection

    def _connect(self) -> HTTPConnection:
        if self.location.home is not None:
            return _LocalConnection(self.location.home)
        parts = urlsplit(self.location.address)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)

    def _is_fresh(self, sock: socket.socket | None) -> bool:
        """Tell whether a connection may be used again: idle for a moment only, and not closed by the server."""
        if sock is None or monotonic() - self._used > IDLE_SECONDS:
            return False
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return not poll.poll(0)

    def _json(self, text: bytes) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise Unreachable(f"what answers at {self.address} is not a NoETL server") from None

    def _raise(self, status: int, text: bytes) -> NoReturn:
        problem = self._json(text)
        problem = problem.get("error") if isinstance(problem, dict) else None
        if not isinstance(problem, dict):
            raise Unreachable(f"what answers at {self.address} is not a NoETL server")
        raise _ERROR_OF_STATUS.get(status, InputError)(str(problem.get("message")))

    def _lost(self, error: Exception) -> Unreachable:
        """Return the error of a call that was sent, at least in part, and got no whole answer."""
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            return Unreachable(f"the server at {self.address} gave no answer within {ANSWER_SECONDS:.0f} s")
        return AnswerLost(
            f"the server at {self.address} went away before it answered ({reason}): whether the call took effect is not"
            " known"
        )


def segment(text: str) -> str:
    """Return a text as one part of a path."""
    return quote(text, safe="")


def connect(settings: Settings, host: str | None = None, port: int | None = None) -> Client:
    """Return a client of the server that belongs to these settings.

    Raises `Unreachable` where none answers, and at an address that was named `Conflict` where one of another instance
    does, `Unauthorized` and `SettingsError` where there is no token for it. The token goes along only afterwards.
    """
    location = find_server(settings, host, port)
    if location.home is None:
        _check_instance(Client(location), settings)
    return Client(location, token_for(location, settings))


def _check_instance(client: Client, settings: Settings) -> None:
    for _ in range(2):  # a schema may be made anew between the two looks
        served = _served_instance(client)
        own = known_instance(settings)
        if served is None or own is None or served == own:
            client.close()
            return
    raise Conflict(
        f"the server at {client.address} serves instance {served}, but the instance of {settings.home} is {own}:"
        " set NOETL_HOME to that server's, or start your own (noetl server start)"
    )


def _served_instance(client: Client) -> str | None:
    alive = client.get("/livez")
    if not isinstance(alive, dict) or alive.get("status") != "alive":
        raise Unreachable(f"what answers at {client.address} is not a NoETL server")
    instance = alive.get("instance")
    return None if instance is None else str(instance)

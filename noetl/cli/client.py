"""Talk to a server: one connection, JSON both ways, the event stream as an iterator.

The standard library's client does it; its import is a tenth of what a larger one costs, and `noetl execute` is
called often.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from noetl.cli.address import find_address, known_instance, read_token
from noetl.errors import Conflict, InputError, NotFound, Unauthorized, Unreachable
from noetl.settings import Settings

TIMEOUT = 60.0
"""Seconds to wait for an answer. The stream sends something every 15 s."""

_RAISES: dict[int, type[Exception]] = {401: Unauthorized, 404: NotFound, 409: Conflict, 503: Unreachable}


class Client:
    """A connection to one server."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address = address
        self._token = token
        self._connection: HTTPConnection | None = None

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON at a path. Raises the error that the server answers with."""
        return self._call("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send JSON to a path and return the answer. Raises the error that the server answers with."""
        return self._call("POST", path, body=json.dumps(body).encode())

    def delete(self, path: str) -> Any:
        """Remove what is at a path and return the answer. Raises the error that the server answers with."""
        return self._call("DELETE", path)

    def items(self, path: str, query: Mapping[str, Any] | None = None, limit: int | None = None) -> list[Any]:
        """Return the items of a list, of all its pages up to `limit`."""
        found: list[Any] = []
        given = {**(query or {}), "limit": min(limit or 500, 500)}
        while True:
            page = self.get(path, given)
            found += page["items"]
            if page["next"] is None or (limit is not None and len(found) >= limit):
                return found[:limit]
            given["after"] = page["next"]

    def events(self, execution_id: str, after: int) -> Iterator[dict[str, Any]]:
        """Give the events of an execution as they happen, until it has ended. Raises `Unreachable` on a break."""
        path = f"/api/executions/{segment(execution_id)}/stream?" + urlencode({"after": after})
        response = self._send("GET", path, None)
        if response.status != 200:
            self._raise(response)
        try:
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _call(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: bytes | None = None
    ) -> Any:
        given = {name: value for name, value in (query or {}).items() if value not in (None, [], ())}
        if given:
            path += "?" + urlencode(given, doseq=True)
        response = self._send(method, path, body)
        try:
            text = response.read()
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from None
        if response.status >= 400:
            self._raise(response, text)
        return self._json(text)

    def _send(self, method: str, path: str, body: bytes | None) -> HTTPResponse:
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        fresh = self._connection is None
        connection = self._open()
        try:
            # A body refused for its size is answered before all of it was taken: the answer is there to be read.
            with suppress(BrokenPipeError):
                connection.request(method, path, body, headers)
            return connection.getresponse()
        except (OSError, HTTPException) as error:
            self.close()
            if not fresh and method == "GET":
                return self._send(method, path, body)
            raise self._unreachable(error) from None

    def _open(self) -> HTTPConnection:
        if self._connection is None:
            parts = urlsplit(self.address)
            kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
            self._connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
        return self._connection

    def _json(self, text: bytes) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise Unreachable(f"what answers at {self.address} is not a NoETL server") from None

    def _raise(self, response: HTTPResponse, text: bytes | None = None) -> None:
        problem = self._json(response.read() if text is None else text)
        problem = problem.get("error") if isinstance(problem, dict) else None
        if not isinstance(problem, dict):
            raise Unreachable(f"what answers at {self.address} is not a NoETL server")
        raise _RAISES.get(response.status, InputError)(str(problem.get("message")))

    def _unreachable(self, error: Exception) -> Unreachable:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Unreachable(f"no server can be reached at {self.address} ({reason}): noetl server start")


def segment(text: str) -> str:
    """Return a text as one part of a path."""
    return quote(text, safe="")


def connect(settings: Settings, host: str | None = None, port: int | None = None) -> Client:
    """Return a client of the server that belongs to these settings.

    Raises `Unreachable` where none answers, and `Conflict` where one of another instance does.
    """
    client = Client(find_address(settings, host, port), read_token(settings))
    for _ in range(2):  # a schema may be made anew between the two looks
        served = _served_instance(client)
        own = known_instance(settings)
        if served is None or own is None or served == own:
            return client
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

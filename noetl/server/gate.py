"""The gate in front of every route: it checks token, Host, Origin, and size and type of the body.

It is closed by default: every path needs the token, also one that does not exist.
Host and Origin are checked because a web page that the user visits can make the browser call a server on loopback:
a name that is not ours in Host is DNS rebinding, another origin in Origin is a foreign page.

A protocol edge of ASGI can only be written as a coroutine; it decides nothing asynchronously and awaits only the
bytes of a request.
"""

import asyncio
import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from noetl.server.failures import answer_bytes

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_SECONDS = 60.0
"""Seconds that a body may take."""

_DRAIN_FACTOR, _DRAIN_SECONDS = 4, 5.0
"""Bound of reading on a refused body, in multiples of the limit and in seconds, so that the client reads the answer."""

OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""The only paths without a token."""

YAML_PATH, YAML_TYPES = "/api/catalog", ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
"""The path that takes a document itself as its body, and the types of such a body."""

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request goes no further."""

    status: int
    type: str
    message: str


def is_loopback(host: str) -> bool:
    """Tell whether an address to bind to can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Hosts:
    """The names by which this server may be called.

    Bound to loopback these are the names of loopback. Bound beyond, also its own name, those that are allowed by
    the settings, and every literal address: rebinding needs a name.
    """

    def __init__(self, bound: str, allowed: Iterable[str] = ()) -> None:
        self._names = _LOOPBACK_NAMES | {bound.lower()} | {name.strip().lower() for name in allowed}
        self._addresses = not is_loopback(bound)

    def known(self, header: str) -> bool:
        """Tell whether the value of a Host header is one of ours; its port does not matter."""
        name = _host_name(header)
        return name in self._names or (self._addresses and _is_address(name))


def _host_name(header: str) -> str:
    header = header.strip().lower()
    if header.startswith("["):
        return header[1 : header.find("]")] if "]" in header else ""
    return header.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Gate:
    """Wrap the application; hand on what may pass, with its body read whole."""

    def __init__(self, app: App, *, token: str, hosts: Hosts, limit: int) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = hosts
        self._limit = limit
        self._drain = _DRAIN_FACTOR * limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = [(name.lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        refusal = self._judge(scope, headers)
        body = b""
        if refusal is None:
            body, refusal = await self._body_in_time(scope["path"], headers, receive)
        else:
            await _drain(receive, self._drain)
        if refusal is not None:
            await _refuse(send, refusal)
            return
        if body and _content_type(headers) in YAML_TYPES:
            try:
                scope, body = _as_json(scope, body)
            except UnicodeDecodeError:
                await _refuse(send, Refusal(422, "validation", "the document is not UTF-8 text: send it as UTF-8"))
                return
        await self._app(scope, _replay(body, receive), send)

    def _judge(self, scope: Scope, headers: list[tuple[bytes, str]]) -> Refusal | None:
        """Decide by the headers alone."""
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._hosts.known(hosts[0]):
            shown = hosts[0] if hosts else ""
            return Refusal(
                403,
                "foreign_host",
                f"this server is not called {shown!r}: add the name to NOETL_ALLOWED_HOSTS if it should be",
            )
        for name, value in headers:
            if name == b"origin" and value.lower() not in _own_origins(hosts[0]):
                return Refusal(
                    403, "foreign_origin", f"requests from pages of {value!r} are refused: call the API from elsewhere"
                )
        if scope["path"] in OPEN_PATHS:
            return None
        if not self._authorized([value for name, value in headers if name == b"authorization"]):
            return Refusal(
                401,
                "unauthorized",
                "the bearer token is missing or wrong: it stands in NOETL_API_TOKEN, or in the file token of the"
                " server's NOETL_HOME",
            )
        if (know := scope.get("state", {}).get("know")) is not None:  # the connection counts as a stranger's no more
            know()
        return None

    def _authorized(self, values: list[str]) -> bool:
        if len(values) != 1:
            return False
        scheme, _, token = values[0].partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1"), self._token)

    async def _body_in_time(
        self, path: str, headers: list[tuple[bytes, str]], receive: Receive
    ) -> tuple[bytes, Refusal | None]:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._body(path, headers, receive)
        except TimeoutError:
            return b"", Refusal(408, "too_slow", f"the body was not there after {BODY_SECONDS:g} s: send it again")

    async def _body(
        self, path: str, headers: list[tuple[bytes, str]], receive: Receive
    ) -> tuple[bytes, Refusal | None]:
        """Read the body whole, up to the limit; if not empty it must say that it is JSON, or YAML for the catalog."""
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            part = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(part)
            if size > self._limit:
                if more:
                    await _drain(receive, self._drain - size)
                return b"", self._too_large()
            parts.append(part)
        if size == 0:
            return b"", None
        kind = _content_type(headers)
        if kind not in ("application/json", *(YAML_TYPES if path == YAML_PATH else ())):
            also = f"; a document for {YAML_PATH} may be application/yaml" if kind in YAML_TYPES else ""
            return b"", Refusal(415, "not_json", f"the body is {kind or 'of no type'!r}: send application/json{also}")
        return b"".join(parts), None

    def _too_large(self) -> Refusal:
        return Refusal(
            413, "too_large", f"the body is larger than {self._limit:,} bytes: send less, or a reference to the data"
        )


def _content_type(headers: list[tuple[bytes, str]]) -> str:
    kind = next((value for name, value in headers if name == b"content-type"), "")
    return kind.partition(";")[0].strip().lower()


def _as_json(scope: Scope, body: bytes) -> tuple[Scope, bytes]:
    """Return a request whose body is a YAML document as one that holds it in JSON. Raises `UnicodeDecodeError`."""
    others = [pair for pair in scope["headers"] if pair[0].lower() not in (b"content-type", b"content-length")]
    body = json.dumps({"content": body.decode()}).encode()
    return {**scope, "headers": [*others, (b"content-type", b"application/json")]}, body


def _own_origins(host: str) -> tuple[str, str]:
    return f"http://{host.lower()}", f"https://{host.lower()}"


async def _drain(receive: Receive, limit: int) -> None:
    """Throw away what is left of a body, so that closing the connection does not reset it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while limit > 0:
                message = await receive()
                limit -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read, then whatever the connection says."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again


async def _refuse(send: Send, refusal: Refusal) -> None:
    body = answer_bytes(refusal.type, refusal.message)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

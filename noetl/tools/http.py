"""Call an HTTP service.

Fields: `method` (GET), `endpoint`, `headers`, `params` (query), `payload` (body), `data` (GET and HEAD: query, else
JSON body; or `{query, body}`), `timeout` (seconds for the whole call, 30); `auth` of type bearer, basic, api_key or
header. The result is `{status_code, headers, url, elapsed, data}`; anything but 2xx is an error that keeps the response
in `detail`.
"""

import base64
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import orjson

from noetl.errors import TooLarge, ValueNotJson
from noetl.playbook.values import plain
from noetl.tools.base import Call, Done, Failed, Tool, error, storable
from noetl.tools.http_login import Login, login_of, sendable

if TYPE_CHECKING:  # imported by the first call: most commands and every runner child never make one
    import httpx

TIMEOUT: Final = 30.0
BODY_LIMIT: Final = 32 * 1024 * 1024
"""The greatest response body read, in bytes, after decompression."""

KEPT: Final = 64 * 1024
"""How much of a body an error keeps, in bytes."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
RETRYABLE: Final = frozenset({408, 425, 429})
_SAFE: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: dict[str, str]
    params: dict[str, Any]
    body: Any
    has_body: bool
    timeout: float
    login: Login


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    reason: str
    headers: dict[str, str]
    url: str
    elapsed: float
    body: bytes
    charset: str

    def described(self, data: Any) -> dict[str, Any]:
        return {
            "status_code": self.status,
            "headers": self.headers,
            "url": self.url,
            "elapsed": round(self.elapsed, 6),
            "data": data,
        }


class _Invalid(Exception):
    """A field is missing or wrong."""


class Http:
    """The tool, with one pool of connections for all calls of the process. `run` may be called from any thread."""

    def __init__(self, *, allow_link_local: bool = False) -> None:
        self._allow = allow_link_local
        self._lock = threading.Lock()
        self._transport: httpx.HTTPTransport | None = None

    def run(self, call: Call) -> Done | Failed:
        """Make the call. Errors: `validation`, `timeout`, `http`, `too_large`, `not_json`."""
        import httpx

        from noetl.tools.http_guard import Refused
        from noetl.tools.http_redirects import WrongRedirect

        try:
            request = _request(call)
        except _Invalid as failure:
            return Failed(error("validation", storable(f"{call.where}: {failure}")))
        what = f"{call.where}: {request.method} {_without_secrets(request.url)}"
        try:
            with self._client() as client:
                response = _exchange(client, request)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError) as failure:
            return Failed(error("validation", storable(f"{what}: {failure}")))
        except Refused as failure:
            return Failed(error("http", storable(f"{what}: {failure}")))
        except TooLarge as failure:
            return Failed(error("too_large", storable(f"{what}: {failure}")))
        except httpx.TimeoutException:
            text = f"{what}: no complete answer within {request.timeout:g} s"
            return Failed(error("timeout", storable(text), retryable=True))
        except WrongRedirect as failure:
            return Failed(error("http", storable(f"{what}: {failure}")))
        except httpx.DecodingError as failure:
            return Failed(error("http", storable(f"{what}: the body cannot be decompressed: {failure}")))
        except httpx.TransportError as failure:
            text = str(failure) or type(failure).__name__
            return Failed(error("http", storable(f"{what}: no answer: {text}"), retryable=True))
        return _answer(call, what, response)

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            if self._transport is not None:
                self._transport.close()
                self._transport = None

    @contextmanager
    def _client(self) -> "Iterator[httpx.Client]":
        """Give a client of its own to each call, so that no cookie goes from one to another."""
        import httpx

        from noetl import __version__
        from noetl.tools.http_guard import Transport

        with self._lock:
            if self._transport is None:
                self._transport = Transport(allow_link_local=self._allow)
        client = httpx.Client(
            transport=self._transport,
            trust_env=False,
            headers={"User-Agent": f"noetl/{__version__}"},
        )
        yield client  # not closed: that would close the connections of all calls


def make_tool(*, allow_link_local: bool = False) -> Tool:
    """Return the http tool; its own `timeout` field holds within the step's."""
    tool = Http(allow_link_local=allow_link_local)
    return Tool("http", "thread", tool.run, default_timeout=TIMEOUT, close=tool.close)


# ---- request ---------------------------------------------------------------------------------------------------------


def _request(call: Call) -> _Request:
    fields = call.fields
    method = str(fields.get("method") or "GET").upper()
    if method not in METHODS:
        raise _Invalid(f"method {method!r} is none of {', '.join(sorted(METHODS))}")
    url = fields.get("endpoint")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise _Invalid(f"endpoint {url!r} is no address: give one that begins with http:// or https://")
    params = dict(_mapping(fields, "params"))
    body, has_body = fields.get("payload"), fields.get("payload") is not None
    data = fields.get("data")
    if data is not None:
        query, inner, has_inner = _split(data, method)
        params.update(query)
        if has_inner and has_body:
            raise _Invalid("payload and data both give a body: keep one of them")
        if has_inner:
            body, has_body = inner, True
    headers = {str(name): _header(f"headers.{name}", value)
               for name, value in _mapping(fields, "headers").items() if value is not None}  # fmt: skip
    login = _login(call, headers, params)
    headers.update(login.headers)
    params.update(login.params)
    if method not in _SAFE and not any(name.lower() == "idempotency-key" for name in headers):
        headers["Idempotency-Key"] = call.key
    own = {name: _query(name, value) for name, value in params.items() if value is not None}
    return _Request(method, url, headers, own, body, has_body, _timeout(call), login)


def _login(call: Call, headers: Mapping[str, str], params: Mapping[str, Any]) -> Login:
    """Return what `auth` adds, checked against what the step gives itself."""
    try:
        login = login_of(call.auth.get("", {}), call.secrets)
    except ValueError as failure:
        raise _Invalid(str(failure)) from None
    given = {name.lower() for name in headers}
    for name in login.headers:
        if name.lower() in given:
            raise _Invalid(f"headers has {name!r}, which auth gives: keep one of them")
    for name in login.params:
        if name in params:
            raise _Invalid(f"params has {name!r}, which auth gives: keep one of them")
    return login


def _timeout(call: Call) -> float:
    own = call.fields.get("timeout")
    if own is not None and (isinstance(own, bool) or not isinstance(own, (int, float)) or own <= 0):
        raise _Invalid(f"timeout {own!r} is not a number of seconds above 0")
    if own is None:
        return TIMEOUT if call.timeout is None or call.timeout == float("inf") else call.timeout
    return float(own if call.timeout is None else min(own, call.timeout))


def _split(data: Any, method: str) -> tuple[Mapping[str, Any], Any, bool]:
    """Return query, body, and whether there is a body, of the field `data`."""
    if isinstance(data, Mapping) and data and set(data) <= {"query", "body"}:
        return _mapping(data, "query", "data.query"), data.get("body"), data.get("body") is not None
    if method in _SAFE:
        if not isinstance(data, Mapping):
            raise _Invalid(f"data of a {method} is its query: give a mapping, not a {type(data).__name__}")
        return data, None, False
    return {}, data, True


def _mapping(fields: Mapping[str, Any], name: str, path: str | None = None) -> Mapping[str, Any]:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _Invalid(f"{path or name} must be a mapping, not a {type(value).__name__}")
    return value


def _text(path: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise _Invalid(f"{path} must be text, not a {type(value).__name__}")


def _header(path: str, value: Any) -> str:
    text = _text(path, value)
    if not sendable(text):
        raise _Invalid(f"{path} has a line end or another character in it that no header can have")
    return text


def _query(name: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_text(f"params.{name}", item) for item in value]
    return _text(f"params.{name}", value)


# ---- exchange --------------------------------------------------------------------------------------------------------


def _exchange(client: "httpx.Client", wanted: _Request) -> _Response:
    import httpx

    from noetl.tools.http_guard import begin_call
    from noetl.tools.http_redirects import send

    url = httpx.URL(wanted.url)
    if wanted.params:
        url = url.copy_merge_params(wanted.params)
    start = time.monotonic()
    deadline = begin_call(wanted.timeout)
    content, headers = _body(wanted)
    request = client.build_request(wanted.method, url, headers=headers, content=content, timeout=wanted.timeout)
    with send(client, request, wanted.login) as response:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > BODY_LIMIT:
                raise TooLarge(f"the response is larger than {BODY_LIMIT:,} bytes: ask for less, or in pages")
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout("the time is over", request=response.request)
        return _Response(
            status=response.status_code,
            reason=response.reason_phrase,
            headers={name: storable(value) for name, value in response.headers.items()},
            url=_without_user(str(wanted.login.without(response.url))),
            elapsed=time.monotonic() - start,
            body=bytes(body),
            charset=response.charset_encoding or "utf-8",
        )


def _body(wanted: _Request) -> tuple[bytes | None, dict[str, str]]:
    """Return body and headers: text as it stands, a form where the headers say so, else JSON."""
    if not wanted.has_body:
        return None, wanted.headers
    kind = next((value for name, value in wanted.headers.items() if name.lower() == "content-type"), "")
    if isinstance(wanted.body, str) and "json" not in kind:
        return wanted.body.encode(), wanted.headers
    if isinstance(wanted.body, Mapping) and kind.startswith("application/x-www-form-urlencoded"):
        form = {name: _query(name, value) for name, value in wanted.body.items() if value is not None}
        return urlencode(form, doseq=True).encode(), wanted.headers
    headers = wanted.headers if kind else {**wanted.headers, "Content-Type": "application/json"}
    return orjson.dumps(wanted.body), headers


# ---- answer ----------------------------------------------------------------------------------------------------------


def _answer(call: Call, what: str, response: _Response) -> Done | Failed:
    try:
        data = _data(response)
    except orjson.JSONDecodeError as failure:
        text = f"{what}: the response says it is JSON and is not: {failure}"
        return Failed(error("http", storable(text), detail=_kept(response, _as_text(response))))
    if not 200 <= response.status < 300:
        text = f"{what}: answered {response.status} {response.reason}"
        retryable = response.status in RETRYABLE or response.status >= 500
        return Failed(error("http", storable(text), retryable=retryable, detail=_kept(response, data)))
    try:
        return Done(plain(response.described(data), call.limit))
    except ValueNotJson as failure:
        return Failed(error("not_json", storable(f"{what}: {failure}")))
    except TooLarge as failure:
        return Failed(error("too_large", storable(f"{what}: {failure}")))


def _data(response: _Response) -> Any:
    """Return a body as JSON where it says so, as text where it is text, else as `{base64: ...}`."""
    body = response.body
    kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
    if not body:
        return None
    if (kind == "application/json" or kind.endswith("+json")) and 200 <= response.status < 300:
        return orjson.loads(body)
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            return _as_text(response)  # an error page with the wrong label: the status says more
    return _as_text(response)


def _as_text(response: _Response) -> Any:
    try:
        text = response.body.decode(response.charset)
    except (UnicodeDecodeError, LookupError):
        text = "\x00"
    if "\x00" in text:
        return {"base64": base64.b64encode(response.body).decode()}
    return text


def _kept(response: _Response, data: Any) -> dict[str, Any]:
    """Return the response as an error keeps it: a long body becomes the beginning of its text."""
    described = response.described(data)
    try:
        plain(described, KEPT)
    except (ValueNotJson, TooLarge):
        described["data"] = storable(response.body[:KEPT].decode("utf-8", "replace"), KEPT)
    return described


def _without_secrets(url: str) -> str:
    """Return an address without what may carry keys: user, query and fragment."""
    return _without_user(url.split("#")[0].split("?")[0])


def _without_user(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


TOOL: Final = make_tool()

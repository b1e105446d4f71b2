"""The http tool: calls of HTTP services.

Fields: `method` (GET), `endpoint`, `headers`, `params` (query), `payload` (body), `data` (GET and HEAD: query, else
JSON body; or `{query, body}`), `big_numbers` (error, or text), `timeout` (seconds for the whole call, 30); `auth` of
type bearer, basic, api_key or header. The result is `{status_code, headers, url, elapsed, data}`; anything but 2xx is
an error that keeps the response in `detail`.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from noetl.calls import Call
from noetl.errors import TooLarge, ValueNotJson
from noetl.outcomes import Done, Failed, error_value
from noetl.playbook.values import plain
from noetl.rules.text import storable
from noetl.tools.base import InvalidCall, Tool, failed_at
from noetl.tools.exact_json import NumberTooBig
from noetl.tools.http.body import WrongBody, is_json, read_body, read_json, read_text
from noetl.tools.http.request import DEFAULT_TIMEOUT_SECONDS, Request, request_of

if TYPE_CHECKING:  # imported by the first call: most commands and every runner child never make one
    import httpx

ERROR_BODY_BYTES: Final = 64 * 1024
"""The beginning of a body that an error keeps."""

RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    reason: str
    headers: dict[str, str]
    url: str
    elapsed: float
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    def described(self, data: object) -> dict[str, Any]:
        return {
            "status_code": self.status,
            "headers": self.headers,
            "url": self.url,
            "elapsed": round(self.elapsed, 6),
            "data": data,
        }


class Http:
    """The tool, with one pool of connections for all calls of the process. `run` may be called from any thread."""

    def __init__(self, *, allow_link_local: bool = False) -> None:
        self._allow = allow_link_local
        self._lock = threading.Lock()
        self._transport: httpx.HTTPTransport | None = None

    def run(self, call: Call) -> Done | Failed:
        """Make the call. Errors: `validation`, `timeout`, `http`, `too_large`, `not_json`."""
        import httpx

        from noetl.tools.http.guard import RefusedAddress
        from noetl.tools.http.redirects import WrongRedirect

        try:
            request = request_of(call)
        except InvalidCall as failure:
            return failed_at(call.where, "validation", failure)
        place = f"{call.where}: {request.method} {_without_secrets(request.url)}"
        try:
            with self._client() as client:
                response = _exchange(client, request, call.limit)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError) as failure:
            return failed_at(place, "validation", failure)
        except RefusedAddress as failure:
            return failed_at(place, "http", failure)
        except TooLarge as failure:
            return failed_at(place, "too_large", failure)
        except httpx.TimeoutException:
            text = f"{place}: no complete answer within {request.timeout:g} s"
            return Failed(error_value("timeout", storable(text), retryable=True))
        except WrongRedirect as failure:
            return failed_at(place, "http", failure)
        except WrongBody as failure:
            return failed_at(place, "http", failure, retryable=failure.retryable)
        except httpx.TransportError as failure:
            text = str(failure) or type(failure).__name__
            return Failed(error_value("http", storable(f"{place}: no answer: {text}"), retryable=True))
        return _answer(call, place, response, request.big_as_text)

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            if self._transport is not None:
                self._transport.close()
                self._transport = None

    @contextmanager
    def _client(self) -> "Iterator[httpx.Client]":
        """Make a client for one call, so that no cookie goes from one call to another."""
        import httpx

        from noetl import __version__
        from noetl.tools.http.guard import Transport

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
    return Tool("http", tool.run, default_timeout=DEFAULT_TIMEOUT_SECONDS, close=tool.close)


# ---- exchange --------------------------------------------------------------------------------------------------------


def _exchange(client: "httpx.Client", request: Request, limit: int) -> _Response:
    """Return the answer to a request. `limit` holds for its body, in bytes: more would not fit into the result."""
    from noetl.tools.http.guard import begin_call
    from noetl.tools.http.redirects import send

    start = time.monotonic()
    deadline = begin_call(request.timeout)
    with send(client, request) as response:
        body = read_body(response, limit, deadline)
        return _Response(
            status=response.status_code,
            reason=response.reason_phrase,
            headers={name: storable(value) for name, value in response.headers.items()},
            url=_without_user(str(request.login.without(response.url))),
            elapsed=time.monotonic() - start,
            body=body,
        )


# ---- answer ----------------------------------------------------------------------------------------------------------


def _answer(call: Call, place: str, response: _Response, big_as_text: bool) -> Done | Failed:
    try:
        data = _data(response, big_as_text)
    except NumberTooBig as failure:
        text = f"{place}: {failure}, and its digits would be lost: big_numbers: text gives such numbers as text"
        return Failed(error_value("not_json", storable(text), detail=_kept(response, None)))
    except ValueError as failure:
        text = f"{place}: the response says it is JSON and is not: {failure}"
        return Failed(error_value("http", storable(text), detail=_kept(response, read_text(response.body, ""))))
    if not 200 <= response.status < 300:
        text = f"{place}: answered {response.status} {response.reason}"
        retryable = response.status in RETRYABLE_STATUSES or response.status >= 500
        return Failed(error_value("http", storable(text), retryable=retryable, detail=_kept(response, data)))
    try:
        return Done(plain(response.described(data), call.limit))
    except ValueNotJson as failure:
        return failed_at(place, "not_json", failure)
    except TooLarge as failure:
        return failed_at(place, "too_large", failure)


def _data(response: _Response, big_as_text: bool) -> Any:
    """Return the value of a body labelled JSON, the text of any other, `{base64: ...}` where it is no text.

    Raises ValueError where the body of a success is labelled JSON and is not, or has a number that does not fit.
    """
    body, kind = response.body, response.content_type
    if not body:
        return None
    if not is_json(kind):
        return read_text(body, kind)
    if 200 <= response.status < 300:
        return read_json(body, kind, big_as_text=big_as_text)
    try:
        return read_json(body, kind, big_as_text=True)
    except ValueError:
        return read_text(body, kind)  # an error page with the wrong label: the status says more


def _kept(response: _Response, data: object) -> dict[str, Any]:
    """Return the response for the error's detail: of a long body the beginning of its text."""
    described = response.described(data)
    try:
        plain(described, ERROR_BODY_BYTES)
    except (ValueNotJson, TooLarge):
        described["data"] = storable(response.body[:ERROR_BODY_BYTES].decode("utf-8", "replace"), ERROR_BODY_BYTES)
    return described


def _without_secrets(url: str) -> str:
    """Return an address without user, query and fragment, which may carry keys."""
    return _without_user(url.split("#")[0].split("?")[0])


def _without_user(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


TOOL: Final = make_tool()

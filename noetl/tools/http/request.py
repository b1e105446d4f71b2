"""Requests of http steps, made from their fields and their login."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import orjson

from noetl.calls import Call
from noetl.rules.choices import BIG_NUMBERS, HTTP_METHODS
from noetl.tools.base import InvalidCall
from noetl.tools.http.body import ACCEPT_ENCODING, charset_of, is_json, media_type
from noetl.tools.http.login import HttpLogin, login_of, sendable

if TYPE_CHECKING:  # imported by the first call
    import httpx

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_GREATEST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Request:
    """The request of one call. `timeout` is in seconds; `big_as_text`: numbers beyond 64 bits may come as text."""

    method: str
    url: str
    headers: dict[str, str]
    params: dict[str, Any]
    content: bytes | None
    timeout: float
    login: HttpLogin
    big_as_text: bool
    secret_body: bool

    def build(self, client: "httpx.Client") -> "httpx.Request":
        """Return the request of the client library."""
        import httpx

        url = httpx.URL(self.url)
        if self.params:
            url = url.copy_merge_params(self.params)
        return client.build_request(self.method, url, headers=self.headers, content=self.content, timeout=self.timeout)


def request_of(call: Call) -> Request:
    """Return the request of a step. Raises `InvalidCall`."""
    fields = call.fields
    method = str(fields.get("method") or "GET").upper()
    if method not in HTTP_METHODS:
        raise InvalidCall(f"method {method!r} is not one of {', '.join(sorted(HTTP_METHODS))}")
    url = _address(fields.get("endpoint"))
    query, body, has_body = _query_and_body(fields, method)
    params = {**_mapping(fields, "params"), **query}
    written = _mapping(fields, "headers")
    headers = {str(name): _header(f"headers.{name}", value) for name, value in written.items() if value is not None}
    login = _login(call, headers, params)
    headers.update(login.headers)
    params.update(login.params)
    given_names = {name.lower() for name in headers}
    if method not in _SAFE_METHODS and "idempotency-key" not in given_names:
        headers["Idempotency-Key"] = call.key
    if "accept-encoding" not in given_names:
        headers["Accept-Encoding"] = ACCEPT_ENCODING
    content = _content(body, headers) if has_body else None  # before the headers are taken: it may add one
    return Request(
        method=method,
        url=url,
        headers=headers,
        params={name: _query(name, value) for name, value in params.items() if value is not None},
        content=content,
        timeout=_timeout(call),
        login=login,
        big_as_text=_big_as_text(fields.get("big_numbers")),
        secret_body=has_body and login.in_value(body),
    )


def _query_and_body(fields: Mapping[str, object], method: str) -> tuple[Mapping[str, Any], Any, bool]:
    """Return the query of `data`, the body, and whether there is a body. Raises `InvalidCall`."""
    payload, data = fields.get("payload"), fields.get("data")
    if data is None:
        return {}, payload, payload is not None
    query, body, has_body = _split(data, method)
    if has_body and payload is not None:
        raise InvalidCall("payload and data both give a body: keep one of them")
    return query, body if has_body else payload, has_body or payload is not None


def _address(url: object) -> str:
    if not isinstance(url, str) or not url.lower().startswith(("http://", "https://")):
        raise InvalidCall(f"endpoint {url!r} is not an address: write one that begins with http:// or https://")
    try:
        port = urlsplit(url).port
    except ValueError:
        port = 0
    if port is not None and not 1 <= port <= _GREATEST_PORT:
        raise InvalidCall(f"the port of endpoint {_host(url)!r} is not between 1 and {_GREATEST_PORT}")
    return url


def _host(url: str) -> str:
    """Return host and port of an address that cannot be read: the rest of it may be secret."""
    return url.partition("://")[2].split("/")[0].split("?")[0].rpartition("@")[2][:100]


def _login(call: Call, headers: Mapping[str, str], params: Mapping[str, object]) -> HttpLogin:
    """Return the login of `auth`. Raises `InvalidCall` where the step gives one of its headers or params itself."""
    try:
        login = login_of(call.auth.get("", {}), call.secrets)
    except ValueError as failure:
        raise InvalidCall(str(failure)) from None
    given_names = {name.lower() for name in headers}
    for name in login.headers:
        if name.lower() in given_names:
            raise InvalidCall(f"headers has {name!r}, which auth gives: keep one of them")
    for name in login.params:
        if name in params:
            raise InvalidCall(f"params has {name!r}, which auth gives: keep one of them")
    return login


def _timeout(call: Call) -> float:
    seconds = call.fields.get("timeout")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds <= 0):
        raise InvalidCall(f"timeout {seconds!r} is not a number of seconds above 0")
    if seconds is None:
        return DEFAULT_TIMEOUT_SECONDS if call.timeout is None or call.timeout == float("inf") else call.timeout
    return float(seconds if call.timeout is None else min(seconds, call.timeout))


def _big_as_text(choice: object) -> bool:
    if choice not in (None, *BIG_NUMBERS):
        raise InvalidCall(f"big_numbers {choice!r} is not one of {', '.join(BIG_NUMBERS)}")
    return bool(choice == "text")


def _split(data: object, method: str) -> tuple[Mapping[str, Any], Any, bool]:
    """Return query, body, and whether there is a body, of the field `data`."""
    if isinstance(data, Mapping) and data and set(data) <= {"query", "body"}:
        return _mapping(data, "query", "data.query"), data.get("body"), data.get("body") is not None
    if method in _SAFE_METHODS:
        if not isinstance(data, Mapping):
            raise InvalidCall(f"data of a {method} is its query: give a mapping, not a {type(data).__name__}")
        return data, None, False
    return {}, data, True


def _mapping(fields: Mapping[str, object], name: str, path: str | None = None) -> Mapping[str, Any]:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidCall(f"{path or name} must be a mapping, not a {type(value).__name__}")
    return value


def _text(path: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise InvalidCall(f"{path} must be text, not a {type(value).__name__}")


def _header(path: str, value: object) -> str:
    text = _text(path, value)
    if not sendable(text):
        raise InvalidCall(f"{path} has a line end or another character in it that no header can have")
    return text


def _query(name: str, value: object) -> Any:
    if isinstance(value, (list, tuple)):
        return [_text(f"params.{name}", item) for item in value]
    return _text(f"params.{name}", value)


# ---- body ------------------------------------------------------------------------------------------------------------


def _content(body: object, headers: dict[str, str]) -> bytes:
    """Return the bytes of a body: text unchanged, a form where the headers say so, else JSON. May add Content-Type."""
    kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    if isinstance(body, str) and (not is_json(kind) or _is_document(body)):
        return _encoded(body, kind)
    if isinstance(body, Mapping) and media_type(kind) == _FORM_TYPE:
        form = {name: _query(name, value) for name, value in body.items() if value is not None}
        return urlencode(form, doseq=True).encode()
    if not kind:
        headers["Content-Type"] = "application/json"
    return orjson.dumps(body)


def _is_document(text: str) -> bool:
    """Tell whether a text is a JSON object, array or string, as `tojson` writes them. `7` is text."""
    if not text.lstrip().startswith(("{", "[", '"')):
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _encoded(text: str, content_type: str) -> bytes:
    charset = charset_of(content_type)
    if charset == "":
        raise InvalidCall(f"headers: the charset of Content-Type {content_type!r} is not known: use utf-8")
    try:
        return text.encode(charset or "utf-8")
    except UnicodeEncodeError as failure:
        raise InvalidCall(
            f"the body has the character {text[failure.start]!r}, which the charset {charset} of its Content-Type"
            " does not have: use utf-8"
        ) from None

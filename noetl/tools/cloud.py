"""Asks a cloud's service over its REST API, with one limit for all of it, and says what went wrong in one sentence."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from noetl.tools.base import storable

if TYPE_CHECKING:
    import httpx

TIMEOUT: Final = 10.0
"""Seconds for one request."""

LARGEST: Final = 1024 * 1024
"""Bytes of an answer."""

_PASSING: Final = frozenset({408, 425, 429})


class CloudError(Exception):
    """A service did not give what was asked for. `retryable`: it may, later."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class Found:
    """A secret's value, and the version that it is."""

    value: str = field(repr=False)
    version: str


class Service:
    """Requests to one service, over kept connections. Safe to share between threads."""

    def __init__(self, name: str, *, timeout: float = TIMEOUT) -> None:
        self.name = name
        self._timeout = timeout
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def ask(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Any:
        """Return the JSON of an answer; of one that is none, its text. Raises `CloudError`."""
        import httpx

        from noetl.tools.http_guard import Refused, begin_call

        deadline = begin_call(self._timeout)
        try:
            with self._session().stream(method, url, headers=headers, content=content) as response:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > LARGEST:
                        raise CloudError(f"{self.name} answers with more than {LARGEST:,} bytes")
                    if time.monotonic() > deadline:
                        raise httpx.ReadTimeout("the time is over")
                status = response.status_code
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError) as problem:
            raise CloudError(f"the address of {self.name} cannot be used: {problem}") from None
        except httpx.TimeoutException:
            raise CloudError(f"{self.name} did not answer within {self._timeout:g} s", retryable=True) from None
        except (httpx.HTTPError, Refused) as problem:
            raise CloudError(
                f"{self.name} cannot be reached: {str(problem) or type(problem).__name__}", retryable=True
            ) from None
        answer = _decoded(bytes(body))
        if status != 200:
            retryable = status in _PASSING or status >= 500 or "Throttling" in str(answer)[:200]
            raise CloudError(f"{self.name} answered {status}: {_reason(answer)}", retryable=retryable)
        return answer

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _session(self) -> "httpx.Client":
        import httpx

        from noetl.tools.http_guard import Transport

        with self._lock:
            if self._client is None:
                transport = Transport(allow_link_local=True)  # where clouds have their metadata
                self._client = httpx.Client(transport=transport, trust_env=False, timeout=self._timeout)
            return self._client


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def _reason(answer: Any) -> str:
    """Return what a service says of an error: each has a form of its own."""
    if isinstance(answer, dict):
        inner = answer.get("error")
        if isinstance(inner, dict):
            answer = inner
        kind = answer.get("__type") or answer.get("status") or (inner if isinstance(inner, str) else None)
        message = answer.get("message") or answer.get("Message") or answer.get("error_description")
        told = ": ".join(str(each).rpartition("#")[2] for each in (kind, message) if each)
        return storable(told or "it does not say why", 500)
    return storable(" ".join(str(answer).split()) or "it does not say why", 200)

"""A cloud's service behind its REST API, with one time limit per request and one sentence per failure."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from noetl.errors import TooLarge
from noetl.rules.text import storable
from noetl.tools.http.body import WrongBody, read_body

if TYPE_CHECKING:
    import httpx

REQUEST_TIMEOUT_SECONDS: Final = 10.0
"""Seconds for one request."""

ANSWER_LIMIT_BYTES: Final = 1024 * 1024
"""Bytes of an answer."""

_RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})


class CloudError(Exception):
    """A service did not give the secret. `retryable`: another attempt may help."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class CloudSecret:
    """A secret's value and version."""

    value: str = field(repr=False)
    version: str


class CloudService:
    """Requests to one service, over kept connections. Safe to share between threads."""

    def __init__(self, name: str, *, timeout: float = REQUEST_TIMEOUT_SECONDS, metadata: bool = False) -> None:
        """`metadata`: the service is a cloud's metadata service; no other may have a link-local address."""
        self.name = name
        self._metadata = metadata
        self._timeout = timeout
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def ask(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Any:
        """Return the value of a JSON answer, the text of any other. Raises `CloudError`."""
        import httpx

        from noetl.tools.http.guard import RefusedAddress, begin_call

        deadline = begin_call(self._timeout)
        try:
            with self._session().stream(method, url, headers=headers, content=content) as response:
                body = read_body(response, ANSWER_LIMIT_BYTES, deadline)
                status = response.status_code
        except TooLarge:
            raise CloudError(f"{self.name} answers with more than {ANSWER_LIMIT_BYTES:,} bytes") from None
        except WrongBody as problem:
            raise CloudError(f"{self.name}: {problem}", retryable=problem.retryable) from None
        except RefusedAddress as problem:
            raise CloudError(f"{self.name} cannot be asked: {problem}") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError) as problem:
            raise CloudError(f"the address of {self.name} cannot be used: {problem}") from None
        except httpx.TimeoutException:
            raise CloudError(f"{self.name} did not answer within {self._timeout:g} s", retryable=True) from None
        except httpx.HTTPError as problem:
            raise CloudError(
                f"{self.name} cannot be reached: {str(problem) or type(problem).__name__}", retryable=True
            ) from None
        answer = _decoded(body)
        if status != 200:
            retryable = status in _RETRYABLE_STATUSES or status >= 500 or "Throttling" in str(answer)[:200]
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

        from noetl.tools.http.guard import Transport

        with self._lock:
            if self._client is None:
                transport = Transport(allow_link_local=self._metadata)
                self._client = httpx.Client(transport=transport, trust_env=False, timeout=self._timeout)
            return self._client


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def _reason(answer: object) -> str:
    """Return the reason in an error answer, whose form differs from service to service."""
    if isinstance(answer, dict):
        inner = answer.get("error")
        if isinstance(inner, dict):
            answer = inner
        kind = answer.get("__type") or answer.get("status") or (inner if isinstance(inner, str) else None)
        message = answer.get("message") or answer.get("Message") or answer.get("error_description")
        sentence = ": ".join(str(part).rpartition("#")[2] for part in (kind, message) if part)
        return storable(sentence or "it does not say why", 500)
    return storable(" ".join(str(answer).split()) or "it does not say why", 200)

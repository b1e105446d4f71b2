"""Logins of requests: the headers and parameters of `auth`, which must not reach another host."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from noetl.tools.masking import mask_of

if TYPE_CHECKING:
    import httpx

_KEY_HEADER: Final = "X-API-Key"
_KEY_PARAMETER: Final = "api_key"


@dataclass(frozen=True, slots=True)
class HttpLogin:
    """The headers and parameters that log a request in. `secrets` are all values that must not reach another host."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def without(self, url: "httpx.URL") -> "httpx.URL":
        """Return an address without the parameters that log in."""
        for name in self.params:
            url = url.copy_remove_param(name)
        return url

    def holds(self, name: str, value: str) -> bool:
        """Tell whether a header logs in, or has a secret in it."""
        return name.lower() in {each.lower() for each in self.headers} or self.in_value(value)

    def in_text(self, text: str) -> bool:
        """Tell whether a text has a secret in it, in any form in which programs write one. Common ones do not count."""
        return mask_of(self.secrets).finds(text)

    def in_value(self, value: object) -> bool:
        """Tell whether a value of plain JSON types has a secret in it."""
        if isinstance(value, str):
            return any(secret in value for secret in self.secrets if secret) or self.in_text(value)
        if isinstance(value, Mapping):
            return any(self.in_value(name) or self.in_value(item) for name, item in value.items())
        if isinstance(value, list):
            return any(self.in_value(item) for item in value)
        return value is not None and not isinstance(value, bool) and self.in_value(repr(value))


def login_of(credential: Mapping[str, Any], secrets: tuple[str, ...] = ()) -> HttpLogin:
    """Return the login of a credential. Raises ValueError, whose text shows no value."""
    headers: dict[str, str] = {}
    params: dict[str, str] = {}
    match credential.get("type"):
        case None:
            pass
        case "bearer":
            headers["Authorization"] = f"Bearer {credential['token']}"
        case "basic":
            pair = f"{credential['username']}:{credential['password']}"
            if ":" in credential["username"]:
                raise ValueError("the username of a credential of type basic cannot have a colon in it")
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        case "api_key" if credential.get("in") == "query":
            params[credential.get("name") or _KEY_PARAMETER] = credential["value"]
        case "api_key":
            headers[credential.get("name") or _KEY_HEADER] = credential["value"]
        case "header":
            headers[credential["name"]] = credential["value"]
        case other:
            raise ValueError(f"a credential of type {other} cannot log in to an HTTP service")
    for name, value in headers.items():
        if not sendable(value) or not sendable(name):
            raise ValueError(
                f"the credential's value for the header {name!r} has a line end or another character in it that no"
                " header can have"
            )
    return HttpLogin(headers, params, secrets)


def sendable(text: str) -> bool:
    """Tell whether a header can have this text."""
    return text.isascii() and not any((char < " " and char != "\t") or char == "\x7f" for char in text)

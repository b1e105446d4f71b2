"""Redirects: followed up to a limit, with nothing secret sent to another host."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx

from noetl.tools.http.request import Request

MAX_REDIRECTS: Final = 10
"""Redirects of one call."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class WrongRedirect(Exception):
    """A redirect that is not followed."""


@contextmanager
def send(client: httpx.Client, request: Request) -> Iterator[httpx.Response]:
    """Send a request and yield the answer behind all redirects, its body not read yet. Raises `WrongRedirect`."""
    first_request = request.build(client)
    home = first_request.url
    response = client.send(first_request, stream=True)
    try:
        for _ in range(MAX_REDIRECTS):
            following = response.next_request
            if following is None:
                yield response
                return
            response.close()
            if not _is_home(home, following.url):
                _strip(following, request)
            response = client.send(following, stream=True)
        if response.next_request is not None:
            raise WrongRedirect(f"more than {MAX_REDIRECTS} redirects")
        yield response
    finally:
        response.close()


def _is_home(home: httpx.URL, url: httpx.URL) -> bool:
    """Tell whether an address has the same host, port and scheme; from http to https is fine."""
    if home.host != url.host:
        return False
    ports = (home.port or _DEFAULT_PORTS.get(home.scheme), url.port or _DEFAULT_PORTS.get(url.scheme))
    return (home.scheme == url.scheme and ports[0] == ports[1]) or (
        (home.scheme, url.scheme) == ("http", "https") and ports == (80, 443)
    )


def _strip(redirected: httpx.Request, original: Request) -> None:
    """Take the login and everything secret out of a request to another host. Raises `WrongRedirect`.

    Whether the body holds a secret was found out from the values that it was made of: encoded, a secret has many forms.
    """
    login = original.login
    for name, value in list(redirected.headers.items()):
        if name in ("authorization", "cookie") or login.holds(name, value):
            del redirected.headers[name]
    if original.secret_body and redirected.read():
        raise WrongRedirect(
            f"redirected to another host ({redirected.url.host}), which would be sent the secret that is in the body"
        )
    if login.in_text(str(redirected.url)) or any(
        login.in_value(value) for _, value in redirected.url.params.multi_items()
    ):
        raise WrongRedirect(
            f"redirected to another host ({redirected.url.host}) by an address that has the secret in it"
        )

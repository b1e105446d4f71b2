"""Call the server's application without a network."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx


class ApiClient:
    """Calls an ASGI application, one event loop per request."""

    def __init__(self, app: Callable[..., Any], *, base_url: str = "http://127.0.0.1:8082", token: str = "") -> None:
        self._app = app
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Return the answer, read whole."""

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self._base_url, headers=self._headers) as client:
                return await client.request(method, path, **given)

        return asyncio.run(go())

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.request("GET", path, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.request("POST", path, **given)

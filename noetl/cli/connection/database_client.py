"""Reading without a server: the routes that read, answered in this process from the database itself."""

import time
from collections.abc import Iterator
from typing import Any

from noetl.cli.connection.address import ServerLocation
from noetl.cli.connection.client import Client, connect, segment
from noetl.cli.terminal import note
from noetl.errors import DatabaseError, Unreachable
from noetl.settings import Settings
from noetl.words import TERMINAL_EVENTS

TICK = 0.2
"""Seconds between two looks at the log."""


def connect_to_read(settings: Settings, host: str | None = None, port: int | None = None) -> Client:
    """Return a client for commands that only read: the server's, else one that reads the database of the settings.

    Raises `Unreachable` where neither answers, or where a server was named and does not.
    """
    try:
        client = connect(settings, host, port)
        client.get("/livez")
        return client
    except Unreachable as error:
        if host is not None or port is not None:
            raise
        try:
            found = DatabaseClient(settings)
        except DatabaseError as problem:
            raise Unreachable(f"{error}; nor can the database be read: {problem}") from None
    note("no server of this home answers: read from the database")
    return found


class DatabaseClient(Client):
    """The server's routes without a server. Raises `DatabaseError` where the database cannot be read."""

    def __init__(self, settings: Settings) -> None:
        from noetl.database.connect import open_database, require_embedded
        from noetl.database.schema import require_schema
        from noetl.orchestrator.orchestrator import Orchestrator
        from noetl.server.app import build_api
        from noetl.server.service import Service

        super().__init__(ServerLocation("http://localhost"))
        require_embedded(settings)
        database = open_database(settings, application="noetl")
        require_schema(database)
        self._routes = build_api(Service(database, Orchestrator(database, settings)))

    def events(self, execution_id: str, after: int) -> Iterator[dict[str, Any]]:
        """Give the events of an execution as they happen, until it has ended."""
        path = f"/api/executions/{segment(execution_id)}/events"
        while True:
            found = self.get(path, {"after": after, "limit": 500})["items"]
            for event in found:
                after = int(event["event_id"])
                yield event
                if event["event_type"] in TERMINAL_EVENTS:
                    return
            if not found:
                time.sleep(TICK)

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Return status and body of one call's answer."""
        import asyncio

        import httpx

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._routes)
            async with httpx.AsyncClient(transport=transport, base_url=self.address) as client:
                return await client.request(method, path, content=body)

        found = asyncio.run(ask())
        return found.status_code, found.content

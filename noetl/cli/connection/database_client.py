"""The client of commands that only read where no server runs: it answers from the database itself."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from noetl.cli.connection.address import ServerLocation
from noetl.cli.connection.client import Client, connect, segment
from noetl.cli.json_object import JsonObject
from noetl.cli.terminal import note
from noetl.errors import DatabaseError, NotFound, Unreachable
from noetl.settings import Settings
from noetl.words import TERMINAL_EVENTS

POLL_SECONDS = 0.2
"""Seconds between two reads of the log."""


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
            reader = DatabaseClient(settings)
        except DatabaseError as problem:
            raise Unreachable(f"{error}; nor can the database be read: {problem}") from None
    note("no server of this home answers: read from the database")
    return reader


class DatabaseClient(Client):
    """The reading paths of the API without a server. Raises `DatabaseError` where the database cannot be read."""

    def __init__(self, settings: Settings) -> None:
        from noetl.database.connection.connect import open_database, require_embedded
        from noetl.database.schema.apply import require_schema
        from noetl.server.reads import READS

        super().__init__(ServerLocation("http://localhost"))
        require_embedded(settings)
        self._database = open_database(settings, application="noetl")
        require_schema(self._database)
        self._reads = [(_pattern(path), function) for path, function in READS.items()]

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Return what the API has at a path. Raises `NotFound`, `InputError`, and `Unreachable` as a server is."""
        import orjson

        parameters = {name: value for name, value in (query or {}).items() if value not in (None, [], ())}
        if "after" in parameters:
            parameters["after"] = str(parameters["after"])
        if "since" in parameters:
            parameters["since"] = datetime.fromisoformat(parameters["since"])
        names, function = self._read_at(path)
        try:
            with self._database.session() as conn:
                return orjson.loads(orjson.dumps(function(conn, **names, **parameters)))
        except DatabaseError as error:
            raise Unreachable(str(error)) from error

    def close(self) -> None:
        """Close the connections to the database."""
        self._database.close()
        super().close()

    def _read_at(self, path: str) -> tuple[dict[str, str], Callable[..., Any]]:
        """Return the function of a path and the arguments that stand in it. Raises `NotFound` as a server does."""
        for pattern, function in self._reads:
            if match := pattern.fullmatch(path):
                return {name: unquote(text) for name, text in match.groupdict().items()}, function
        raise NotFound(f"there is nothing at {path}: noetl execute list and noetl catalog list show what there is")

    def events(self, execution_id: str, after: int) -> Iterator[JsonObject]:
        """Give the events of an execution as they happen, until it has ended."""
        path = f"/api/executions/{segment(execution_id)}/events"
        while True:
            events = self.get(path, {"after": after, "limit": 500})["items"]
            for event in events:
                after = int(event["event_id"])
                yield event
                if event["event_type"] in TERMINAL_EVENTS:
                    return
            if not events:
                time.sleep(POLL_SECONDS)


def _pattern(path: str) -> re.Pattern[str]:
    """Return the expression of a path with parameters, `{name}` or, across slashes, `{name:path}`."""
    return re.compile(re.sub(r"\{(\w+)(:path)?\}", lambda m: f"(?P<{m[1]}>{'.*' if m[2] else '[^/]+'})", path))

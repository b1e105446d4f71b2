"""The service behind all routes: the database, the orchestrator, and whether the schema can serve."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import orjson
from psycopg import Connection
from starlette.responses import Response

from noetl.database.connection.connect import READ_ONLY, Database, is_writable
from noetl.database.keys import Keys
from noetl.database.schema.apply import read_state, schema_problem
from noetl.errors import DatabaseError, SchemaMismatch, SchemaMissing
from noetl.logs import TroubleLog
from noetl.orchestrator.commands import Orchestrator
from noetl.server.stream import EventReader

log = logging.getLogger("noetl.server")


class Service:
    """One running server, as its routes see it. `announce` is told the instance first, and whenever it changes."""

    def __init__(
        self,
        database: Database,
        orchestrator: Orchestrator,
        announce: Callable[[str | None], None] = lambda _instance: None,
    ) -> None:
        self.database = database
        self.orchestrator = orchestrator
        self.settings = orchestrator.settings
        self.keys = Keys(self.settings)
        self.reader = EventReader(database)
        self.instance: str | None = None
        self._announce = announce
        self._looking, self._looked = threading.Lock(), 0.0
        self._problem: DatabaseError | None = None
        self._unwritable: DatabaseError | None = None
        self._trouble = TroubleLog(log)
        self.refresh()
        if self.instance is None:
            announce(None)

    def refresh(self) -> DatabaseError | None:
        """Check the schema again; remember and return the error that keeps it from serving, or None."""
        try:
            with self.database.session() as conn:
                status = read_state(conn, self.database.schema)
                if not is_writable(conn):
                    self._unwritable = DatabaseError(READ_ONLY)
                elif str(self._unwritable) == READ_ONLY:
                    self._unwritable = None
            self._problem = schema_problem(status, self.database.schema)
            instance = None if status.instance is None else str(status.instance)
        except DatabaseError as error:  # the instance is still the one we know
            self._problem = error
            instance = self.instance
        if instance != self.instance:
            self._announce(instance)
            self.instance = instance
        problem = self._problem or self._unwritable
        if problem is not None:
            self._trouble.happened(f"calls cannot be served: {problem}")
        else:
            self._trouble.over("calls are served again")
        return self._problem

    def look(self) -> DatabaseError | None:
        """Return the error that keeps calls from being served, writing ones included, or None; at most a second old.

        One caller at a time asks the database, all others get the known answer: callers without a token must not take
        the sessions and threads of those with one.
        """
        known = self._problem or self._unwritable
        if (known is not None or monotonic() - self._looked > 1.0) and self._looking.acquire(blocking=False):
            try:
                self.refresh()
                self._looked = monotonic()
            finally:
                self._looking.release()
        return self._problem or self._unwritable

    def wrote(self, error: DatabaseError | None) -> None:
        """Remember the error of the last write, or None: a full disk still lets everybody read."""
        if error is not None or str(self._unwritable) != READ_ONLY:
            self._unwritable = error

    def require(self) -> None:
        """Raise the error that keeps the schema from serving, if it still does."""
        if self._problem is not None and (problem := self.refresh()) is not None:
            raise problem

    @contextmanager
    def session(self) -> Iterator[Connection[Any]]:
        """Give a connection inside a transaction. Raises `DatabaseError` where the schema cannot serve."""
        self.require()
        try:
            with self.database.session() as conn:
                yield conn
        except (SchemaMissing, SchemaMismatch) as error:
            self._problem = error
            raise


def answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON answer."""
    return Response(orjson.dumps(value), status, headers=headers, media_type="application/json")

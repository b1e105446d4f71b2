"""Playbooks as short as tests want them, and what came of running them."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from textwrap import dedent
from typing import Any

from noetl.database.connection.connect import Database
from noetl.settings import Settings
from tests.support.waiting import wait_for
from tests.support.working import Engine

_numbers = count(1)


def playbook(body: str, path: str) -> str:
    """Return a playbook's text from its sections; a body that begins with a step is the workflow alone."""
    body = dedent(body).strip("\n")
    if body.startswith("-"):
        body = f"workflow:\n{body}"
    return f"apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {{path: {path}}}\n{body}\n"


@dataclass(frozen=True, slots=True)
class Ended:
    """How an execution ended."""

    execution_id: int
    status: str
    result: Any
    error: Any
    events: list[str]

    def visits(self, step: str) -> int:
        """How often a step ran to its end."""
        return self.events.count(f"step_completed {step}")


class Lab(Engine):
    """An engine for tests that write their playbooks where they need them."""

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__(database, settings)
        self.settings = settings

    def put(self, body: str, path: str = "") -> str:
        """Register a playbook under a path of its own and return the path."""
        return self.register(playbook(body, path or f"test/p{next(_numbers)}"))

    def begin(self, body: str, **request: Any) -> int:
        """Register a playbook and start it."""
        return self.start(self.put(body), **request)

    def end(self, execution_id: int, limit: float = 15.0) -> Ended:
        """Wait for the end of an execution."""
        status = self.wait(execution_id, limit)
        return Ended(
            execution_id, status, self.result(execution_id), self.error(execution_id), self.events(execution_id)
        )

    def run(self, body: str, **request: Any) -> Ended:
        """Register a playbook, start it, and wait for its end."""
        return self.end(self.begin(body, **request))

    def facts(self, execution_id: int, columns: str = "*", where: str = "true") -> list[dict[str, Any]]:
        """Return events as mappings, in order."""
        with self.database.session() as conn:
            cursor = conn.execute(
                f"SELECT {columns} FROM event_log WHERE execution_id = %s AND {where} ORDER BY event_id".encode(),
                [execution_id],
            )
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def errors(self, execution_id: int) -> list[tuple[str, str, int, str]]:
        """Return the error log's rows of an execution: step, type, attempt, message."""
        return self.rows(
            "SELECT node_id, error_type, attempt, message FROM error_log WHERE execution_id = %s ORDER BY error_id",
            execution_id,
        )

    def until(self, condition: Callable[[], object], limit: float = 20.0) -> None:
        """Wait until something is true."""
        wait_for(condition, limit=limit)

"""The rows of an audit: the whole catalog and the whole log, for those who compare them with what was made of them."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from noetl.database.sql import sql
from noetl.words import JsonValue

ROWS_PER_FETCH = 1000


class CatalogSteps(NamedTuple):
    """A catalog version, and the names of the steps, edges and tasks that were made of it."""

    path: str
    version: int
    kind: str
    content: str
    content_hash: str
    steps: list[str]
    edges: list[str]
    tasks: list[str]


class StateRow(NamedTuple):
    """Where an execution stands."""

    execution_id: int
    catalog_id: int
    status: str
    state: Mapping[str, Any]


class ReplayedEvent(NamedTuple):
    """An event as its execution's state is folded from it."""

    event_id: int
    event_type: str
    node_id: str
    node_type: str
    visit: int
    item_index: int
    attempt: int
    context: dict[str, Any] | None
    has_result: bool
    error: JsonValue
    meta: dict[str, Any] | None


def select_catalog_steps(conn: Connection[Any]) -> list[CatalogSteps]:
    """Return every catalog version. Runs in a transaction."""
    return [CatalogSteps._make(row) for row in conn.execute(sql("select_catalog_steps"))]


def select_states(conn: Connection[Any]) -> Iterator[StateRow]:
    """Give every execution, however many there are. Runs in a transaction."""
    with psycopg.ServerCursor(conn, "replayed") as cursor:
        cursor.itersize = ROWS_PER_FETCH
        cursor.execute(sql("select_states"))
        yield from map(StateRow._make, cursor)


def select_replayed_events(conn: Connection[Any], execution_id: int) -> list[ReplayedEvent]:
    """Return the events of one execution in their order. Runs in a transaction."""
    rows = conn.execute(sql("select_replayed_events"), {"execution": execution_id})
    return [ReplayedEvent._make(row) for row in rows]

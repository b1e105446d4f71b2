"""The check of the log: the state of every execution is the fold of its events."""

from collections.abc import Iterator
from typing import Any

import orjson
import psycopg
from psycopg import Connection

from noetl.database.connect import Database
from noetl.engine.events import Event
from noetl.engine.evolve import replay
from noetl.orchestrator.playbook_cache import PlaybookCache
from noetl.playbook.model import Playbook
from noetl.words import EventType

Row = tuple[Any, ...]

ROWS_PER_FETCH = 1000

EVENT_TYPES: frozenset[str] = frozenset(EventType)

EVENTS = """
SELECT event_id, event_type, coalesce(node_id, ''), coalesce(node_type, ''), coalesce(visit, 0), item_index,
       coalesce(attempt, 0), context, CASE WHEN result IS NOT NULL OR result_ref IS NOT NULL THEN 'null' END,
       error, meta
  FROM event_log
 WHERE execution_id = %s
 ORDER BY event_id
"""


def verify_replay(database: Database) -> list[str]:
    """Return one sentence for each execution whose state is not what its events come to.

    Reads one snapshot, so it can run beside live workers; costs one pass over the log.
    """
    findings = []
    playbooks = PlaybookCache()
    with database.connect() as conn, database.transaction(conn, pipeline=False):
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for execution_id, catalog_id, status, state in _executions(conn):
            if catalog_id not in playbooks.by_id:
                playbooks.load_inside(conn, [catalog_id])
            if catalog_id in playbooks.unreadable:
                findings.append(f"execution {execution_id}: {playbooks.unreadable[catalog_id]}")
                continue
            rows = conn.execute(EVENTS, [execution_id]).fetchall()
            finding = _unknown(rows) or _difference(playbooks.by_id[catalog_id], rows, status, state)
            if finding:
                findings.append(f"execution {execution_id}: {finding}")
    return findings


def _unknown(rows: list[Row]) -> str:
    """Say which event cannot be replayed since its type is none that this version has, "" if none."""
    for event_id, event_type, *_ in rows:
        if event_type not in EVENT_TYPES:
            return (
                f"event {event_id} is of type {event_type!r}, which this version does not know: "
                "check with the version that wrote it"
            )
    return ""


def _difference(playbook: Playbook, rows: list[Row], status: str, state: dict[str, Any]) -> str:
    """Say how state and status differ from what the events come to, "" if they do not."""
    try:
        replayed = orjson.loads(orjson.dumps(replay(playbook, map(_event, rows)).to_json()))
    except Exception as error:  # noqa: BLE001 - a damaged event breaks it anywhere; looking for those is our task
        return f"its events cannot be replayed ({error!r})"
    if replayed != state:
        return f"its state is {state}, but its events come to {replayed}"
    if replayed["status"] != status:
        return f"its status is {status}, its state's {replayed['status']}"
    return ""


def _executions(conn: Connection[Any]) -> Iterator[tuple[int, int, str, dict[str, Any]]]:
    with psycopg.ServerCursor(conn, "replayed") as cursor:
        cursor.itersize = ROWS_PER_FETCH
        cursor.execute("SELECT execution_id, catalog_id, status, state FROM execution ORDER BY execution_id")
        yield from cursor


def _event(row: Row) -> Event:
    event_id, event_type, node_id, node_type, visit, item_index, attempt, context, result, error, meta = row
    return Event(
        event_id,
        EventType(event_type),
        node_id,
        node_type,
        visit,
        item_index,
        attempt,
        context=context,
        result=None if result is None else result.encode(),
        error=error,
        meta=meta,
    )

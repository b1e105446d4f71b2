"""Fold the whole log again and compare: the state of every execution is what its events come to."""

from collections.abc import Iterator
from typing import Any

import orjson
import psycopg
from psycopg import Connection

from noetl.database.connect import Database
from noetl.engine.evolve import replay
from noetl.engine.facts import Event
from noetl.orchestrator.views import Playbooks
from noetl.words import EventType

BATCH = 1000

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
    playbooks = Playbooks()
    with database.connect() as conn, database.transaction(conn, pipeline=False):
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for execution_id, catalog_id, status, state in _executions(conn):
            if catalog_id not in playbooks.by_id:
                playbooks.load_inside(conn, [catalog_id])
            if catalog_id in playbooks.unreadable:
                findings.append(f"execution {execution_id}: {playbooks.unreadable[catalog_id]}")
                continue
            state_now = replay(playbooks.by_id[catalog_id], _events(conn, execution_id))
            replayed = orjson.loads(orjson.dumps(state_now.to_json()))
            if replayed != state:
                findings.append(f"execution {execution_id}: its state is {state}, but its events come to {replayed}")
            elif replayed["status"] != status:
                findings.append(f"execution {execution_id}: its status is {status}, its state's {replayed['status']}")
    return findings


def _executions(conn: Connection[Any]) -> Iterator[tuple[int, int, str, dict[str, Any]]]:
    with psycopg.ServerCursor(conn, "replayed") as cursor:
        cursor.itersize = BATCH
        cursor.execute("SELECT execution_id, catalog_id, status, state FROM execution ORDER BY execution_id")
        yield from cursor


def _events(conn: Connection[Any], execution_id: int) -> Iterator[Event]:
    for row in conn.execute(EVENTS, [execution_id]):
        event_id, event_type, node_id, node_type, visit, item_index, attempt, context, result, error, meta = row
        yield Event(
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

"""The check of the log: the state of every execution is the fold of its events."""

from collections.abc import Mapping

import orjson

from noetl.database.connection.connect import Database
from noetl.database.schema.audit import ReplayedEvent, select_replayed_events, select_states
from noetl.engine.events import Event
from noetl.engine.evolve import replay
from noetl.orchestrator.playbook_cache import PlaybookCache
from noetl.playbook.model import Playbook
from noetl.words import EventType

EVENT_TYPES: frozenset[str] = frozenset(EventType)


def verify_replay(database: Database) -> list[str]:
    """Return one sentence for each execution whose state is not what its events come to.

    Reads one snapshot, so it can run beside live workers; costs one pass over the log.
    """
    findings = []
    playbooks = PlaybookCache()
    with database.connect() as conn, database.transaction(conn, pipeline=False):
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for execution_id, catalog_id, status, state in select_states(conn):
            if catalog_id not in playbooks.by_id:
                playbooks.load_inside(conn, [catalog_id])
            if catalog_id in playbooks.unreadable:
                findings.append(f"execution {execution_id}: {playbooks.unreadable[catalog_id]}")
                continue
            rows = select_replayed_events(conn, execution_id)
            finding = _unknown(rows) or _difference(playbooks.by_id[catalog_id], rows, status, state)
            if finding:
                findings.append(f"execution {execution_id}: {finding}")
    return findings


def _unknown(rows: list[ReplayedEvent]) -> str:
    """Say which event cannot be replayed since its type is none that this version has, "" if none."""
    for row in rows:
        if row.event_type not in EVENT_TYPES:
            return (
                f"event {row.event_id} is of type {row.event_type!r}, which this version does not know: "
                "check with the version that wrote it"
            )
    return ""


def _difference(playbook: Playbook, rows: list[ReplayedEvent], status: str, state: Mapping[str, object]) -> str:
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


def _event(row: ReplayedEvent) -> Event:
    return Event(
        event_id=row.event_id,
        event_type=EventType(row.event_type),
        node_id=row.node_id,
        node_type=row.node_type,
        visit=row.visit,
        item_index=row.item_index,
        attempt=row.attempt,
        context=row.context,
        result=b"null" if row.has_result else None,
        error=row.error,
        meta=row.meta,
    )

"""What is known of one execution, table by table, for `noetl export`."""

from collections.abc import Iterator
from typing import LiteralString

from psycopg.rows import dict_row

from noetl.database.paging import Connection, Row, plain_row
from noetl.database.read import EVENT_COLUMNS

EXPORTS: dict[str, LiteralString] = {
    "event_log": "SELECT * FROM event_log WHERE execution_id = %s ORDER BY event_id",
    "queue": "SELECT * FROM queue WHERE execution_id = %s ORDER BY id",
    "workload": "SELECT * FROM workload WHERE execution_id = %s",
    "workflow": "SELECT * FROM execution_workflow WHERE execution_id = %s ORDER BY position",
    "transition": "SELECT * FROM execution_transition WHERE execution_id = %s ORDER BY edge",
    "workbook": "SELECT * FROM execution_workbook WHERE execution_id = %s ORDER BY task_name",
    "runtime": (
        "SELECT * FROM runtime WHERE status = 'running' OR runtime_id IN"
        " (SELECT worker_id FROM event_log WHERE execution_id = %s) ORDER BY started_at, runtime_id"
    ),
    "error_log": "SELECT * FROM error_log WHERE execution_id = %s ORDER BY error_id",
    "output": "SELECT * FROM output WHERE execution_id = %s ORDER BY created_at, node_id",
    "payload": "SELECT * FROM payload WHERE execution_id = %s ORDER BY payload_id",
}
"""What `noetl export` can write of one execution: one query per file."""

FOLLOWED: dict[str, LiteralString] = {
    "event_log": "SELECT " + EVENT_COLUMNS + " FROM event_result WHERE execution_id = %s ORDER BY event_id"
}
"""Those that differ where results are to be followed that events only refer to."""

EXPORTED: tuple[str, ...] = (
    "event_log",
    "queue",
    "workload",
    "workflow",
    "transition",
    "workbook",
    "runtime",
    "error_log",
)
"""What it writes when nothing is named."""


def export_rows(conn: Connection, table: str, execution_id: int, *, follow: bool = False) -> Iterator[Row]:
    """Give the rows of one export one after the other, however many there are. `follow`: events with the results that
    they only refer to."""
    with conn.cursor(f"export_{table}", row_factory=dict_row) as cursor:
        cursor.itersize = 200
        query = FOLLOWED.get(table, EXPORTS[table]) if follow else EXPORTS[table]
        for row in cursor.execute(query, (execution_id,)):
            yield plain_row(row)

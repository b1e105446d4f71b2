"""Jobs whose time has come, more of them than are handled at once."""

from tests.support.working import Engine

WAITING = """apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: test, path: waiting}
workflow:
  - {step: start, type: wait, for: 1h}
"""

WAITED = "status = 'waiting', available_at = clock_timestamp() - interval '1 s'"
LEASE_OVER = (
    "status = 'leased', lease_until = clock_timestamp() - interval '1 s', worker_id = 'gone', attempts = attempts + 1"
)


def due_jobs(engine: Engine, count: int, columns: str) -> None:
    """Have so many jobs in the queue, in the state that these columns say."""
    engine.register(WAITING)
    for _ in range(count):
        engine.start("waiting")
    with engine.database.session() as conn:
        conn.execute(f"UPDATE queue SET {columns}".encode())

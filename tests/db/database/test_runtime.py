"""The registry of processes forgets those that are gone for long, and nobody else."""

from noetl.database import runtime, store
from noetl.database.connection.connect import Database
from noetl.settings import Settings
from tests.support.waiting import wait_for
from tests.support.working import Engine, working

REGISTER = """
INSERT INTO runtime (runtime_id, kind, status, heartbeat_at)
VALUES (%s, 'worker', %s, clock_timestamp() - %s * interval '1 second')
"""


def register(database: Database, *processes: tuple[str, str, float]) -> None:
    """Register processes: id, status, seconds since the last heartbeat."""
    with database.session() as conn:
        for process in processes:
            conn.execute(REGISTER, process)


def known(database: Database) -> set[str]:
    with database.session() as conn:
        return {row[0] for row in conn.execute("SELECT runtime_id FROM runtime")}


def test_those_that_run_are_never_forgotten_and_of_the_others_so_many_at_a_time(database: Database) -> None:
    """The longest gone go first."""
    register(
        database,
        ("runs", "running", 300),
        ("drains", "draining", 300),
        ("first", "stopped", 300),
        ("second", "offline", 200),
        ("third", "stopped", 100),
    )
    for left in ({"runs", "drains", "second", "third"}, {"runs", "drains", "third"}, {"runs", "drains", "third"}):
        with database.connect() as conn, store.transaction(conn, database.schema, asynchronous=True):
            runtime.forget_gone(conn, 150, limit=1)
        assert known(database) == left


def served(database: Database) -> dict[str, int]:
    with database.session() as conn:
        return runtime.served_pools(conn)


def test_the_pools_that_living_workers_serve_are_known(database: Database, settings: Settings) -> None:
    """One that was killed is not counted, even where nobody is left to mark it; nor one that works for one tree."""
    stale = runtime.STALE_SECONDS
    register(database, ("killed", "running", stale + 1), ("drains", "draining", 1), ("lives", "running", 1))
    with database.session() as conn:
        conn.execute("UPDATE runtime SET pools = '{default,gpu}'")
    assert served(database) == {"default": 1, "gpu": 1}
    with working(settings, pools=("default", "heavy")):
        wait_for(lambda: served(database) == {"default": 2, "gpu": 1, "heavy": 1})
    with working(settings, only_root=1):
        wait_for(lambda: Engine(database, settings).one("SELECT count(*) FROM runtime WHERE status = 'running'") == 2)
        assert served(database) == {"default": 1, "gpu": 1}

"""Workers remove processes from the registry that are gone for long."""

from noetl.database.connection.connect import Database
from noetl.settings import Settings
from noetl.worker.maintenance.registry import KEPT_SECONDS
from tests.db.database.test_runtime import known, register
from tests.support.waiting import wait_for
from tests.support.working import Engine, working


def test_a_worker_forgets_processes_that_are_gone_for_more_than_a_day(database: Database, settings: Settings) -> None:
    young = KEPT_SECONDS - 600
    register(
        database,
        ("stopped long ago", "stopped", KEPT_SECONDS + 600),
        ("offline long ago", "offline", KEPT_SECONDS + 600),
        ("stopped lately", "stopped", young),
        ("offline lately", "offline", young),
    )
    with working(settings):
        wait_for(lambda: not known(database) & {"stopped long ago", "offline long ago"}, limit=30)
        assert known(database) >= {"stopped lately", "offline lately"}
        assert Engine(database, settings).one("SELECT count(*) FROM runtime WHERE status = 'running'") == 1

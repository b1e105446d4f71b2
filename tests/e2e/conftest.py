"""`shared`: one database and one worker for all tests of a file; each test still ends with the invariants."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from noetl.database.connection.connect import Database, open_admin, open_database
from noetl.database.schema.verify import verify
from noetl.settings import Settings
from tests.support.playbooks import Lab
from tests.support.postgres import TestServer
from tests.support.working import working


@pytest.fixture(scope="module")
def notified() -> bool:
    """Whether notifications are on; a file that runs both ways has a fixture of this name of its own."""
    return True


@pytest.fixture(scope="module")
def shared_settings(server: TestServer, tmp_path_factory: pytest.TempPathFactory, notified: bool) -> Iterator[Settings]:
    """Settings for the database that the tests of a file share."""
    name = server.create_database()
    settings = server.settings(name, tmp_path_factory.mktemp("home"))
    yield replace(settings, notify=notified, environment={"GREETING": "hello", "API_KEY": "canary", "HIDDEN": "canary"})
    server.drop_database(name)


@pytest.fixture(scope="module")
def shared_database(shared_settings: Settings) -> Iterator[Database]:
    with open_database(shared_settings) as database:
        yield database


@pytest.fixture(scope="module")
def shared_worker(shared_settings: Settings, shared_database: Database) -> Iterator[Lab]:
    settings = replace(shared_settings, template_env=("GREETING", "API_KEY"))
    with working(settings, slots=4):
        yield Lab(shared_database, settings)


@pytest.fixture
def lab(shared_worker: Lab) -> Iterator[Lab]:
    """Run playbooks on the file's worker; afterwards nothing is left over and the invariants hold."""
    before = shared_worker.one("SELECT coalesce(max(execution_id), 0) FROM execution")
    yield shared_worker
    left = shared_worker.rows("SELECT node_id, status FROM queue WHERE execution_id > %s", before)
    assert left == [], "something of this test is still in the queue"
    check(shared_worker.settings)


def check(settings: Settings) -> None:
    """Hold a database to its invariants."""
    from noetl.orchestrator.replay import verify_replay

    with open_admin(settings) as admin:
        assert verify(admin) == []
        assert verify_replay(admin) == []

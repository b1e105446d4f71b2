"""A worker whose loop and maintenance nobody runs: tests call the duties."""

from collections.abc import Iterator

import pytest
from psycopg import Connection

from noetl.database.connection.connect import Database
from noetl.settings import Settings
from noetl.worker.executor import Executor
from noetl.worker.maintenance.parts import WorkerParts
from tests.support.worker_loops import a_worker_loop, worker_parts
from tests.support.working import Engine


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    return Engine(database, settings)


@pytest.fixture
def worker(database: Database, settings: Settings) -> Iterator[WorkerParts]:
    executor = Executor(1, warm=False)
    loop = a_worker_loop(database, settings, executor)
    yield worker_parts(loop)
    if loop._conn is not None:
        loop._conn.close()
    executor.close()


@pytest.fixture
def conn(database: Database) -> Iterator[Connection]:
    """The connection of the duties."""
    with database.connect() as conn:
        yield conn

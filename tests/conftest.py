"""Fixtures for all tests: `settings`, `database` (the login of server and worker), `admin`.

Whatever test uses one of them has a database of its own, and ends with the invariants of `noetl db verify`.
"""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from noetl.database.connection.connect import Database, open_admin, open_database
from noetl.database.schema.verify import verify
from noetl.settings import Settings
from tests.support.postgres import TestServer, make_home, remove_home

# A shell that runs this in the background leaves Ctrl-C ignored, and every process that a test starts would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What a developer has set for himself must not reach a test.
for _name in [name for name in os.environ if name.startswith(("NOETL_", "POSTGRES_", "PG"))]:
    if not _name.startswith("NOETL_TEST_"):
        del os.environ[_name]


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        make_home()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        remove_home()


Tell = Callable[[str], None]


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Print a line at the end of the run, whichever process the test runs in: for figures that people want to see."""
    return lambda line: request.node.user_properties.append(("figure", line))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests told."""
    reports = [report for group in ("passed", "failed") for report in terminalreporter.stats.get(group, ())]
    lines = [text for report in reports if report.when == "call" for name, text in report.user_properties]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def server() -> TestServer:
    """The Postgres of this test run."""
    server = TestServer()
    server.prepare()
    return server


@pytest.fixture
def make_settings(server: TestServer, tmp_path: Path) -> Iterator[Callable[..., Settings]]:
    """Make settings for a new database: `make_settings(with_schema=True)`. Nothing verifies it at the end."""
    names: list[str] = []

    def make(*, with_schema: bool = True) -> Settings:
        names.append(server.create_database(with_schema=with_schema))
        return server.settings(names[-1], tmp_path)

    yield make
    for name in names:
        server.drop_database(name)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Iterator[Settings]:
    """Settings for a new database with the schema; its invariants hold when the test is over."""
    settings = make_settings()
    yield settings
    from noetl.orchestrator.replay import verify_replay  # here, since unit tests have no use for the engine

    with open_admin(settings) as admin:
        assert verify(admin) == []
        assert verify_replay(admin) == []


@pytest.fixture
def admin(settings: Settings) -> Iterator[Database]:
    """The database under the administrator's login."""
    with open_admin(settings) as database:
        yield database


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The database under the login of server and worker."""
    with open_database(settings) as database:
        yield database

"""A real Postgres for tests: one server per test run, a template with the schema, a database per test.

The server is the embedded one with its own short-lived home, so that every test run exercises it. What a test
commits need not survive a power cut: fsync is off.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from noetl.database.connection.connect import Database
from noetl.database.embedded.passwords import SUPERUSER
from noetl.database.embedded.server import DATABASE, EmbeddedServer
from noetl.database.schema.apply import apply_schema
from noetl.database.schema.roles import ensure_roles, wanted_roles
from noetl.errors import Unreachable
from noetl.settings import Settings

URL_VARIABLE = "NOETL_TEST_DATABASE_URL"
"""Another server to run the tests on: a superuser's URL, logins let in without password."""

HOME_VARIABLE = "NOETL_TEST_HOME"
"""Where the server of this test run lives; set by the first process, inherited by those of xdist."""

TEMPLATE = "noetl_template"
LOCK = 1

CONFIGURATION = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "deadlock_timeout": "200ms",
}

ACCESS = """\
local all with_password,tool_password scram-sha-256
local all all trust
"""

_numbers = count(1)


def make_home() -> None:
    """Choose the home of this run's server, unless a parent process has; clear up after runs that were killed."""
    if HOME_VARIABLE in os.environ:
        return
    for home in Path(tempfile.gettempdir()).glob("noetl-test-*-*"):
        pid = home.name.split("-")[2]
        if home.stat().st_uid == os.geteuid() and pid.isdigit() and not _alive(int(pid)):
            with suppress(FileNotFoundError):  # another run clears up after it at this moment
                TestServer(home).remove()
            shutil.rmtree(home, ignore_errors=True)
    os.environ[HOME_VARIABLE] = tempfile.mkdtemp(prefix=f"noetl-test-{os.getpid()}-")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def remove_home() -> None:
    """Stop the server of this run, if it was started here, and remove what it left."""
    home = Path(os.environ[HOME_VARIABLE])
    if not home.name.startswith(f"noetl-test-{os.getpid()}-"):
        return  # it belongs to a run that started this one
    del os.environ[HOME_VARIABLE]
    TestServer(home).remove()
    shutil.rmtree(home, ignore_errors=True)


class TestServer(EmbeddedServer):
    """The server of this test run. Create, hand out and drop databases."""

    __test__ = False  # nothing for pytest to collect

    def __init__(self, home: Path | None = None) -> None:
        super().__init__(home or Path(os.environ[HOME_VARIABLE]), CONFIGURATION, ACCESS)

    def conninfo(self, user: str = SUPERUSER, database: str = DATABASE) -> str:
        """Return the connection string for a login, on the given server if there is one."""
        if url := os.environ.get(URL_VARIABLE):
            return make_conninfo(url, user=user, dbname=database)
        return super().conninfo(user, database)

    def settings(self, name: str, home: Path) -> Settings:
        """Return settings for one database on this server."""
        return Settings(home=home, embedded=False, database_url=self.conninfo(database=name))

    def prepare(self) -> None:
        """Start the server and make the template, whichever process of this run comes first."""
        if URL_VARIABLE not in os.environ:
            self.start()
        with self._session() as conn:
            conn.execute("SELECT pg_advisory_lock(%s)", (LOCK,))  # released with the session
            if conn.execute("SELECT FROM pg_database WHERE datname = %s", (TEMPLATE,)).rowcount:
                return
            conn.execute(f"DROP DATABASE IF EXISTS {TEMPLATE}_new")
            conn.execute(f"CREATE DATABASE {TEMPLATE}_new")
            settings = replace(self.settings(f"{TEMPLATE}_new", self.home), password="p1", playbook_password="p2")
            assert ensure_roles(conn, wanted_roles(settings)) == []
            assert apply_schema(Database(self.conninfo(database=f"{TEMPLATE}_new"), "noetl"), settings) == []
            conn.execute(f"ALTER DATABASE {TEMPLATE}_new RENAME TO {TEMPLATE}")

    def create_database(self, *, with_schema: bool = True) -> str:
        """Create a database with a name of its own and return the name."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        template = Identifier(TEMPLATE if with_schema else "template0")
        with self._session() as conn:
            # Copied as files: the other strategy writes each page through the buffers and into the log, twice as slow.
            conn.execute(SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(Identifier(name), template))
            if with_schema:  # each schema has an instance of its own
                with psycopg.connect(self.conninfo(database=name)) as inside:
                    inside.execute("UPDATE noetl.schema_version SET instance = gen_random_uuid()")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        with self._session() as conn:
            conn.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))

    @contextmanager
    def away(self, name: str) -> Iterator[None]:
        """Let nobody into a database, and end the sessions there, until the end of the block."""
        with self._session() as conn:
            conn.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(name)))
            try:
                conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
                yield
            finally:
                conn.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(Identifier(name)))

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.conninfo(database="postgres"), autocommit=True) as conn:
            yield conn


def reachable(database: Database) -> bool:
    """Tell whether a database lends sessions."""
    try:
        with database.session():
            return True
    except Unreachable:
        return False


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that make a child process use the same database and home."""
    assert settings.database_url is not None
    return {
        "NOETL_DATABASE_URL": make_conninfo(settings.database_url),
        "NOETL_HOME": str(settings.home),
        "NOETL_SCHEMA": settings.schema,
        "NOETL_USER": settings.user,
        "NOETL_PLAYBOOK_USER": settings.playbook_user,
    }

"""What SQL of one playbook does to the login that all playbooks share, and what of it stays in the server's log."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from noetl.database.connection.connect import Connection, Database
from noetl.database.schema.roles import UNLOGGED, ensure_roles, wanted_roles
from noetl.outcomes import Failed
from noetl.settings import Settings
from tests.support.postgres import TestServer
from tests.support.sql import Steps, sql_steps


@pytest.fixture
def observer(admin: Database) -> Iterator[Connection]:
    with admin.connect() as conn:
        yield conn


@pytest.fixture
def clean(observer: Connection) -> Iterator[None]:
    """The role's settings as the administrator made them: it belongs to the whole server."""
    yield
    observer.execute("ALTER ROLE noetl_playbook RESET ALL")
    for name, value in UNLOGGED.items():
        observer.execute(f"ALTER ROLE noetl_playbook SET {name} = '{value}'".encode())


@pytest.mark.parametrize(
    "setting",
    [
        "SET search_path = nowhere",
        "SET default_transaction_read_only = on",
        "SET statement_timeout = 1",
        "SET local_preload_libraries = 'there is none'",
        "SET TimeZone = 'Asia/Tokyo'",
        "SET role = noetl_playbook",
        "IN DATABASE {database} SET array_nulls = off",
    ],
)
@pytest.mark.usefixtures("clean")
def test_settings_that_sql_gives_its_role_do_not_reach_other_steps(
    settings: Settings, observer: Connection, setting: str
) -> None:
    """The next session removes them; those of the administrator's kind stay."""
    text = setting.format(database=observer.info.dbname)
    with sql_steps(settings) as one:
        one.result(f"CREATE TABLE seen (a text); ALTER ROLE noetl_playbook {text}")
    with sql_steps(settings) as another:
        assert another.rows("INSERT INTO seen VALUES ('x') RETURNING a") == [["x"]]
        assert another.one("SELECT current_setting('TimeZone') || current_setting('array_nulls')") == "UTCon"
    row = observer.execute("SELECT rolconfig FROM pg_roles WHERE rolname = 'noetl_playbook'").fetchone()
    assert row is not None
    assert sorted(row[0]) == sorted(f"{name}={value}" for name, value in UNLOGGED.items())


def test_it_takes_no_more_than_half_of_the_servers_connections(
    settings: Settings, server: TestServer, observer: Connection
) -> None:
    """A limit that somebody has set is kept."""
    query = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'noetl_playbook'"
    row = observer.execute("SELECT current_setting('max_connections')::int / 2").fetchone()
    assert observer.execute(query).fetchone() == row
    try:
        observer.execute("ALTER ROLE noetl_playbook CONNECTION LIMIT 0")
        assert ensure_roles(observer, wanted_roles(settings)) == []
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            psycopg.connect(make_conninfo(str(settings.database_url), user="noetl_playbook"))
        with sql_steps(settings) as steps:
            error = steps.error("SELECT 1")
        assert error["retryable"] is True
    finally:
        observer.execute("ALTER ROLE noetl_playbook CONNECTION LIMIT -1")
        ensure_roles(observer, wanted_roles(settings))
    assert observer.execute(query).fetchone() == row


FAILING = (
    "SELECT 'word-{0}' || 1 / 0",
    "SELECT 'word-{0}'::int",
    "SELEC 'word-{0}'",
    "DO $$ BEGIN RAISE WARNING 'word-{0}'; END $$; SELECT 1 / 0",
)


def _log(server: TestServer) -> str:
    return Path(server.log).read_text(errors="replace")


@pytest.mark.parametrize("sql", FAILING)
def test_sql_that_fails_is_not_in_the_servers_log(
    settings: Settings, server: TestServer, observer: Connection, sql: str
) -> None:
    """Neither its text, nor its params, nor what Postgres says of a value."""
    word = observer.info.dbname
    with sql_steps(settings) as steps:
        steps.error(sql.format(word))
        assert isinstance(steps.answer("SELECT $1::int", [f"word-{word}"]), Failed)
    observer.execute("SELECT 'the log is written', 1").fetchone()
    assert f"word-{word}" not in _log(server)


def test_with_auth_the_text_is_not_in_the_log_where_the_login_may_say_so(
    settings: Settings, server: TestServer, observer: Connection
) -> None:
    """A superuser may, others may not: which is why values belong into params."""
    word = observer.info.dbname
    host = psycopg.conninfo.conninfo_to_dict(str(settings.database_url))
    auth = {"type": "postgres", "host": host["host"], "database": host["dbname"], "user": "postgres"}
    with sql_steps(settings) as steps:
        one = Steps(steps.tool, {"": auth})
        assert one.error(f"SELECT 'text-{word}', 1 / 0")["detail"]["sqlstate"] == "22012"
        two = Steps(steps.tool, {"": {**auth, "user": "noetl"}})
        assert two.error(f"SELECT 'seen-{word}', 1 / 0")["detail"]["sqlstate"] == "22012"
    assert f"text-{word}" not in _log(server)
    assert f"seen-{word}" in _log(server)

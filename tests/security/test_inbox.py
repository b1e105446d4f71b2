"""SQL of one playbook can neither read nor forge nor block the keys of others, nor hold up who changes the schema."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg.errors as pg
import pytest
from psycopg.conninfo import make_conninfo

from noetl.database.connection.connect import Connection, Database, playbook_login
from noetl.database.schema.apply import LOCK, apply_schema
from noetl.database.schema.inbox import read_seal
from noetl.settings import Settings
from noetl.tools.postgres.exactly_once import sealed
from noetl.tools.registry import make_tools
from tests.support.sql import Steps


@pytest.fixture
def steps(settings: Settings, database: Database) -> Iterator[Steps]:
    """The tool as a worker has it."""
    tools = make_tools(playbook_login=playbook_login(settings), inbox_secret=read_seal(database))
    yield Steps(tools["postgres"])
    for tool in tools.values():
        if tool.close is not None:
            tool.close()


@pytest.fixture
def guest(settings: Settings, admin: Database) -> Iterator[Connection]:
    """A session of the playbooks' login, outside of any step."""
    with Database(make_conninfo(admin.conninfo, user=settings.playbook_user), "noetl").connect() as conn:
        yield conn


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM noetl_inbox.noetl_done",
        "INSERT INTO noetl_inbox.noetl_done (key, result) VALUES ('7:pay:1:-1', '{}')",
        "UPDATE noetl_inbox.noetl_done SET result = '{}'",
        "DELETE FROM noetl_inbox.noetl_done",
        "LOCK TABLE noetl_inbox.noetl_done IN ROW EXCLUSIVE MODE",
        "LOCK TABLE noetl_inbox.noetl_done IN ACCESS EXCLUSIVE MODE",
        "SELECT * FROM noetl_inbox.noetl_seal",
        "LOCK TABLE noetl_inbox.noetl_seal IN ACCESS SHARE MODE",
        "CREATE TABLE noetl_inbox.mine ()",
        "ALTER FUNCTION noetl_inbox.enter(text) SECURITY INVOKER",
    ],
)
def test_the_tables_are_out_of_reach(steps: Steps, guest: Connection, sql: str) -> None:
    """Within a step and outside."""
    with pytest.raises(pg.InsufficientPrivilege), guest.transaction():
        guest.execute(sql.encode())
    assert steps.error(sql)["detail"]["sqlstate"] == "42501"


def test_a_key_cannot_be_forged(steps: Steps, guest: Connection) -> None:
    """Who knows execution, step, visit and item does not know the key: the step runs all the same."""
    steps.result("CREATE TABLE paid (a int)")
    guest.execute("SELECT noetl_inbox.enter('7:pay:1:-1'), noetl_inbox.leave('7:pay:1:-1', '{}')")
    steps.result("INSERT INTO paid VALUES (1)", run_key="7:pay:1:-1")
    assert steps.rows("SELECT a FROM paid") == [[1]]
    for _ in range(2):
        steps.result("INSERT INTO paid VALUES (2)", run_key="7:pay:1:-1")
    assert steps.rows("SELECT a FROM paid") == [[1]]


def test_a_key_is_nowhere_to_be_seen(steps: Steps, admin: Database, database: Database) -> None:
    """Neither in the step's own session nor in the list of sessions; an operator finds it by its beginning."""
    key = sealed("8:look:1:-1", read_seal(database)).decode()
    looks = (
        "SELECT query FROM pg_stat_activity; SELECT statement FROM pg_prepared_statements; SELECT name FROM pg_cursors"
    )
    assert key.rpartition("/")[2] not in str(steps.result(looks, run_key="8:look:1:-1"))
    with admin.connect() as conn:
        rows = conn.execute("SELECT key FROM noetl_inbox.noetl_done WHERE key LIKE '8:look:%'").fetchall()
    assert rows == [(key,)]


def test_keys_differ_from_one_secret_to_the_next() -> None:
    """And without one they are plain, as in databases that have no functions."""
    assert len({sealed("1:a:1:-1", secret) for secret in (b"one", b"two", None)}) == 3
    assert sealed("1:a:1:-1", None) == b"1:a:1:-1"


def test_the_secret_survives_a_second_apply(settings: Settings, admin: Database, database: Database) -> None:
    """Else steps that run at the moment would run twice."""
    before = read_seal(database)
    apply_schema(admin, settings)
    assert read_seal(database) == before


def test_advisory_locks_of_a_playbook_hold_up_nobody(
    settings: Settings, admin: Database, database: Database, guest: Connection
) -> None:
    """Neither who applies the schema nor who makes partitions."""
    for key in (LOCK, LOCK + 1):
        guest.execute("SELECT pg_advisory_lock(%s)", (key,))
    assert apply_schema(admin, replace(settings, lock_timeout=0.5)) == []
    with database.session() as conn:
        assert conn.execute("SELECT make_partitions(5)").fetchone() == (2,)

"""Connections and transactions."""

from concurrent.futures import ThreadPoolExecutor

import psycopg.errors as pg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from noetl.database import store
from noetl.database.connection.connect import Database, embedded_server, open_database, translate
from noetl.database.embedded.passwords import Passwords
from noetl.database.schema.inbox import make_inbox
from noetl.errors import DatabaseError, InputError, SchemaMismatch, SchemaMissing, Unreachable
from noetl.settings import Settings, load_settings
from tests.support.postgres import TestServer, reachable
from tests.support.relay import a_relay
from tests.support.waiting import wait_for


@pytest.mark.parametrize("pipeline", [True, False])
@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_transaction_has_the_schema_and_commits_as_told(
    database: Database, pipeline: bool, asynchronous: bool
) -> None:
    """Search path and synchronous_commit hold for the transaction only."""
    with database.connect() as conn:
        before = conn.execute("SHOW synchronous_commit").fetchone()
        with database.transaction(conn, asynchronous=asynchronous, pipeline=pipeline):
            assert conn.execute("SELECT replace(current_setting('search_path'), '\"', '')").fetchone() == (
                "noetl, pg_temp",
            )
            assert conn.execute("SHOW synchronous_commit").fetchone() == (("off",) if asynchronous else before)
            conn.execute("INSERT INTO runtime (runtime_id, kind) VALUES ('a', 'worker')")
        assert conn.execute("SHOW synchronous_commit").fetchone() == before
        assert conn.execute("SELECT count(*) FROM noetl.runtime").fetchone() == (1,)
        assert conn.execute("SHOW search_path").fetchone() == ('"$user", public',)


@pytest.mark.parametrize("pipeline", [True, False])
def test_an_error_rolls_back_and_leaves_the_connection_usable(database: Database, pipeline: bool) -> None:
    """Whether the server or the block raised it; the server's meaning is translated."""
    with database.connect() as conn:

        def fail(statement: str) -> None:
            with database.transaction(conn, pipeline=pipeline):
                conn.execute("INSERT INTO runtime (runtime_id, kind) VALUES ('a', 'worker')")
                conn.execute(statement.encode())
                raise KeyError("own")

        for statement, error in (
            ("SELECT 1", KeyError),
            ("INSERT INTO runtime (runtime_id, kind) VALUES ('a', 'worker')", pg.UniqueViolation),
            ("SELECT * FROM nowhere", SchemaMissing),
            ("SELECT nothing FROM runtime", SchemaMismatch),
            ("DELETE FROM event_log", SchemaMismatch),
        ):
            # In a pipeline the block is over before the server has answered: its own error comes first.
            with pytest.raises(KeyError if pipeline else error):
                fail(statement)
            assert conn.info.transaction_status == TransactionStatus.IDLE
        assert conn.execute("SELECT count(*) FROM noetl.runtime").fetchone() == (0,)


def test_a_late_error_of_a_pipeline_is_raised_at_its_end(database: Database) -> None:
    """Nothing is committed then."""
    with database.connect() as conn:

        def fail() -> None:
            with database.transaction(conn):
                conn.execute("INSERT INTO runtime (runtime_id, kind) VALUES ('a', 'worker')")
                conn.execute("SELECT * FROM nowhere")

        with pytest.raises(SchemaMissing, match="run noetl db apply-schema"):
            fail()
        assert conn.info.transaction_status == TransactionStatus.IDLE
        assert conn.execute("SELECT count(*) FROM noetl.runtime").fetchone() == (0,)


def test_a_pooled_session_that_died_is_replaced(
    database: Database, admin: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found out without a question to those that live."""
    monkeypatch.setattr("noetl.database.connection.pooled.TRUSTED", 600.0)
    with database:
        database.pool(max=1)
        with database.connection() as conn:
            first = conn.info.backend_pid
        with database.connection() as conn:
            assert conn.info.backend_pid == first
            gone = "SELECT state_change FROM pg_stat_activity WHERE pid = %s"
            with admin.connect() as other:
                before = other.execute(gone, [first]).fetchone()
        with database.connection() as conn, admin.connect() as other:
            assert other.execute(gone, [first]).fetchone() == before, "taking it asked nothing of the server"
        with admin.connect() as other:
            other.execute("SELECT pg_terminate_backend(%s)", [first])
            wait_for(lambda: other.execute(gone, [first]).fetchone() is None)
        with database.connection() as conn:
            assert conn.info.backend_pid != first
            assert conn.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("gathering", [True, False])
def test_what_is_said_after_a_commit_is_said_only_then(database: Database, gathering: bool) -> None:
    """As a transaction of its own: it sees that the other has ended, and its own settings."""
    told = b"INSERT INTO noetl.runtime (runtime_id, kind) SELECT current_setting('search_path'), 'worker'"
    with database.connect_gathering() if gathering else database.connect() as conn:
        with pytest.raises(KeyError), store.transaction(conn, "noetl", then=told):
            raise KeyError
        assert conn.execute("SELECT count(*) FROM noetl.runtime").fetchone() == (0,)
        with pytest.raises(pg.UndefinedTable), store.transaction(conn, "noetl", then=told):
            conn.execute("SELECT FROM nowhere")
        assert conn.execute("SELECT count(*) FROM noetl.runtime").fetchone() == (0,)
        with store.transaction(conn, "noetl", then=told):
            conn.execute("SELECT 1")
        assert conn.execute("SELECT runtime_id FROM noetl.runtime").fetchall() == [('"$user", public',)]


def test_connections_keep_each_other_alive(database: Database) -> None:
    """A peer that vanished is noticed; the server sees who we are."""
    with database.connect() as conn:
        assert conn.execute("SHOW application_name").fetchone() == ("noetl",)
        assert conn.autocommit
    assert "keepalives_idle=10" in database.conninfo


def test_where_shows_no_password() -> None:
    """It stands in messages and in `noetl db status`."""
    database = Database("postgresql://me:hush@db.example:6000/main", "noetl")
    assert (database.where, repr(database)) == (
        "me@db.example:6000/main",
        "Database(me@db.example:6000/main, schema='noetl')",
    )


def test_other_errors_pass_untranslated() -> None:
    """Only what means "cannot serve" becomes ours."""
    with pytest.raises(pg.DeadlockDetected), translate():
        raise pg.DeadlockDetected
    with pytest.raises(KeyError), translate():
        raise KeyError


def test_the_embedded_server_is_managed_only_where_it_is_the_one(settings: Settings) -> None:
    """`noetl db stop` with a database of one's own is an error, not a no-op."""
    with pytest.raises(DatabaseError, match="the settings name a database of their own"):
        embedded_server(settings)


def test_a_schema_with_any_name_is_found(settings: Settings, admin: Database) -> None:
    """Quotes and spaces included."""
    name = "it's a \"schema"
    with admin.connect() as conn:
        conn.execute(SQL("CREATE SCHEMA {}").format(Identifier(name)))
        conn.execute(SQL("CREATE TABLE {} ()").format(Identifier(name, "here")))
    with Database(admin.conninfo, name) as database, database.session() as conn:
        assert conn.execute("SELECT count(*) FROM here").fetchone() == (0,)


def test_an_inbox_is_made_where_it_is_asked_for(settings: Settings, admin: Database) -> None:
    """Once; a second time finds it, with what is in it."""
    with admin.connect() as conn:
        conn.execute("DROP SCHEMA noetl_inbox CASCADE")
    where, created = make_inbox(admin.conninfo)
    assert (where, created) == (admin.where, True)
    with admin.connect() as conn:
        conn.execute("INSERT INTO noetl_inbox.noetl_done (key, result) VALUES ('k', '{}')")
    assert make_inbox(admin.conninfo) == (admin.where, False)
    with admin.connect() as conn:
        assert conn.execute("SELECT count(*) FROM noetl_inbox.noetl_done").fetchone() == (1,)


def test_an_inbox_that_cannot_be_made(database: Database, admin: Database) -> None:
    """No URL, or no rights: one sentence, without the password."""
    with pytest.raises(InputError, match="not a connection string") as caught:
        make_inbox("postgresql://me:hush@[nowhere")
    assert "hush" not in str(caught.value)
    with admin.connect() as conn:
        conn.execute("DROP SCHEMA noetl_inbox CASCADE")
    with pytest.raises(InputError, match="use a login that may create a schema"):
        make_inbox(database.conninfo)


def test_an_embedded_database_opens_with_its_own_role(server: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings at all: server and worker have a login of their own from the first start."""
    import tests.support.postgres as support

    home = support.TestServer().home
    monkeypatch.setattr("noetl.database.connection.connect.EmbeddedServer", lambda _: support.TestServer(home))
    Passwords(home).make()
    settings = load_settings(home=home, user="first_seen_here")
    assert settings.embedded
    with open_database(settings) as database, database.connect() as conn:
        assert (conn.info.user, conn.info.dbname) == ("first_seen_here", "noetl")


def pid_of_session(database: Database) -> int:
    with database.session() as conn:
        row = conn.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def test_a_session_that_was_ended_is_replaced(database: Database, admin: Database) -> None:
    """Who asks next does not even notice."""
    first = pid_of_session(database)
    with admin.connect() as conn:
        conn.execute("SELECT pg_terminate_backend(%s, 10000)", (first,))
    assert pid_of_session(database) != first


def test_a_session_that_does_not_answer_is_replaced(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server is frozen, or the network has swallowed it: nothing would come back, and nothing would say so."""
    monkeypatch.setattr("noetl.database.connection.pooled.TRUSTED", 0.0)
    with a_relay(database.conninfo) as relay, Database(relay.conninfo, database.schema) as distant:
        distant.pool(max=1)
        first = pid_of_session(distant)
        relay.freeze()
        assert pid_of_session(distant) != first


def test_whoever_asks_while_the_database_is_away_soon_hears_so(database: Database, server: TestServer) -> None:
    """The first waits in case it comes back; a crowd after it does not add up those waits. It is found again."""
    name = str(conninfo_to_dict(database.conninfo)["dbname"])
    first = 2.0
    database.pool(timeout=first)

    def ask() -> None:
        with pytest.raises(Unreachable, match="is it running"), database.session():
            pass

    with server.away(name), ThreadPoolExecutor(4) as threads:
        ask()
        crowd = [threads.submit(ask) for _ in range(40)]
        wait_for(lambda: all(one.done() for one in crowd), limit=len(crowd) / 4 * first)
        assert [one.exception() for one in crowd if one.exception()] == []
    wait_for(lambda: reachable(database))

"""Gathered statements answer as psycopg's own do, whatever goes wrong between them."""

import os
import resource
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from noetl.database import store
from noetl.database.connection.connect import Database
from noetl.database.connection.gathered import GatheringConnection, positional


@pytest.fixture
def conn(database: Database) -> Iterator[Any]:
    connection = database.connect_gathering()
    yield connection
    connection.close()


@pytest.mark.parametrize("value", [None, True, False, 0, -1, 2**62, 1.5, "text", "it's %s {1}", "ü\n", '{"a": [1]}'])
def test_a_value_comes_back_as_it_went(conn: GatheringConnection, value: Any) -> None:
    cast = {bool: "boolean", int: "bigint", float: "double precision"}.get(type(value), "text")
    with conn.gathered():
        answer = conn.execute(f"SELECT %s::{cast}, %s::{cast}", [value, value])
        assert answer.fetchall() == [(value, value)]


def test_arrays_bytes_and_times_are_read_as_psycopg_reads_them(conn: GatheringConnection) -> None:
    query = "SELECT '{1,2}'::bigint[], '{}'::int[], 'a'::text, 1.5::numeric, '2026-01-01 00:00+00'::timestamptz"
    own = psycopg.Connection.execute(conn, query).fetchall()
    with conn.gathered():
        assert conn.execute(query).fetchall() == own


def test_nothing_is_sent_before_a_result_is_wanted(conn: GatheringConnection, admin: Database) -> None:
    conn.execute("CREATE TEMP TABLE seen (n int)")
    with conn.gathered():
        conn.execute("INSERT INTO seen VALUES (1)")
        with admin.connect() as other:
            state = "SELECT query LIKE 'INSERT%%' FROM pg_stat_activity WHERE pid = %s"
            row = other.execute(state, [conn.info.backend_pid]).fetchone()
            assert row == (False,)
    assert conn.execute("SELECT count(*) FROM seen").fetchone() == (1,)


def test_one_placeholder_may_stand_in_several_places() -> None:
    text, order = positional("SELECT %(a)s, %(b)s, %(a)s, '100%%'")
    assert (text, order) == (b"SELECT $1, $2, $1, '100%'", ("a", "b"))
    assert positional("SELECT %s, %s") == (b"SELECT $1, $2", (0, 1))


def test_an_error_undoes_the_transaction_and_leaves_the_connection_usable(conn: GatheringConnection) -> None:
    conn.execute("CREATE TEMP TABLE kept (n int PRIMARY KEY)")
    with pytest.raises(psycopg.errors.UniqueViolation), store.transaction(conn, "noetl"):  # noqa: PT012
        conn.execute("INSERT INTO kept VALUES (%s)", [1])
        conn.execute("INSERT INTO kept VALUES (%s)", [1])
        conn.execute("INSERT INTO kept VALUES (%s)", [2])
    assert conn.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    with store.transaction(conn, "noetl"):
        conn.execute("INSERT INTO kept VALUES (%s)", [1])
        assert conn.execute("SELECT n FROM kept").fetchall() == [(1,)]
    assert conn.execute("SELECT count(*) FROM kept").fetchone() == (1,)


def test_an_exception_of_our_own_undoes_what_was_gathered(conn: GatheringConnection) -> None:
    conn.execute("CREATE TEMP TABLE kept (n int)")
    with pytest.raises(ZeroDivisionError), store.transaction(conn, "noetl"):  # noqa: PT012
        conn.execute("INSERT INTO kept VALUES (1)")
        raise ZeroDivisionError
    assert conn.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_a_statement_that_could_not_be_prepared_is_prepared_again(conn: GatheringConnection) -> None:
    for _ in range(2):
        with pytest.raises(psycopg.errors.UndefinedTable), store.transaction(conn, "noetl"):
            conn.execute("SELECT n FROM later").fetchall()
    conn.execute("CREATE TEMP TABLE later (n int)")
    with store.transaction(conn, "noetl"):
        assert conn.execute("SELECT n FROM later").fetchall() == []


@pytest.mark.parametrize("kind", ["dedicated", "pooled"])
def test_a_rollback_outside_leaves_what_was_prepared(database: Database, kind: str) -> None:
    """psycopg deallocates everything after one, if it has prepared anything itself; a request that fails rolls back."""
    with database.connect_gathering() if kind == "dedicated" else database.connection() as conn:
        for _ in range(2):
            with conn.gathered():  # type: ignore[attr-defined]
                assert conn.execute("SELECT %s::bigint", [1]).fetchone() == (1,)
            with conn.transaction(force_rollback=True):
                for _ in range(10):
                    conn.execute("SELECT 1")


def test_megabytes_go_both_ways_at_once(conn: GatheringConnection) -> None:
    text = "x" * 4_000_000
    with store.transaction(conn, "noetl"):
        answers = [conn.execute("SELECT %s::text", [text]) for _ in range(8)]
        assert all(answer.fetchone() == (text,) for answer in answers)


def test_a_lost_connection_is_an_operational_error(conn: GatheringConnection, admin: Database) -> None:
    with pytest.raises(psycopg.OperationalError), store.transaction(conn, "noetl"):  # noqa: PT012
        conn.execute("SELECT 1").fetchall()
        with admin.connect() as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [conn.info.backend_pid])
        conn.execute("SELECT 2").fetchall()
    assert conn.closed


def test_what_has_no_form_as_text_is_refused_and_the_connection_continues(conn: GatheringConnection) -> None:
    """libpq would cut a text at NUL, and Python writes lists and bytes in a form of its own: neither may be stored."""
    for value, error in (("a\0b", psycopg.DataError), ([1], TypeError), (b"a", TypeError), ({"a": 1}, TypeError)):
        with pytest.raises(error), store.transaction(conn, "noetl"):
            conn.execute("SELECT %s::text", [value])
        with store.transaction(conn, "noetl"):
            assert conn.execute("SELECT %s::text", ["a"]).fetchall() == [("a",)]


def test_a_connection_with_a_high_number_sends_what_the_kernel_takes_in_pieces(database: Database) -> None:
    """A worker has some descriptors for each of its runners, and after a reconnect its connection comes after them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2048)), hard))
    taken = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while taken[-1] <= 1024:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        high = database.connect_gathering()
        assert high.fileno() > 1024
        with store.transaction(high, "noetl"):
            answers = [high.execute("SELECT length(%s::text)", ["x" * 8_000_000]) for _ in range(4)]
            assert [answer.fetchall() for answer in answers] == [[(8_000_000,)]] * 4
        high.close()
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("pooled", [True, False])
def test_a_rollback_takes_no_prepared_statement_away(database: Database, pooled: bool) -> None:
    """psycopg forgets by DEALLOCATE ALL what it has prepared itself."""
    with database, database.connection() if pooled else database.connect_gathering() as conn:
        for _ in range(10):
            conn.execute("SELECT %s::integer", [1])
            conn.execute("SELECT %s::integer", [1], prepare=True)
            with pytest.raises(psycopg.errors.DivisionByZero), store.transaction(conn, database.schema):
                conn.execute("SELECT 1 / %s::integer", [0]).fetchall()
            conn.execute("BEGIN")
            conn.execute("ROLLBACK")
            with store.transaction(conn, database.schema):
                assert conn.execute("SELECT 1 + %s::integer", [1]).fetchall() == [(2,)]


def test_a_session_that_has_come_to_another_server_writes_nothing(
    conn: GatheringConnection, database: Database
) -> None:
    """Behind a proxy it may survive its server; what was decided by what the old one said is not for the new one."""
    with store.transaction(conn, "noetl"):
        conn.execute("SELECT 1")
    conn.server = b"another"
    insert = "INSERT INTO error_log (error_type, message) VALUES ('test', 'written')"
    with pytest.raises(psycopg.OperationalError, match="another server"), store.transaction(conn, "noetl"):  # noqa: PT012
        conn.execute("SELECT 1").fetchall()
        conn.execute(insert)
    assert conn.closed
    with database.session() as other:
        assert other.execute("SELECT count(*) FROM error_log").fetchone() == (0,)

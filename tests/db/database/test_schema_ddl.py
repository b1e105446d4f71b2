"""The DDL file: one transaction, idempotent, the same by every way."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

import pytest
from psycopg.sql import SQL, Identifier

from noetl.database.connection.connect import Database, open_admin
from noetl.database.schema.apply import (
    LOCK,
    SCHEMA_VERSION,
    SchemaState,
    apply_schema,
    expected_objects,
    packaged_ddl,
    schema_state,
)
from noetl.settings import Settings
from noetl.words import TERMINAL_EVENTS, TERMINAL_STATUSES, ExecutionStatus, JobStatus, RuntimeStatus
from tests.support.dumps import dump, psql
from tests.support.waiting import wait_for

DDL = Path(str(files("noetl.database").joinpath("ddl/postgres/schema_ddl.sql")))

MakeSettings = Callable[..., Settings]


@pytest.mark.parametrize(
    ("schema", "role"), [("noetl", "noetl"), ("other_schema", "other role"), ('Quoted "Schema', "it's me")]
)
def test_psycopg_and_psql_make_the_same_schema(make_settings: MakeSettings, schema: str, role: str) -> None:
    """The dumps are equal, also with other names for schema and role."""
    one, two = (replace(make_settings(with_schema=False), schema=schema, user=role) for _ in range(2))
    with open_admin(one) as admin:
        apply_schema(admin, one, ensure_role=True)
    options = " ".join(
        f"-c {name}={value}".replace(" ", "\\ ").replace("-c\\ ", "-c ")
        for name, value in (("noetl.schema", schema), ("noetl.role", role))
    )
    done = psql(two, "-f", str(DDL), options=options)
    assert done.returncode == 0, done.stderr
    assert dump(one) == dump(two)
    assert "CREATE TABLE" in dump(one)


def test_applying_twice_changes_nothing(settings: Settings, admin: Database) -> None:
    """Neither a definition nor the version and instance."""
    before = dump(settings, data=True)
    assert apply_schema(admin, settings) == []
    assert dump(settings, data=True) == before


def test_applying_gives_todays_names_to_a_schema_with_older_ones(settings: Settings, admin: Database) -> None:
    """The column and the index of the timeout, and the status of quarantined jobs; the rows stay."""
    before = dump(settings, data=True)
    with admin.session() as conn:
        conn.execute("DROP VIEW event_result")
        conn.execute("ALTER TABLE execution RENAME COLUMN timeout_at TO expires_at")
        conn.execute("ALTER INDEX execution_by_timeout RENAME TO execution_by_expiry")
        conn.execute("ALTER TABLE queue DROP CONSTRAINT queue_status_valid")
        conn.execute(
            "ALTER TABLE queue ADD CONSTRAINT queue_status_valid"
            " CHECK (status IN ('queued', 'leased', 'waiting', 'paused'))"
        )
    assert apply_schema(admin, settings) == []
    assert dump(settings, data=True) == before


def test_twenty_at_once_all_succeed(make_settings: MakeSettings) -> None:
    """Whoever comes first makes it, the others find it; there is one instance."""
    settings = make_settings(with_schema=False)

    def apply(_: int) -> list[str]:
        with open_admin(settings) as admin:
            return apply_schema(admin, settings, ensure_role=True)

    with ThreadPoolExecutor(20) as threads:
        assert list(threads.map(apply, range(20))) == [[]] * 20
    with open_admin(settings) as admin, admin.session() as conn:
        assert schema_state(admin).state is SchemaState.CURRENT
        assert conn.execute("SELECT count(*) FROM schema_version").fetchone() == (1,)


def test_whoever_waited_for_the_first_apply_waits_for_the_next_one_too(make_settings: MakeSettings) -> None:
    """The seal that another apply has made meanwhile is seen, and its lock is waited for."""
    settings = make_settings(with_schema=False)
    with open_admin(settings) as admin, ThreadPoolExecutor(1) as threads:
        with closing(admin.connect()) as first, closing(admin.connect()) as second:
            first.execute("SELECT pg_advisory_lock(474315322476)")
            waiting = threads.submit(apply_schema, admin, settings)
            wait_for(lambda: first.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount)
            first.execute("CREATE SCHEMA noetl_inbox")
            first.execute("CREATE TABLE noetl_inbox.noetl_seal (secret text PRIMARY KEY)")
            second.execute("BEGIN")
            second.execute("LOCK TABLE noetl_inbox.noetl_seal IN SHARE ROW EXCLUSIVE MODE")
            first.execute("SELECT pg_advisory_unlock(474315322476)")
            waits = "SELECT mode FROM pg_locks WHERE NOT granted AND relation = 'noetl_inbox.noetl_seal'::regclass"
            wait_for(lambda: first.execute(waits).rowcount)
            assert first.execute(waits).fetchall() == [("ShareRowExclusiveLock",)]
            second.execute("COMMIT")
        assert waiting.result(60) == []


def test_psql_stops_at_a_broken_file(make_settings: MakeSettings, tmp_path: Path) -> None:
    """With ON_ERROR_STOP it exits non-zero, and the transaction in the file leaves nothing behind."""
    settings = make_settings(with_schema=False)
    broken = tmp_path / "broken.sql"
    broken.write_text(DDL.read_text().replace("CREATE TABLE IF NOT EXISTS queue", "CREATE TABLE IF NOT EXISTS queue!"))
    assert psql(settings, "-f", str(broken)).returncode != 0
    with open_admin(settings) as admin:
        assert schema_state(admin).state is SchemaState.MISSING


def test_the_file_is_one_transaction_with_the_lock_first() -> None:
    """BEGIN and COMMIT once each, and nothing for psql only."""
    text = packaged_ddl()
    assert re.findall(r"^(BEGIN|COMMIT);$", text, re.MULTILINE) == ["BEGIN", "COMMIT"]
    assert not re.search(r"^\\", text, re.MULTILINE)
    assert f"pg_advisory_xact_lock({LOCK})" in text
    assert f"SELECT {SCHEMA_VERSION}, coalesce" in text


def test_its_first_forty_lines_name_all_tables() -> None:
    """Who opens the file reads first what is in it."""
    head = "\n".join(packaged_ddl().splitlines()[:40])
    tables = set(re.findall(r"^CREATE TABLE IF NOT EXISTS (?:noetl_inbox\.)?(\w+) \($", packaged_ddl(), re.MULTILINE))
    assert {name for name in tables if name not in head} == set()
    assert len(tables) == 17


def test_the_reference_copy_is_identical() -> None:
    """scripts/database/postgres holds the same bytes."""
    copy = Path(__file__).parents[3] / "scripts" / "database" / "postgres" / "schema_ddl.sql"
    assert copy.read_bytes() == DDL.read_bytes()


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        ("execution_status_valid", ExecutionStatus),
        ("queue_status_valid", JobStatus),
        ("runtime_status_valid", RuntimeStatus),
    ],
)
def test_checks_name_exactly_the_words(admin: Database, constraint: str, words: type[StrEnum]) -> None:
    """A status is in the CHECK if and only if it is in the vocabulary."""
    assert _literals(admin, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", constraint) == {
        word.value for word in words
    }


def test_terminal_statuses_and_events_are_those_of_the_vocabulary(admin: Database) -> None:
    """The CHECK on finished_at and the index of ends name them."""
    query = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s"
    assert _literals(admin, query, "execution_finished_valid") == {word.value for word in TERMINAL_STATUSES}
    query = "SELECT pg_get_indexdef(oid) FROM pg_class WHERE relname = %s"
    assert _literals(admin, query, "event_log_one_end") == {word.value for word in TERMINAL_EVENTS}


def _literals(admin: Database, query: str, name: str) -> set[str]:
    with admin.session() as conn:
        row = conn.execute(query.encode(), (name,)).fetchone()
    assert row is not None
    return set(re.findall(r"'(\w+)'", row[0]))


def test_the_timestamp_of_an_event_has_a_default(admin: Database) -> None:
    """As the founding document's query shows it."""
    with admin.session() as conn:
        row = conn.execute(
            """SELECT column_default, is_nullable FROM information_schema.columns
                WHERE table_schema = 'noetl' AND table_name = 'event_log' AND column_name = 'timestamp'"""
        ).fetchone()
    assert row == ("CURRENT_TIMESTAMP", "NO")


def test_all_expected_objects_are_there(admin: Database) -> None:
    """The names that `schema_state` looks for are read from the file."""
    names = expected_objects()
    assert {"queue", "event_log_default", "execution_workbook", "make_partitions", "execution_id_seq"} <= set(names)
    assert "noetl_done" not in names
    for name in ("queue", "next_execution_id", "runtime"):
        with admin.connect() as conn:
            kind = "FUNCTION" if name == "next_execution_id" else "TABLE"
            conn.execute("BEGIN")
            conn.execute(SQL(f"ALTER {kind} {{}} RENAME TO gone").format(Identifier("noetl", name)))
            conn.execute("COMMIT")
            status = schema_state(admin)
            assert (status.state, status.missing) == (SchemaState.PARTIAL, (name,))
            conn.execute(SQL(f"ALTER {kind} noetl.gone RENAME TO {{}}").format(Identifier(name)))
    assert schema_state(admin).state is SchemaState.CURRENT


def test_ids_grow_with_time_and_never_repeat(database: Database) -> None:
    """The database makes them: milliseconds since 2024 above 22 bits of a sequence."""
    with database.session() as conn:
        ids = [row[0] for row in conn.execute("SELECT next_execution_id() FROM generate_series(1, 5000)")]
        row = conn.execute("SELECT extract(epoch FROM clock_timestamp()) * 1000").fetchone()
    assert row is not None
    assert len(set(ids)) == 5000
    assert ids == sorted(ids)
    assert abs((ids[-1] >> 22) + 1704067200000 - int(row[0])) < 10_000

"""What can be wrong with a database, a file, a lock: one sentence each, and nothing lost."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from noetl.database.connection.connect import Database, open_admin, open_database
from noetl.database.schema.apply import (
    LOCK,
    SchemaState,
    apply_schema,
    live_processes,
    packaged_ddl,
    require_schema,
    reset_schema,
    schema_state,
)
from noetl.database.schema.migrate import Migration, load_migrations, migrate
from noetl.database.schema.status import schema_report
from noetl.errors import InputError, Locked, SchemaMismatch, SchemaMissing, Unreachable
from noetl.settings import Settings
from tests.support.dumps import dump
from tests.support.postgres import TestServer

MakeSettings = Callable[..., Settings]


def _execute(admin: Database, *statements: str) -> None:
    with admin.connect() as conn:
        for statement in statements:
            conn.execute(statement.encode())


# ---- files ----


def test_a_missing_file_is_named(settings: Settings, admin: Database, tmp_path: Path) -> None:
    """Nothing is sent to the database."""
    with pytest.raises(InputError, match=r"nix\.sql cannot be read: No such file"):
        apply_schema(admin, settings, file=tmp_path / "nix.sql")


def test_a_file_that_is_no_text_is_named(settings: Settings, admin: Database, tmp_path: Path) -> None:
    """Rather than a codec's complaint."""
    (tmp_path / "binary.sql").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"binary\.sql cannot be read: it is not UTF-8 text"):
        apply_schema(admin, settings, file=tmp_path / "binary.sql")


@pytest.mark.parametrize("transaction", [True, False])
def test_a_file_that_fails_half_way_leaves_nothing(
    make_settings: MakeSettings, tmp_path: Path, transaction: bool
) -> None:
    """The error names file and line, whether or not the file begins a transaction of its own."""
    settings = make_settings(with_schema=False)
    file = tmp_path / "broken.sql"
    begin, commit = ("BEGIN;", "COMMIT;") if transaction else ("", "")
    file.write_text(
        f"{begin}\nCREATE SCHEMA noetl;\nCREATE TABLE noetl.one ();\nCREATE TABLE noetl.one (!);\n{commit}\n"
    )
    with open_admin(settings) as admin:
        before = dump(settings)
        with pytest.raises(InputError, match=r'broken\.sql, line 4: syntax error at or near "!"; it was rolled back'):
            apply_schema(admin, settings, file=file)
        assert dump(settings) == before
        file.write_text(f"{begin}\nCREATE SCHEMA noetl;\nSELECT 1 / 0;\n{commit}\n")
        with pytest.raises(InputError, match=r"broken\.sql: division by zero; it was rolled back"):
            apply_schema(admin, settings, file=file)
        assert dump(settings) == before


def test_a_reset_with_a_broken_file_keeps_everything(settings: Settings, admin: Database, tmp_path: Path) -> None:
    """Drop and apply are one transaction."""
    file = tmp_path / "broken.sql"
    file.write_text(packaged_ddl().replace("CREATE OR REPLACE VIEW", "CREATE OR REPLACE VIEWS", 1))
    before = dump(settings, data=True)
    with pytest.raises(InputError, match=r"broken\.sql, line \d+: syntax error"):
        reset_schema(admin, settings, file=file)
    assert dump(settings, data=True) == before


# ---- states ----


def test_no_schema_says_what_to_run(make_settings: MakeSettings) -> None:
    """Server, worker and verify ask for it."""
    settings = make_settings(with_schema=False)
    with open_admin(settings) as admin:
        with pytest.raises(SchemaMissing, match="schema noetl is not in the database: run noetl db apply-schema"):
            require_schema(admin)
        with pytest.raises(SchemaMissing, match="run noetl db apply-schema"), admin.session() as conn:
            conn.execute("SELECT * FROM queue")


def test_half_a_schema_is_named_and_mended(settings: Settings, admin: Database) -> None:
    """Applying again makes what is missing and keeps the rest."""
    instance = require_schema(admin)
    _execute(admin, "DROP TABLE noetl.queue", "DROP VIEW noetl.execution_workbook")
    with pytest.raises(SchemaMissing, match=r"incomplete \(queue, execution_workbook\): run noetl db apply-schema"):
        require_schema(admin)
    assert apply_schema(admin, settings) == []
    assert require_schema(admin) == instance
    assert schema_report(admin, settings)["problems"] == []


def test_an_older_schema_says_migrate(settings: Settings, admin: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program knows a later version than the database."""
    monkeypatch.setattr("noetl.database.schema.apply.SCHEMA_VERSION", 2)
    with pytest.raises(SchemaMismatch, match="has version 1, this program needs 2: run noetl db migrate"):
        require_schema(admin)


def test_a_newer_schema_is_left_alone(settings: Settings, admin: Database) -> None:
    """By every command that would change it."""
    _execute(admin, "INSERT INTO noetl.schema_version (version, instance) SELECT 7, instance FROM noetl.schema_version")
    assert schema_state(admin).state is SchemaState.NEWER
    for action in (require_schema, lambda db: migrate(db, settings)):
        with pytest.raises(SchemaMismatch, match="has version 7, this program knows 1: use the NoETL that made it"):
            action(admin)
    with pytest.raises(SchemaMismatch, match="schema noetl has version 7, this file has version 1"):
        apply_schema(admin, settings)


def test_drift_is_told_object_by_object(settings: Settings, admin: Database) -> None:
    """The DDL itself is the measure; the scratch schema it is applied to is gone afterwards."""
    _execute(
        admin,
        "ALTER TABLE noetl.queue DROP COLUMN lost CASCADE",
        "ALTER TABLE noetl.catalog ALTER COLUMN kind DROP NOT NULL",
        "ALTER TABLE noetl.event_log_default DISABLE TRIGGER never_truncated",
        "CREATE TABLE noetl.mine ()",
    )
    found = schema_report(admin, settings)["drift"]
    assert "column queue.lost is missing" in found
    assert any(line.startswith("column catalog.kind is \"text 'Playbook'") for line in found)
    assert any(line.startswith("trigger never_truncated on event_log_default is") for line in found)
    assert "table mine is not NoETL's" in found
    with admin.session() as conn:
        assert conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'noetl%'").fetchone() == (3,)
    reset_schema(admin, settings)
    assert schema_report(admin, settings)["problems"] == []


def test_another_schema_name_shows_no_drift(make_settings: MakeSettings) -> None:
    """Definitions are compared without the names."""
    settings = replace(make_settings(with_schema=False), schema="My \"Schema's", user="my role")
    with open_admin(settings) as admin:
        apply_schema(admin, settings, ensure_role=True)
        assert schema_report(admin, settings)["problems"] == []


# ---- locks, and those who hold them ----


def test_a_lock_that_cannot_be_had_names_its_holder(settings: Settings, admin: Database, server: TestServer) -> None:
    """After the time that was given, with nothing changed. Who holds it in another database is not meant."""
    hurried = replace(settings, lock_timeout=0.05)
    holder = Database(admin.conninfo, "noetl", application="noetl db")
    elsewhere = psycopg.connect(server.conninfo(database="postgres"), application_name="elsewhere")
    with elsewhere, admin.connect() as other:
        elsewhere.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        other.execute("SET application_name = 'somebody'")
        other.execute("BEGIN; LOCK TABLE noetl_inbox.noetl_seal IN SHARE ROW EXCLUSIVE MODE")
        for action in (apply_schema, reset_schema):
            with pytest.raises(Locked, match=r"within 0\.05 s \(it is held by process \d+, somebody\): wait"):
                action(holder, hurried)


def test_a_reset_waits_for_live_transactions_or_gives_up(
    settings: Settings, admin: Database, database: Database
) -> None:
    """Rows locked by a worker are not pulled from under it."""
    with database.session() as conn:
        conn.execute("INSERT INTO runtime (runtime_id, kind, host) VALUES ('w1', 'worker', 'here')")
    assert live_processes(admin) == ["worker w1 on here"]
    with database.session() as conn:
        conn.execute("SELECT * FROM runtime FOR UPDATE")
        with pytest.raises(Locked, match="nothing was changed"):
            reset_schema(admin, replace(settings, lock_timeout=0.05))
    assert live_processes(admin) == ["worker w1 on here"]


def test_a_reset_under_load_gives_a_new_instance(settings: Settings, admin: Database, database: Database) -> None:
    """Those who work meanwhile get a clear error or find the new schema; both end."""
    before = require_schema(admin)
    stop, seen = threading.Event(), []

    def work() -> None:
        while not stop.is_set():
            try:
                with database.session() as conn:
                    conn.execute("INSERT INTO error_log (error_type, message) VALUES ('x', 'y')")
                    conn.execute("SELECT count(*) FROM queue, execution")
            except (SchemaMissing, SchemaMismatch, Locked) as error:
                seen.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            reset_schema(admin, settings)
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert require_schema(admin) != before


# ---- reaching it ----


def test_nobody_at_the_address(settings: Settings) -> None:
    """The sentence says where, and not with which password."""
    url = "postgresql://me:hush@127.0.0.1:9/there"
    with pytest.raises(Unreachable, match=r"no connection to noetl@127\.0\.0\.1:9/there: Connection refused") as caught:
        open_database(replace(settings, database_url=url))
    assert "hush" not in str(caught.value)


def test_a_wrong_password_and_an_unknown_database(settings: Settings, admin: Database) -> None:
    """Both say so."""
    _execute(admin, "CREATE ROLE with_password LOGIN PASSWORD 'right'")
    try:
        for password, reason in (("right", None), ("wrong", "password authentication failed"), ("", "no password")):
            url = make_conninfo(admin.conninfo, user="with_password", password=password or None)
            other = Database(url, "noetl")
            if reason is None:
                other.connect().close()
            else:
                with pytest.raises(Unreachable, match=reason):
                    other.connect()
        runtime = replace(settings, user="with_password", password="wrong")
        with pytest.raises(
            Unreachable, match=r"set NOETL_USER and NOETL_PASSWORD and make the login with .* --ensure-role"
        ):
            open_database(runtime)
    finally:
        _execute(admin, "DROP ROLE with_password")
    with pytest.raises(Unreachable, match='database "nix" does not exist'):
        Database(make_conninfo(admin.conninfo, dbname="nix"), "noetl").connect()


def test_a_password_is_set_and_replaced(settings: Settings, admin: Database) -> None:
    """--ensure-role gives the login the password of the settings, whatever is in it."""
    try:
        for password in ("first", 'it\'s "second" \\ %s'):
            given = replace(settings, user="with_password", password=password)
            assert apply_schema(admin, given, ensure_role=True) == []
            with open_database(given) as database, database.connect() as conn:
                assert conn.info.user == "with_password"
    finally:
        _execute(
            admin, "REASSIGN OWNED BY with_password TO noetl", "DROP OWNED BY with_password", "DROP ROLE with_password"
        )


def test_a_session_that_was_killed_is_replaced(settings: Settings, admin: Database, database: Database) -> None:
    """The error is ours; the pool goes on."""
    kill = """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
               WHERE usename = 'noetl' AND datname = current_database()"""

    def be_killed() -> None:
        with database.session() as conn:
            _execute(admin, kill)
            conn.execute("SELECT 1")

    with pytest.raises(Unreachable):
        be_killed()
    with database.session() as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    conn = database.connect()
    _execute(admin, kill)
    with pytest.raises(Unreachable), database.transaction(conn):
        conn.execute("SELECT 1")
    assert conn.closed


# ---- migrations ----


def test_the_packaged_migrations_are_in_order() -> None:
    """None before the first release, whose version is the DDL's."""
    assert [migration.version for migration in load_migrations()] == []


def test_misnumbered_migrations_are_refused(tmp_path: Path) -> None:
    """A gap would be skipped in one database and not in another."""
    (tmp_path / "0002_one.sql").write_text("SELECT 1")
    (tmp_path / "0004_two.sql").write_text("SELECT 1")
    with pytest.raises(InputError, match=r"0004_two\.sql should have the number 0003"):
        load_migrations(tmp_path)


def test_migrations_run_once_in_order_under_the_lock(settings: Settings, admin: Database) -> None:
    """A failing one is rolled back whole, those before it stay."""
    good = Migration(2, "0002_good.sql", "CREATE TABLE fresh (a integer); INSERT INTO fresh VALUES (1)")
    bad = Migration(3, "0003_bad.sql", "INSERT INTO fresh VALUES (2); SELECT 1 / 0")
    with pytest.raises(InputError, match=r"migration 0003_bad\.sql: division by zero; it was rolled back"):
        migrate(admin, settings, migrations=[good, bad], target=3)
    assert schema_state(admin).version == 2
    assert migrate(admin, settings, migrations=[good], target=2) == []
    with admin.session() as conn:
        assert conn.execute("SELECT array_agg(a) FROM fresh").fetchone() == ([1],)
        assert conn.execute("SELECT count(DISTINCT instance) FROM schema_version").fetchone() == (1,)


def test_nothing_to_migrate(settings: Settings, admin: Database, make_settings: MakeSettings) -> None:
    """A current schema stays; without one there is nothing to migrate from."""
    assert migrate(admin, settings) == []
    other = make_settings(with_schema=False)
    with open_admin(other) as empty, pytest.raises(SchemaMissing, match="run noetl db apply-schema"):
        migrate(empty, other)

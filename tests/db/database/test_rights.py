"""Owners, grants, append-only tables and partitions."""

from collections.abc import Callable
from dataclasses import replace

import psycopg.errors as pg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from noetl.database.connection.connect import Connection, Database, open_admin, open_database
from noetl.database.schema.apply import SchemaState, apply_schema, schema_state
from noetl.database.schema.status import schema_report
from noetl.errors import Unreachable
from noetl.settings import Settings
from tests.support.postgres import TestServer

EVENT = "INSERT INTO event_log (execution_id, event_id, event_type) VALUES (%s, %s, %s)"
PAYLOAD = "INSERT INTO payload (execution_id, payload_id, size, body) VALUES (1, 1, 2, '{}')"


def _run(database: Database, *statements: str) -> None:
    """Run statements on an execution with one event and one payload; nothing stays."""
    with database.connect() as conn, conn.transaction(force_rollback=True):
        conn.execute("SET LOCAL search_path = noetl, pg_temp")
        conn.execute(EVENT, (1, 1, "execution_start"))
        conn.execute(PAYLOAD)
        for statement in statements:
            conn.execute(statement.encode())


def _refused(database: Database, error: type[Exception], statement: str) -> str:
    with pytest.raises(error) as caught:
        _run(database, statement)
    return str(caught.value)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event_log SET node_id = 'x'",
        "DELETE FROM event_log",
        "UPDATE event_log_default SET node_id = 'x'",
        "DELETE FROM event_log_default",
        "TRUNCATE event_log",
        "TRUNCATE event_log_default",
        "UPDATE payload SET size = 0",
        "DELETE FROM payload",
        "TRUNCATE payload",
        "TRUNCATE payload_default",
    ],
)
def test_what_happened_cannot_be_changed(admin: Database, database: Database, statement: str) -> None:
    """Not by the administrator, whom triggers stop, and not by server and worker, who lack the right."""
    assert "is append-only" in _refused(admin, pg.RestrictViolation, statement)
    assert "permission denied" in _refused(database, pg.InsufficientPrivilege, statement)


def test_a_dated_partition_cannot_be_truncated(admin: Database) -> None:
    """Statement triggers do not reach partitions by themselves."""
    with admin.session() as conn:
        names = [row[0] for row in conn.execute("SELECT relname FROM pg_class WHERE relname ~ '_20[0-9]{6}$'")]
    assert len(names) == 8
    for name in names:
        assert "is append-only" in _refused(admin, pg.RestrictViolation, f"TRUNCATE {name}")


def test_server_and_worker_cannot_switch_off_the_triggers(database: Database) -> None:
    """They do not own the tables."""
    for statement in (
        "ALTER TABLE event_log DISABLE TRIGGER ALL",
        "DROP TRIGGER append_only ON payload",
        "DROP TABLE event_log_default",
        "CREATE TABLE event_log_copy ()",
        "ALTER FUNCTION make_partitions(integer) SECURITY INVOKER",
    ):
        assert _refused(database, pg.InsufficientPrivilege, statement)


def test_one_execution_has_one_end(admin: Database) -> None:
    """A second terminal event is refused by an index, of whatever kind it is."""
    insert = "INSERT INTO event_log (execution_id, event_id, event_type) VALUES (1, %s, '%s')"
    _run(admin, insert % (2, "execution_complete"))
    with pytest.raises(pg.UniqueViolation, match="execution_id_idx"):
        _run(admin, insert % (2, "execution_complete"), insert % (3, "execution_failed"))


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO queue (execution_id, node_id, status) VALUES (1, 'a', 'done')", pg.CheckViolation),
        ("INSERT INTO queue (execution_id, node_id, status) VALUES (1, 'a', 'leased')", pg.CheckViolation),
        ("INSERT INTO queue (execution_id, node_id) VALUES (1, 'a'), (1, 'a')", pg.UniqueViolation),
        ("INSERT INTO runtime (runtime_id, kind) VALUES ('a', 'robot')", pg.CheckViolation),
        ("INSERT INTO event_log (execution_id, event_id, event_type) VALUES (1, 0, 'x')", pg.CheckViolation),
        (
            "INSERT INTO event_log (execution_id, event_id, event_type) VALUES (1, 1, 'x'), (1, 1, 'y')",
            pg.UniqueViolation,
        ),
    ],
)
def test_the_wrong_thing_is_impossible(database: Database, statement: str, error: type[Exception]) -> None:
    """Whatever the program believes."""
    with pytest.raises(error), database.session() as conn:
        conn.execute(statement.encode())


def _partitions(conn: Connection) -> dict[str, str]:
    rows = conn.execute(
        """SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_class AS c
            WHERE c.relispartition AND c.relkind = 'r' ORDER BY c.relname"""
    )
    return dict(rows.fetchall())


def test_partitions_are_made_ahead_by_whoever_works(database: Database) -> None:
    """For ranges that begin in the future, without gaps; a second call finds nothing to do."""
    with database.session() as conn:
        assert len(_partitions(conn)) == 2 * (4 + 1)
        assert conn.execute("SELECT make_partitions(30)").fetchone() == (2 * 26,)
        assert conn.execute("SELECT make_partitions(30)").fetchone() == (0,)
        found = _partitions(conn)
        row = conn.execute("SELECT next_execution_id()").fetchone()
    assert row is not None
    bounds = [
        tuple(int(word.strip("()'")) for word in bound.split() if word.strip("()'").isdigit())
        for name, bound in sorted(found.items())
        if name.startswith("event_log_2")
    ]
    assert len(bounds) == 30
    assert bounds[0][0] > row[0]
    assert [low for low, _ in bounds[1:]] == [high for _, high in bounds[:-1]]
    assert all(high - low == 604_800_000 << 22 for low, high in bounds)


def test_events_find_their_partition_and_never_lack_one(admin: Database) -> None:
    """Today's stand in the default partition of a new schema, those of a coming week in their own."""
    with admin.connect() as conn, conn.transaction(force_rollback=True):
        conn.execute("SET LOCAL search_path = noetl, pg_temp")
        week = 604_800_000 << 22
        for execution in (1, week * 152 + 5, (1 << 62)):
            conn.execute(EVENT, (execution, 1, "execution_start"))
        conn.execute("INSERT INTO event_log (execution_id, event_id, event_type) SELECT next_execution_id(), 1, 'x'")
        rows = conn.execute("SELECT tableoid::regclass::text, count(*) FROM event_log GROUP BY 1 ORDER BY 1").fetchall()
        assert sum(count for _, count in rows) == 4
        assert dict(rows)["event_log_default"] >= 3


def test_a_week_whose_rows_stand_in_the_default_partition_is_told(admin: Database) -> None:
    """Ids far in the future (a clock that was wrong) do not keep the other weeks from being made."""
    with admin.connect() as conn, conn.transaction(force_rollback=True):
        conn.execute("SET LOCAL search_path = noetl, pg_temp")
        row = conn.execute("SELECT next_execution_id() + (%s::bigint << 22)", (604_800_000 * 6,)).fetchone()
        assert row is not None
        conn.execute(EVENT, (row[0], 1, "execution_start"))
        assert conn.execute("SELECT make_partitions(8)").fetchone() == (2 * 4 - 1,)


def test_making_partitions_does_not_queue_up_behind_a_long_reader(admin: Database, database: Database) -> None:
    """It gives up after a second, so that inserts are not held up; the next call makes them."""
    with database.connect() as maker, admin.connect() as reader:
        maker.execute("SET search_path = noetl, pg_temp")
        with reader.transaction():
            reader.execute("SELECT count(*) FROM noetl.event_log")
            assert maker.execute("SELECT make_partitions(6)").fetchone() == (0,)
        assert maker.execute("SELECT make_partitions(6)").fetchone() == (4,)


@pytest.mark.parametrize("weeks", [-1, 521, None])
def test_a_senseless_number_of_weeks_is_refused(database: Database, weeks: int | None) -> None:
    """By a sentence with the number."""
    with pytest.raises(pg.InvalidParameterValue, match="weeks must be"), database.session() as conn:
        conn.execute("SELECT make_partitions(%s)", (weeks,))


def test_the_playbook_login_sees_the_inbox_and_nothing_else(settings: Settings, admin: Database) -> None:
    """Its SQL is somebody else's."""
    guest = Database(make_conninfo(admin.conninfo, user=settings.playbook_user), settings.schema)
    with guest.connect() as conn:
        assert conn.execute("SELECT * FROM noetl_inbox.enter('1:a:1:-1')").fetchone() == (True, None)
        assert conn.execute("SELECT noetl_inbox.leave('1:a:1:-1', '1')").fetchone() == (True,)
        for statement in (
            "SELECT * FROM noetl.execution",
            "SELECT noetl.make_partitions(1)",
            "DELETE FROM noetl_inbox.noetl_done",
        ):
            with pytest.raises(pg.InsufficientPrivilege):
                conn.execute(statement.encode())


def test_status_tells_what_a_login_lacks_or_has_too_much(settings: Settings, admin: Database) -> None:
    """One sentence each."""
    assert schema_report(admin, settings)["problems"] == []
    with admin.connect() as conn:
        conn.execute("GRANT UPDATE ON noetl.event_log TO noetl")
        conn.execute("GRANT CREATE ON SCHEMA noetl TO noetl")
        conn.execute("ALTER TABLE noetl.queue OWNER TO postgres")
        conn.execute("GRANT SELECT ON noetl.queue TO noetl")
        conn.execute("GRANT USAGE ON SCHEMA noetl TO noetl_playbook")
    assert schema_report(admin, settings)["rights"] == [
        "role noetl may create objects in schema noetl: revoke that",
        "role noetl has UPDATE on event_log, which is append-only: revoke that",
        "role noetl lacks INSERT, UPDATE, DELETE on queue: run noetl db apply-schema",
        "role noetl_playbook may look into schema noetl, which holds the engine's tables",
    ]


# ---- administrators with fewer rights ----


@pytest.fixture
def modest(server: TestServer, make_settings: Callable[..., Settings]) -> Callable[[str], Settings]:
    """Settings whose administrator owns his database and has only the given attributes, as on a managed server."""

    def make(attributes: str) -> Settings:
        settings = make_settings(with_schema=False)
        with open_admin(settings) as admin, admin.connect() as conn:
            name = f"modest_{admin.conninfo.split('test_')[1].split()[0]}"
            conn.execute(SQL(f"CREATE ROLE {{}} LOGIN {attributes}").format(Identifier(name)))
            conn.execute(SQL("ALTER DATABASE {} OWNER TO {}").format(Identifier(conn.info.dbname), Identifier(name)))
            assert settings.database_url is not None
            url = make_conninfo(settings.database_url, user=name)
        own = replace(settings, user=f"{name}_runtime", password="p1")
        return replace(own, database_url=url, playbook_user=f"{name}_guest", playbook_password="p2")

    return make


def test_a_managed_administrator_can_do_everything(modest: Callable[[str], Settings]) -> None:
    """CREATEROLE is enough for roles, owners and grants: no superuser is needed."""
    settings = modest("CREATEROLE")
    with open_admin(settings) as admin:
        assert apply_schema(admin, settings, ensure_role=True) == []
        assert apply_schema(admin, settings, ensure_role=True) == []
        assert schema_report(admin, settings)["problems"] == []
    with open_database(settings) as database, database.session() as conn:
        assert conn.execute("SELECT current_user").fetchone() == (settings.user,)
        conn.execute("INSERT INTO runtime (runtime_id, kind) VALUES ('a', 'worker')")
        assert conn.execute("SELECT make_partitions(5)").fetchone() == (2,)


def test_a_login_that_is_made_without_a_password_is_said(modest: Callable[[str], Settings]) -> None:
    """Once, when it is made: nobody sees whether one that exists has a password."""
    settings = replace(modest("CREATEROLE"), password=None)
    with open_admin(settings) as admin:
        assert apply_schema(admin, settings, ensure_role=True) == [
            f"role {settings.user} was created without a password, and most servers refuse such a login: set"
            " NOETL_PASSWORD, and run noetl db apply-schema --ensure-role again"
        ]
        assert apply_schema(admin, settings, ensure_role=True) == []


def test_without_the_right_to_make_roles_it_warns_and_continues(modest: Callable[[str], Settings]) -> None:
    """What was not done is said; the schema is applied, and server and worker take no login but the one named."""
    settings = modest("NOCREATEROLE")
    with open_admin(settings) as admin:
        said = apply_schema(admin, settings, ensure_role=True)
        assert schema_state(admin).state is SchemaState.CURRENT
    assert [line.split(" (")[0] for line in said[:2]] == [
        f"role {settings.user} was not created",
        f"role {settings.playbook_user} was not created",
    ]
    assert "CREATE ROLE" in said[0]
    assert f"role {settings.user} does not exist" in said[2]
    with pytest.raises(
        Unreachable, match="set NOETL_USER and NOETL_PASSWORD and make the login with noetl db apply-schema"
    ):
        open_database(settings)
    own = replace(settings, user=str(conninfo_to_dict(str(settings.database_url))["user"]))
    with open_database(own) as database, database.session() as conn:
        assert conn.execute("SELECT current_user").fetchone() == (own.user,)


def test_tables_that_cannot_be_given_away_are_granted(
    server: TestServer, modest: Callable[[str], Settings], admin: Database
) -> None:
    """An administrator who may not hand tables to the role gives it the rights on them."""
    settings = modest("NOCREATEROLE")
    with admin.connect() as conn:
        for name in (settings.user, settings.playbook_user):
            conn.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(name)))
    with open_admin(settings) as modest_admin:
        said = apply_schema(modest_admin, settings)
        assert "may not give tables" in said[0]
        assert schema_report(modest_admin, settings)["problems"] == []
    with open_database(settings) as database, database.session() as conn:
        assert conn.execute("SELECT current_user").fetchone() == (settings.user,)
        conn.execute("INSERT INTO runtime (runtime_id, kind) VALUES ('a', 'worker')")
        conn.execute("SELECT next_execution_id()")

"""No statement of the administrator runs code of a lesser role.

`noetl` stands for a worker that somebody has taken over: it owns most tables, and hangs on them what it can.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg.errors as pg
import pytest
from psycopg.conninfo import make_conninfo

from noetl.database.connection.connect import Connection, Database, open_admin, open_database
from noetl.database.schema.apply import apply_schema, reset_schema
from noetl.database.schema.migrate import Migration, migrate
from noetl.database.schema.roles import ensure_roles, wanted_roles
from noetl.database.schema.status import schema_report
from noetl.errors import InputError, SchemaMismatch
from noetl.settings import Settings
from tests.support.dumps import psql
from tests.support.postgres import TestServer

MakeSettings = Callable[..., Settings]

TAKE = """
CREATE FUNCTION {where}.take({arguments}) RETURNS {returns} LANGUAGE plpgsql {kind} AS $$
BEGIN
  IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    ALTER ROLE thief SUPERUSER;
  END IF;
  RETURN {value};
END $$
"""


def _take(where: str, arguments: str = "", returns: str = "trigger", value: str = "new", kind: str = "") -> str:
    return TAKE.format(where=where, arguments=arguments, returns=returns, value=value, kind=kind)


@pytest.fixture
def thief(settings: Settings, admin: Database) -> Iterator[Connection]:
    """A session of `noetl`; no role `thief` is superuser at the end."""
    with admin.connect() as conn:
        conn.execute("DROP ROLE IF EXISTS thief")
        conn.execute("CREATE ROLE thief")
    with Database(make_conninfo(admin.conninfo, user="noetl"), "noetl").connect() as session:
        session.execute("SET search_path = noetl")
        yield session
    with admin.connect() as conn:
        row = conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'thief'").fetchone()
        conn.execute("DROP ROLE thief")
    assert row == (False,)


def _as_it_was(admin: Database) -> None:
    """Give schema_version to the runtime login, whose it was in a schema that an earlier NoETL made."""
    with admin.connect() as conn:
        conn.execute("ALTER TABLE noetl.schema_version OWNER TO noetl")


TRAPS = {
    "a trigger": (
        _take("pg_temp"),
        "CREATE TRIGGER t BEFORE INSERT ON schema_version FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.take()",
    ),
    "a default": ("ALTER TABLE schema_version ALTER applied_by SET DEFAULT query_to_xml('SELECT 1', true, true, '')",),
    "a check": (
        _take("pg_temp", "integer", "boolean", "true"),
        "ALTER TABLE schema_version ADD CHECK (pg_temp.take(version))",
    ),
    "a rule": (
        _take("pg_temp", "integer", "boolean", "true"),
        "CREATE RULE r AS ON INSERT TO schema_version DO ALSO SELECT pg_temp.take(1)",
    ),
    "a policy": (
        _take("pg_temp", "integer", "boolean", "true"),
        "ALTER TABLE schema_version ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE POLICY p ON schema_version USING (pg_temp.take(version))",
    ),
    "statistics": (
        _take("pg_temp", "integer", "integer", "1", "IMMUTABLE"),
        "CREATE STATISTICS pg_temp.s ON (version + pg_temp.take(1)), version FROM schema_version",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_on_schema_version_is_refused_before_it_springs(
    settings: Settings, admin: Database, thief: Connection, trap: str
) -> None:
    """By whatever way the schema is applied; then what is wrong is told by its name."""
    _as_it_was(admin)
    for statement in TRAPS[trap]:
        thief.execute(statement.encode())
    with pytest.raises(InputError, match="has what NoETL did not make"):
        apply_schema(admin, settings)
    done = psql(settings, "-f", "noetl/database/ddl/postgres/schema_ddl.sql")
    assert done.returncode != 0
    assert "has what NoETL did not make" in done.stderr
    with pytest.raises(SchemaMismatch, match="table schema_version of role noetl"):
        schema_report(admin, settings)
    with pytest.raises(SchemaMismatch, match="table schema_version of role noetl"):
        migrate(admin, settings, migrations=[Migration(2, "0002_x.sql", "SELECT 1")], target=2)
    reset_schema(admin, settings)  # what is dropped runs nothing
    assert schema_report(admin, settings)["problems"] == []


def test_an_honest_schema_version_is_taken_over(settings: Settings, admin: Database, thief: Connection) -> None:
    """With the instance that stood in it; nothing can be hung on it from then on, nor written into it."""
    _as_it_was(admin)
    before = thief.execute("SELECT version, instance FROM schema_version").fetchall()
    assert apply_schema(admin, settings) == []
    assert thief.execute("SELECT version, instance FROM schema_version").fetchall() == before
    thief.execute(_take("pg_temp").encode())
    for statement in (
        "CREATE TRIGGER t BEFORE INSERT ON schema_version FOR EACH ROW EXECUTE FUNCTION pg_temp.take()",
        "ALTER TABLE schema_version ALTER applied_by SET DEFAULT 'x'",
        "UPDATE schema_version SET version = 7",
        "CREATE FUNCTION noetl.format(text, text) RETURNS text RETURN 'x'",
    ):
        with pytest.raises(pg.InsufficientPrivilege):
            thief.execute(statement.encode())


def test_traps_on_the_other_tables_are_not_trodden_on(settings: Settings, admin: Database, thief: Connection) -> None:
    """Applying, status and resetting neither write nor read what the runtime login owns."""
    thief.execute(_take("pg_temp", "integer", "integer", "1", "IMMUTABLE").encode())
    for statement in (
        "CREATE STATISTICS pg_temp.s1 ON (visit + pg_temp.take(1)), visit FROM queue",
        'CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO execution_workbook DO INSTEAD'
        " SELECT pg_temp.take(1)::bigint AS execution_id, 1::bigint AS catalog_id, ''::text AS task_name,"
        " ''::text AS task_type, '{}'::json AS spec",
        "ALTER TABLE runtime ADD CHECK (pg_temp.take(slots) = 1)",
        "ALTER TABLE runtime ALTER host SET DEFAULT pg_temp.take(1)::text",
    ):
        thief.execute(statement.encode())
    apply_schema(admin, settings)
    assert any("runtime" in line for line in schema_report(admin, settings)["drift"])
    reset_schema(admin, settings)


def test_older_names_change_without_the_owners_code(settings: Settings, admin: Database, thief: Connection) -> None:
    """The check of the status is read over all jobs, but not what the runtime login hung on them."""
    thief.execute(_take("pg_temp", "integer", "integer", "1", "IMMUTABLE").encode())
    for statement in (
        "INSERT INTO queue (execution_id, node_id) VALUES (9, 'a')",
        "ALTER TABLE queue DROP CONSTRAINT queue_status_valid",
        "ALTER TABLE queue ADD CONSTRAINT queue_status_valid CHECK (status IN ('queued', 'paused'))",
        "ALTER TABLE queue ADD CHECK (pg_temp.take(visit) = 1)",
        "ALTER TABLE queue ALTER node_id SET DEFAULT pg_temp.take(1)::text",
        "CREATE STATISTICS pg_temp.s2 ON (visit + pg_temp.take(1)), visit FROM queue",
    ):
        thief.execute(statement.encode())
    apply_schema(admin, settings)
    assert not any("queue_status_valid" in line for line in schema_report(admin, settings)["drift"])
    reset_schema(admin, settings)


def test_a_schema_that_others_own_or_fill_is_taken_over_or_refused(
    server: TestServer, make_settings: MakeSettings, admin: Database, thief: Connection
) -> None:
    """Its owner could answer the file's own words with functions of his."""
    settings = make_settings(with_schema=False)
    with open_admin(settings) as fresh, fresh.connect() as conn:
        ensure_roles(conn, wanted_roles(settings))
        conn.execute("CREATE SCHEMA noetl AUTHORIZATION noetl")
        conn.execute("GRANT CREATE ON SCHEMA noetl TO PUBLIC")
        own = Database(make_conninfo(fresh.conninfo, user="noetl"), "noetl")
        with own.connect() as session:
            session.execute(_take("noetl", "text, text", "text", "'x'").replace("take", "format").encode())
        with pytest.raises(InputError, match=r"would run what others can change: function noetl\.format"):
            apply_schema(fresh, settings)
        conn.execute("DROP FUNCTION noetl.format(text, text)")
        assert apply_schema(fresh, settings) == []
        row = conn.execute("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'noetl'").fetchone()
        assert row == ("postgres",)
        assert schema_report(fresh, settings)["problems"] == []


def test_functions_of_the_public_schema_are_not_found(settings: Settings, admin: Database, thief: Connection) -> None:
    """Also where everybody may make some there, as in databases that began before Postgres 15."""
    with admin.connect() as conn:
        conn.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    for name, arguments in (("format", "text, text"), ("to_regclass", "text"), ("nullif", "text, text")):
        thief.execute(_take("public", arguments, "text", "'x'").replace("take", name).encode())
    assert apply_schema(admin, settings) == []
    assert schema_report(admin, settings)["problems"] == []
    assert psql(settings, "-f", "noetl/database/ddl/postgres/schema_ddl.sql").returncode == 0


def test_rows_are_counted_and_verified_under_the_runtime_login(settings: Settings, admin: Database) -> None:
    """Whose tables they are; where it is refused the estimates stand."""
    with open_database(settings) as database, database.session() as conn:
        conn.execute("INSERT INTO error_log (error_type, message) VALUES ('x', 'y')")
    rows = {row["table"]: row["rows"] for row in schema_report(admin, settings)["tables"]}
    assert rows["error_log"] == 1
    refused = replace(settings, user="nobody_knows")
    rows = {row["table"]: row["rows"] for row in schema_report(admin, refused)["tables"]}
    assert rows["error_log"] == 0

"""What `noetl db status` shows: version, instance, tables, drift against the DDL, role and grants."""

import re
from typing import TypedDict

import psycopg.errors as pg
from psycopg.sql import SQL, Identifier, Literal

from noetl.database.connection.connect import Connection, Database, open_database, translate
from noetl.database.schema.apply import (
    SCHEMA_VERSION,
    TAKE_LOCK,
    SchemaState,
    packaged_ddl,
    read_state,
    refuse_foreign,
    schema_problem,
)
from noetl.errors import SchemaMismatch, Unreachable
from noetl.settings import Settings

SCRATCH = "noetl_scratch_of_status"

FINGERPRINT = r"""
WITH r AS (SELECT c.oid, c.relname::text, c.relkind, c.reloptions FROM pg_class AS c
            WHERE c.relnamespace = %(schema)s::text::regnamespace
              AND c.relname !~ '^(event_log|payload)_\d{8}(_|$)')
SELECT CASE r.relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END || ' ' || relname,
       CASE r.relkind WHEN 'v' THEN pg_get_viewdef(r.oid) ELSE coalesce(array_to_string(reloptions, ', '), '') END
  FROM r WHERE relkind IN ('r', 'p', 'v', 'S')
UNION ALL
SELECT format('column %%s.%%s', relname, attname),
       concat_ws(' ', format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'not null' END,
                 pg_get_expr(adbin, adrelid), nullif(attidentity::text, ''))
  FROM r JOIN pg_attribute ON attrelid = r.oid AND attnum > 0 AND NOT attisdropped
  LEFT JOIN pg_attrdef ON adrelid = r.oid AND adnum = attnum
 WHERE relkind IN ('r', 'p')
UNION ALL
SELECT format('constraint %%s on %%s', conname, relname), pg_get_constraintdef(c.oid)
  FROM r JOIN pg_constraint AS c ON conrelid = r.oid WHERE contype IN ('c', 'f', 'p', 'u') AND conparentid = 0
UNION ALL
SELECT 'index ' || relname, pg_get_indexdef(r.oid) FROM r JOIN pg_index ON indexrelid = r.oid
UNION ALL
SELECT format('trigger %%s on %%s', tgname, relname),
       pg_get_triggerdef(t.oid) || CASE tgenabled WHEN 'O' THEN '' ELSE ' (switched off)' END
  FROM r JOIN pg_trigger AS t ON tgrelid = r.oid WHERE NOT tgisinternal
UNION ALL
SELECT 'function ' || p.oid::regprocedure, pg_get_functiondef(p.oid)
  FROM pg_proc AS p WHERE pronamespace = %(schema)s::text::regnamespace AND prokind = 'f'
"""

TABLES = """
SELECT c.relname, greatest(sum(coalesce(p.reltuples, c.reltuples)), 0)::bigint,
       sum(pg_total_relation_size(coalesce(p.oid, c.oid)))::bigint, pg_get_userbyid(c.relowner)
  FROM pg_class AS c LEFT JOIN pg_inherits AS i ON i.inhparent = c.oid LEFT JOIN pg_class AS p ON p.oid = i.inhrelid
 WHERE c.relnamespace = %s::text::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
 GROUP BY c.relname, c.relowner ORDER BY c.relname
"""

COUNTED = 64 * 1024 * 1024
"""Tables up to this many bytes are counted, larger ones estimated."""

RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
LESS = {"event_log": ("SELECT", "INSERT"), "payload": ("SELECT", "INSERT"), "schema_version": ("SELECT",)}
"""What the login of server and worker may do with every table, and with those that are not its own."""


class TableReport(TypedDict):
    """A table with its size; `rows` is an estimate where the table is large."""

    table: str
    rows: int
    bytes: int
    owner: str


class SchemaReport(TypedDict):
    """Everything `noetl db status` shows. `problems` are sentences, and hold those of `drift` and `rights`."""

    database: str
    server: str
    schema: str
    state: str
    version: int | None
    program_version: int
    instance: str | None
    tables: list[TableReport]
    drift: list[str]
    rights: list[str]
    problems: list[str]


def schema_report(admin: Database, settings: Settings) -> SchemaReport:
    """Return everything `noetl db status` shows. `problems` are sentences; empty means all is well.

    Rows are counted under the login of server and worker, whose tables they are: reading a table may run its owner's
    code. Where that login is refused the planner's estimate stands. Raises `SchemaMismatch` likewise.
    """
    with admin.connect_admin() as conn, translate():
        refuse_foreign(conn, admin.schema)
        status = read_state(conn, admin.schema)
        problem = schema_problem(status, admin.schema)
        report: SchemaReport = {
            "database": admin.where,
            "server": str(conn.info.parameter_status("server_version")),
            "schema": admin.schema,
            "state": status.state.value,
            "version": status.version,
            "program_version": SCHEMA_VERSION,
            "instance": str(status.instance) if status.instance else None,
            "tables": [],
            "drift": [],
            "rights": [],
            "problems": [str(problem)] if problem else [],
        }
        if status.state is SchemaState.MISSING:
            return report
        rows = conn.execute(TABLES, (_quoted(conn, admin.schema),)).fetchall()
        counts = _counts(settings, [name for name, _, size, _ in rows if size < COUNTED])
        report["tables"] = [
            {"table": name, "rows": counts.get(name, estimate), "bytes": size, "owner": owner}
            for name, estimate, size, owner in rows
        ]
        if status.state in (SchemaState.CURRENT, SchemaState.PARTIAL):
            report["drift"] = drift(conn, admin.schema, settings.lock_timeout)
            report["rights"] = rights(conn, settings, [name for name, *_ in rows])
            report["problems"] += report["drift"] + report["rights"]
        return report


def _counts(settings: Settings, tables: list[str]) -> dict[str, int]:
    """Count the rows of tables; nothing where the login of server and worker may not."""
    query = SQL(" UNION ALL ").join(
        SQL("SELECT {}, count(*) FROM {}").format(Literal(name), Identifier(settings.schema, name)) for name in tables
    )
    try:
        with open_database(settings, application="noetl db") as database, database.connect() as conn, translate():
            return dict(conn.execute(query).fetchall())
    except (Unreachable, SchemaMismatch):
        return {}


def drift(conn: Connection, schema: str, lock_timeout: float) -> list[str]:
    """Return how the schema differs from what the DDL makes, one sentence per object.

    The DDL itself is asked: it is applied to a scratch schema in a transaction that is rolled back. So no second
    description of the schema exists, and every version of the server compares its own words. `conn` is the
    administrator's, in autocommit mode.
    """
    conn.execute("BEGIN")
    try:
        conn.execute(f"SET LOCAL lock_timeout = '{int(lock_timeout * 1000)}ms'")
        conn.execute(TAKE_LOCK)
        present = _fingerprint(conn, schema)
        for name in ("noetl.schema", "noetl.role", "noetl.playbook_role"):
            conn.execute("SELECT set_config(%s, %s, true)", (name, SCRATCH))  # roles of that name do not exist
        conn.execute(re.sub(r"^(BEGIN|COMMIT);$", "", packaged_ddl(), flags=re.MULTILINE).encode())
        wanted = _fingerprint(conn, SCRATCH)
    except (pg.InsufficientPrivilege, pg.LockNotAvailable) as error:
        reason = str(error).splitlines()[0]
        return [
            f"drift was not checked ({reason}): run this as somebody who may create a schema, when nobody changes it"
        ]
    finally:
        conn.execute("ROLLBACK")
    return _differences(present, wanted)


def _differences(present: dict[str, str], wanted: dict[str, str]) -> list[str]:
    missing = [f"{name} is missing" for name in sorted(wanted.keys() - present.keys())]
    unknown = [f"{name} is not NoETL's" for name in sorted(present.keys() - wanted.keys())]
    other = [
        f"{name} is {_short(present[name])!r}, but should be {_short(wanted[name])!r}"
        for name in sorted(wanted.keys() & present.keys())
        if present[name] != wanted[name]
    ]
    return missing + other + unknown


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 160 else text[:157] + "..."


def _fingerprint(conn: Connection, schema: str) -> dict[str, str]:
    """Return a text per object that is equal where the object is, whatever the schema's name."""
    conn.execute(SQL("SET LOCAL search_path = {}, pg_temp").format(Identifier(schema)))
    quoted = _quoted(conn, schema)
    rows = conn.execute(FINGERPRINT, {"schema": quoted}).fetchall()
    literal = "'" + schema.replace("'", "''") + "'"
    return {name: text.replace(f"{quoted}.", "").replace(literal, "'<schema>'") for name, text in rows}


def _quoted(conn: Connection, name: str) -> str:
    row = conn.execute("SELECT quote_ident(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


def rights(conn: Connection, settings: Settings, tables: list[str]) -> list[str]:
    """Return what the logins lack, or have too much of, one sentence each."""
    schema, user, guest = settings.schema, settings.user, settings.playbook_user
    logins = dict(
        conn.execute("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = ANY(%s)", ([user, guest],)).fetchall()
    )
    problems: list[str] = []
    for name, setting in ((user, "NOETL_USER"), (guest, "NOETL_PLAYBOOK_USER")):
        if name not in logins:
            problems.append(f"role {name} ({setting}) does not exist: run noetl db apply-schema --ensure-role")
        elif not logins[name]:
            problems.append(f"role {name} ({setting}) may not log in: run noetl db apply-schema --ensure-role")
    row = conn.execute("SELECT current_user").fetchone()
    if user in logins and row is not None and user != row[0]:
        problems += _runtime_rights(conn, schema, user, tables)
    if guest in logins and _has(conn, "schema", guest, schema, "USAGE"):
        problems.append(f"role {guest} may look into schema {schema}, which holds the engine's tables")
    if guest in logins and guest != schema and not _may_create(conn, guest):
        problems.append(f"role {guest} may make no tables in a schema of its own name: run noetl db apply-schema")
    return problems


def _runtime_rights(conn: Connection, schema: str, user: str, tables: list[str]) -> list[str]:
    advice = "run noetl db apply-schema"
    problems: list[str] = []
    if not _has(conn, "schema", user, schema, "USAGE"):
        return [f"role {user} may not use schema {schema}: {advice}"]
    if _has(conn, "schema", user, schema, "CREATE"):
        problems.append(f"role {user} may create objects in schema {schema}: revoke that")
    for table in tables:
        wanted = LESS.get(table, RIGHTS)
        lacking = [right for right in wanted if not _has(conn, "table", user, (schema, table), right)]
        if lacking:
            problems.append(f"role {user} lacks {', '.join(lacking)} on {table}: {advice}")
        if table in LESS:
            others = [right for right in (*RIGHTS, "TRUNCATE") if right not in wanted]
            excess = [right for right in others if _has(conn, "table", user, (schema, table), right)]
            if excess:
                why = "the administrator's" if table == "schema_version" else "append-only"
                problems.append(f"role {user} has {', '.join(excess)} on {table}, which is {why}: revoke that")
    return problems


def _may_create(conn: Connection, role: str) -> bool:
    row = conn.execute(
        "SELECT has_schema_privilege(%s, oid, 'USAGE, CREATE') AND has_schema_privilege(%s, oid, 'CREATE')"
        " FROM pg_namespace WHERE nspname = %s",
        (role, role, role),
    ).fetchone()
    return bool(row and row[0])


def _has(conn: Connection, kind: str, role: str, name: str | tuple[str, ...], right: str) -> bool:
    """Ask `has_schema_privilege` or `has_table_privilege`."""
    text = name if isinstance(name, str) else Identifier(*name).as_string(conn)
    function = SQL("has_schema_privilege" if kind == "schema" else "has_table_privilege")
    row = conn.execute(SQL("SELECT {}(%s, %s, %s)").format(function), (role, text, right)).fetchone()
    return bool(row and row[0])

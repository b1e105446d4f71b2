"""The login that playbooks share on the engine's own server, cleared of settings that a playbook made for its role.

A role may always change its own settings (`ALTER ROLE ... SET`), which count for each later session of every playbook.
Postgres has no privilege for that to revoke. So a new session looks for such settings, removes them, and begins again.
"""

from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

from noetl.tools.postgres.login import PostgresLogin

FIND_ROLE_SETTINGS: Final = """
SELECT 1 FROM pg_catalog.pg_db_role_setting AS s, pg_catalog.unnest(s.setconfig) AS given
  LEFT JOIN pg_catalog.pg_settings AS known ON known.name = pg_catalog.split_part(given, '=', 1)
 WHERE s.setrole = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user)
   AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
   AND (known.context IN ('user', 'backend') OR given LIKE 'role=%')
"""
"""Settings of this login's role that the role may have made itself. Those of a superuser's kind stay."""

SAFE_OPTIONS: Final = (
    "-c statement_timeout=0 -c lock_timeout=0 -c default_transaction_read_only=off -c local_preload_libraries="
    " -c search_path=pg_catalog -c role=none"
)
"""Options that override the role's settings in the session that removes them."""


def is_changed(conn: "psycopg.Connection[Any]") -> bool:
    """Tell whether the role of a new session has settings of its own. Raises `psycopg.Error`."""
    return conn.execute(FIND_ROLE_SETTINGS).fetchone() is not None


def mend(login: PostgresLogin) -> None:
    """Remove the settings that a login's role may have made itself. Raises `psycopg.Error`."""
    with psycopg.connect(make_conninfo(login.conninfo, options=SAFE_OPTIONS), autocommit=True) as conn:
        conn.execute("ALTER ROLE CURRENT_USER RESET ALL")
        row = conn.execute("SELECT quote_ident(current_database())").fetchone()
        assert row is not None
        conn.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {row[0]} RESET ALL".encode())

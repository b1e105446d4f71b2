"""Server and worker have a login of their own: not the administrator's, and never another one than is named."""

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from noetl.database.connection.connect import Database, open_database, playbook_login
from noetl.errors import SettingsError, Unreachable
from noetl.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def test_a_login_that_is_refused_is_replaced_by_no_other(settings: Settings, admin: Database) -> None:
    """Neither where its password is wrong nor where it does not exist; the administrator's is not tried."""
    with admin.connect() as conn:
        conn.execute("DROP ROLE IF EXISTS tool_password")
        conn.execute("CREATE ROLE tool_password LOGIN PASSWORD 'right'")
    try:
        for user, password in (("tool_password", "wrong"), ("tool_password", None), ("nobody_knows", None)):
            with pytest.raises(Unreachable, match="set NOETL_USER and NOETL_PASSWORD and make the login"):
                open_database(replace(settings, user=user, password=password))
        with open_database(replace(settings, user="tool_password", password="right")) as database:
            assert conninfo_to_dict(database.conninfo)["user"] == "tool_password"
    finally:
        with admin.connect() as conn:
            conn.execute("DROP ROLE tool_password")


def test_the_administrators_login_is_taken_where_it_is_named(settings: Settings) -> None:
    """Who has one login only says so; the password stands once."""
    url = make_conninfo(str(settings.database_url), password="the one")
    one = replace(settings, database_url=url, user="postgres")
    parts = conninfo_to_dict(one.login_conninfo("postgres", None))
    assert (parts["user"], parts["password"]) == ("postgres", "the one")
    assert "password" not in conninfo_to_dict(one.login_conninfo("noetl", None))
    assert "the one" not in one.login_conninfo("noetl", "its own")


def test_server_and_worker_need_no_administrator(settings: Settings) -> None:
    """Host, database and their own login are enough."""
    where = conninfo_to_dict(str(settings.database_url))
    bare = replace(
        settings, database_url=None, postgres_host=str(where["host"]), postgres_db=str(where["dbname"]), password="x"
    )
    assert bare.postgres_user is None
    with open_database(bare) as database, database.connect() as conn:
        assert conn.execute("SELECT current_user").fetchone() == ("noetl",)
    with psycopg.connect(make_conninfo("", **playbook_login(bare))) as conn:
        assert conn.execute("SELECT current_user").fetchone() == ("noetl_playbook",)
    with pytest.raises(SettingsError, match="POSTGRES_DB is not set"):
        open_database(replace(bare, postgres_db=None))


def test_compose_gives_the_administrators_password_to_the_schema_job_only() -> None:
    """What runs playbooks does not hold it."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    holders = {name for name, service in services.items() if "POSTGRES_PASSWORD" in service.get("environment", {})}
    assert holders == {"postgres", "schema"}
    for name in ("server", "worker"):
        given = services[name]["environment"]
        assert {"POSTGRES_HOST", "POSTGRES_DB", "NOETL_USER", "NOETL_PASSWORD"} <= given.keys()
        assert "POSTGRES_USER" not in given

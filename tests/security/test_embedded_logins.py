"""The embedded Postgres lets nobody in without the password of its home."""

import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from noetl.database.connection.connect import open_admin, open_database, playbook_login
from noetl.database.embedded.passwords import Passwords
from noetl.database.embedded.server import EmbeddedServer
from noetl.database.schema.apply import apply_schema
from noetl.errors import DatabaseError
from noetl.outcomes import Done, Failed
from noetl.settings import Settings, load_settings
from noetl.tools.registry import make_tools
from tests.support.sql import Steps

QUICK = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "40"}


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home with its own server, made by an earlier NoETL: open to everybody who reaches its socket."""
    folder = Path(tempfile.mkdtemp(prefix="noetl-home-"))
    older = EmbeddedServer(folder, QUICK, "local all all trust\n")
    older.start()
    with psycopg.connect(older.conninfo(), autocommit=True) as conn:
        conn.execute("CREATE ROLE noetl LOGIN")
        conn.execute("CREATE ROLE noetl_playbook LOGIN")
        conn.execute("CREATE TABLE kept AS SELECT 7 AS a")
    yield folder
    EmbeddedServer(folder).remove()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def settings(home: Path) -> Settings:
    """Its settings, after this program has opened it while it ran."""
    settings = load_settings(home=home)
    assert settings.embedded
    with open_admin(settings) as admin:
        assert apply_schema(admin, settings) == []
    return settings


def _reached(settings: Settings, **auth: Any) -> Done | Failed:
    """Run a step whose auth came from data: it names the socket's folder and a role."""
    host = str(EmbeddedServer(settings.home).socket_folder)
    tools = make_tools(playbook_login=playbook_login(settings))
    given = {"type": "postgres", "host": host, "database": "noetl", **auth}
    try:
        return Steps(tools["postgres"], {"": given}).answer("SELECT current_user")
    finally:
        for tool in tools.values():
            if tool.close is not None:
                tool.close()


@pytest.mark.parametrize("user", ["postgres", "noetl", "noetl_playbook"])
@pytest.mark.parametrize("password", [None, "", "postgres"])
def test_auth_from_data_gets_nobody_in(settings: Settings, user: str, password: str | None) -> None:
    """Whatever role it names."""
    answer = _reached(settings, user=user, password=password)
    assert isinstance(answer, Failed)
    assert "password" in answer.error["message"]


def test_a_password_file_cannot_be_named_by_auth(settings: Settings) -> None:
    """Neither as a field nor in a connection string."""
    file = str(Passwords(settings.home).file)
    answer = _reached(settings, user="postgres", passfile=file)
    assert isinstance(answer, Failed)
    assert "'passfile', which is unknown" in answer.error["message"]
    host = EmbeddedServer(settings.home).socket_folder
    url = f"host={host} dbname=noetl user=postgres passfile={file}"
    tools = make_tools()
    answer = Steps(tools["postgres"], {"": {"type": "postgres", "url": url}}).answer("SELECT 1")
    assert isinstance(answer, Failed)
    assert "has passfile, which a connection of a playbook may not have" in answer.error["message"]


def test_an_open_server_is_closed_while_it_runs(settings: Settings) -> None:
    """Data stay, logins that were there get the passwords of this home, and the engine gets in with them."""
    with open_database(settings) as database, database.connect() as conn:
        assert conn.execute("SELECT current_user").fetchone() == ("noetl",)
    with psycopg.connect(EmbeddedServer(settings.home).conninfo()) as conn:
        assert conn.execute("SELECT a FROM kept").fetchone() == (7,)
    tools = make_tools(playbook_login=playbook_login(settings))
    assert isinstance(Steps(tools["postgres"]).answer("SELECT 1"), Done)
    for tool in tools.values():
        if tool.close is not None:
            tool.close()


def test_the_secret_is_its_owners_alone_and_differs_for_each_login(settings: Settings) -> None:
    """Who has the password of the playbooks' login has no other one."""
    known = Passwords(settings.home)
    assert stat.S_IMODE(known.file.stat().st_mode) == 0o600
    assert len({known.of(user) for user in ("postgres", "noetl", "noetl_playbook")}) == 3
    assert "postgres.pgpass" not in str(playbook_login(settings))
    assert str(known.of("postgres")) not in str(playbook_login(settings))


def test_a_secret_that_was_lost_is_made_anew_at_the_next_start(settings: Settings) -> None:
    """The error says so; no data are lost."""
    server = EmbeddedServer(settings.home)
    server.passwords.file.unlink()
    with pytest.raises(DatabaseError, match="run noetl db stop, then noetl db start"):
        server.start()
    server.stop()
    server.start()
    test_an_open_server_is_closed_while_it_runs(settings)
    test_auth_from_data_gets_nobody_in(settings, "postgres", None)


def test_a_file_that_is_none_of_ours_is_named(tmp_path: Path) -> None:
    """Rather than taken as a password."""
    (tmp_path / "postgres.pgpass").write_text("something else\n")
    with pytest.raises(DatabaseError, match="is not what NoETL wrote"):
        Passwords(tmp_path).of("postgres")

"""Settings: where they come from, and what is said about wrong ones."""

import dataclasses
import os
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from noetl.errors import SettingsError
from noetl.settings import Settings, load_settings
from noetl.settings.setting import WrongValue

POSTGRES = {
    "POSTGRES_HOST": "db.example",
    "POSTGRES_DB": "main",
    "POSTGRES_USER": "boss",
    "POSTGRES_PASSWORD": "hush",
}


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and nothing of ours in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("NOETL_", "POSTGRES_", "KUBERNETES_")):
            monkeypatch.delenv(name)


def test_without_any_setting_the_database_is_embedded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two commands in a fresh clone need no configuration."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    settings = load_settings()
    assert settings.embedded
    assert (settings.schema, settings.user, settings.playbook_user) == ("noetl", "noetl", "noetl_playbook")
    assert (settings.home, settings.port, settings.slots) == (tmp_path / "noetl", None, 16)


def test_flag_beats_environment_beats_dotenv_beats_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In this order; an empty variable counts as not set."""
    (tmp_path / ".env").write_text("NOETL_WORKER_SLOTS=3\nNOETL_PORT=9003\nexport NOETL_HOST='0.0.0.0' # all\n")
    assert (load_settings().slots, load_settings().host) == (3, "0.0.0.0")
    monkeypatch.setenv("NOETL_WORKER_SLOTS", "4")
    monkeypatch.setenv("NOETL_PORT", "")
    settings = load_settings(slots=None)
    assert (settings.slots, settings.port) == (4, None)
    assert load_settings(slots=5).slots == 5


@pytest.mark.parametrize("name", ["NOETL_DATABASE_URL", *POSTGRES, "KUBERNETES_SERVICE_HOST"])
def test_a_hint_at_another_database_means_not_embedded(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Never a second database beside the one somebody meant."""
    monkeypatch.setenv(name, "postgresql:///x")
    assert not load_settings().embedded


def test_embedded_can_be_said_explicitly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also against the defaults; but not both ways at once."""
    monkeypatch.setenv("NOETL_EMBEDDED", "false")
    assert not load_settings().embedded
    monkeypatch.setenv("NOETL_EMBEDDED", "true")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert load_settings().embedded
    monkeypatch.setenv("POSTGRES_HOST", "db.example")
    with pytest.raises(SettingsError, match="NOETL_EMBEDDED is 'true', but POSTGRES_HOST names another database"):
        _ = load_settings().embedded


def test_postgres_variables_make_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """POSTGRES_PORT defaults to 5432; every character of a password survives."""
    for name, value in {**POSTGRES, "POSTGRES_PASSWORD": 'it\'s \\ "x" @/:%'}.items():
        monkeypatch.setenv(name, value)
    assert conninfo_to_dict(load_settings().admin_conninfo()) == {
        "host": "db.example",
        "port": "5432",
        "dbname": "main",
        "user": "boss",
        "password": 'it\'s \\ "x" @/:%',
    }


@pytest.mark.parametrize("missing", POSTGRES)
def test_a_missing_one_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """One sentence, and no other setting in it."""
    for name, value in POSTGRES.items():
        if name != missing:
            monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{missing} is not set: set it in the environment or in .env"):
        load_settings().admin_conninfo()


def test_several_missing_ones_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody likes to be told one by one."""
    monkeypatch.setenv("NOETL_EMBEDDED", "false")
    with pytest.raises(
        SettingsError, match=r"^POSTGRES_HOST and POSTGRES_DB and POSTGRES_USER and POSTGRES_PASSWORD are"
    ):
        load_settings().admin_conninfo()


def test_an_empty_password_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logins by socket or certificate have none."""
    for name, value in {**POSTGRES, "POSTGRES_PASSWORD": ""}.items():
        monkeypatch.setenv(name, value)
    assert "password" not in load_settings().admin_conninfo()


@pytest.mark.parametrize(
    ("name", "value", "field", "says"),
    [
        ("POSTGRES_PORT", "tcp://10.0.0.7:5432", "postgres_port", "must be a whole number from 1 to 65535"),
        ("NOETL_PORT", "0", "port", "must be a whole number from 1 to 65535"),
        ("NOETL_WORKER_SLOTS", "many", "slots", "must be a whole number from 1 to 1024"),
        ("NOETL_LEASE_SECONDS", "nan", "lease_seconds", "must be a number of seconds"),
        ("NOETL_LEASE_SECONDS", "0", "lease_seconds", "must be a number of seconds"),
        ("NOETL_NOTIFY", "maybe", "notify", "must be true or false"),
        ("NOETL_INIT_DB", "2", "init_db", "must be true or false"),
        ("NOETL_SCHEMA_VALIDATE", "2", "init_db", "must be true or false"),
        ("NOETL_SCHEMA", "public", "schema", "needs a schema of its own"),
        ("NOETL_SCHEMA", "pg_x", "schema", "Postgres keeps names with pg_"),
        ("NOETL_SCHEMA", "x" * 64, "schema", "at most 63 bytes"),
        ("NOETL_USER", "é" * 32, "user", "at most 63 bytes"),
        ("NOETL_TEMPLATE_ENV", ", ,", "template_env", "must be names separated by commas"),
    ],
)
def test_a_wrong_value_is_told_when_it_is_used(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, says: str
) -> None:
    """By name, with the value; commands that do not use it do not care."""
    monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.result_limit == 33554432
    with pytest.raises(SettingsError, match=f"^{name} is '.*{says}"):
        getattr(settings, field)


def test_a_wrong_flag_is_named_as_a_flag() -> None:
    """As it was typed."""
    with pytest.raises(SettingsError, match=r"^--lease-seconds is '-1'"):
        _ = load_settings(lease_seconds=-1).lease_seconds
    with pytest.raises(TypeError, match="no such settings: colour"):
        load_settings(colour="red")


def test_a_wrong_url_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq's own message would quote it."""
    monkeypatch.setenv("NOETL_DATABASE_URL", "postgresql://me:hush@[nowhere")
    with pytest.raises(SettingsError, match=r"^NOETL_DATABASE_URL is not a connection string") as caught:
        _ = load_settings().database_url
    assert "hush" not in str(caught.value)


def test_a_broken_dotenv_names_the_line_without_its_text(tmp_path: Path) -> None:
    """It may hold a secret."""
    (tmp_path / ".env").write_text("NOETL_PORT=8090\nNOETL_PASSWORD='hush\n")
    with pytest.raises(SettingsError, match=r"\.env, line 2, is not of the form NAME=value") as caught:
        load_settings()
    assert "hush" not in str(caught.value)
    (tmp_path / ".env").write_bytes(b"NOETL_USER=\xff\n")
    with pytest.raises(SettingsError, match=r"\.env cannot be read"):
        load_settings()


def test_settings_show_no_secret_and_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """`repr` ends up in logs."""
    for name, value in {**POSTGRES, "NOETL_PASSWORD": "hush2", "NOETL_API_TOKEN": "hush3"}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert "hush" not in repr(settings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]


def test_settings_can_be_made_and_varied_directly(tmp_path: Path) -> None:
    """As tests do; a default never hides a wrong value."""
    settings = dataclasses.replace(Settings(home=tmp_path), slots=2)
    assert (settings.slots, settings.lease_seconds) == (2, 30.0)
    with pytest.raises(SettingsError, match=r"^it is wrong$"):
        _ = dataclasses.replace(settings, slots=WrongValue("it is wrong")).slots
    with pytest.raises(AttributeError):
        _ = settings.colour  # type: ignore[attr-defined]


def test_lists_and_numbers_are_read_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commas or spaces; underscores in numbers."""
    monkeypatch.setenv("NOETL_TEMPLATE_ENV", "HOME, USER,,LANG  TZ")
    monkeypatch.setenv("NOETL_RESULT_LIMIT", "1_000_000")
    settings = load_settings(pools=("fast", "slow"))
    assert settings.template_env == ("HOME", "USER", "LANG", "TZ")
    assert (settings.result_limit, settings.pools) == (1_000_000, ("fast", "slow"))

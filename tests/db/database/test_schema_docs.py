"""docs/schema.md and the founding document against what they describe."""

import re
from pathlib import Path

import typer

from noetl.cli.db import app
from noetl.database.schema.apply import packaged_ddl

DOCS = Path(__file__).parents[3] / "docs"

DATABASE_SETTINGS = (
    "POSTGRES_HOST POSTGRES_PORT POSTGRES_DB POSTGRES_USER POSTGRES_PASSWORD NOETL_DATABASE_URL NOETL_USER "
    "NOETL_PASSWORD NOETL_PLAYBOOK_USER NOETL_PLAYBOOK_PASSWORD NOETL_SCHEMA NOETL_CONNECT_TIMEOUT "
    "NOETL_LOCK_TIMEOUT NOETL_EMBEDDED NOETL_HOME"
)


def test_every_table_view_and_command_is_described() -> None:
    """In docs/schema.md."""
    text = (DOCS / "schema.md").read_text()
    made = re.findall(
        r"^CREATE (?:OR REPLACE )?(?:TABLE|VIEW) (?:IF NOT EXISTS )?([\w.]+) (?:\(|AS)", packaged_ddl(), re.M
    )
    assert len(made) == 21
    assert [name for name in made if f"`{name}`" not in text] == []
    command = typer.main.get_command(app)
    names = sorted(command.commands)  # type: ignore[attr-defined]
    assert "apply-schema" in names
    assert [name for name in names if not re.search(rf"`(?:noetl db )?{name}\b", text)] == []


def test_every_setting_of_the_database_is_described() -> None:
    """With the name the program reads."""
    text = (DOCS / "schema.md").read_text()
    assert [name for name in DATABASE_SETTINGS.split() if f"`{name}`" not in text] == []


def test_every_table_of_the_founding_document_exists() -> None:
    """Its names and roles stay."""
    founding = (DOCS / "database-schema-and-setup.md").read_text()
    named = set(re.findall(r"`noetl\.(\w+)`", founding))
    assert len(named) == 10
    assert {name for name in named if f"CREATE TABLE IF NOT EXISTS {name} (" not in packaged_ddl()} == set()

"""The pages about CLI and API name what there is."""

import re
from pathlib import Path

import typer.main

from noetl.cli.app import COMMANDS, NOUNS, build
from tests.unit.test_server_gate import every_route

DOCS = Path(__file__).resolve().parents[2] / "docs"


def commands() -> set[str]:
    """Return every command there is, the database's aside: they have a page of their own."""
    root = typer.main.get_command(build())
    found = set(COMMANDS)
    for noun in NOUNS:
        if noun != "db":
            found |= {f"{noun} {verb}" for verb in root.commands[noun].commands}  # type: ignore[attr-defined]
    return found


def test_the_page_of_the_cli_shows_every_command() -> None:
    text = (DOCS / "cli.md").read_text()
    assert [command for command in sorted(commands()) if f"noetl {command} " not in text.replace("\n", " ")] == []


def test_the_page_of_the_api_has_every_route_and_no_other() -> None:
    text = (DOCS / "api.md").read_text()
    shown = {
        (method, path.replace("{execution_id}", "1").replace("{path}", "a/b").replace("{name}", "n"))
        for method, path in re.findall(r"^\| `(GET|POST|DELETE) (\S+)` \|", text, re.MULTILINE)
    }
    assert shown == set(every_route()) - {("GET", "/api/openapi.json")}

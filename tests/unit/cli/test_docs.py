"""The pages about CLI and API name what there is."""

import re
from pathlib import Path
from typing import Any

import typer.main

from noetl.cli.app import COMMANDS, NOUNS, build
from tests.unit.server.test_gate import every_route

DOCS = Path(__file__).resolve().parents[3] / "docs"


EVERYWHERE = {"--help", "--json", "--host", "--port", "--no-init-db"}  # not shown at each command


def commands() -> dict[str, set[str]]:
    """Return every command there is with its long options."""
    root: Any = typer.main.get_command(build())
    found = {name: root.commands[name] for name in COMMANDS}
    for noun in NOUNS:
        found |= {f"{noun} {verb}": command for verb, command in root.commands[noun].commands.items()}
    return {
        name: {word for each in command.params for word in (*each.opts, *each.secondary_opts) if word.startswith("--")}
        for name, command in found.items()
    }


def options_shown(text: str, command: str) -> set[str]:
    """Return the options in the synopses of a command: lines indented by four, and those below, indented by more."""
    synopses = re.findall(rf"^    noetl {command}(?: .*)?$(?:\n {{8,}}.*)*", text, re.MULTILINE)
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", " ".join(synopses)))


def test_the_page_of_the_cli_shows_every_command() -> None:
    text = (DOCS / "cli.md").read_text()
    assert [command for command in sorted(commands()) if f"noetl {command} " not in text.replace("\n", " ")] == []


def test_the_page_of_the_cli_shows_every_option_and_no_other() -> None:
    text = (DOCS / "cli.md").read_text()
    for command, options in commands().items():
        shown = options_shown(text, command)
        assert shown <= options, command
        assert options - EVERYWHERE <= shown, command


def test_the_page_of_the_api_has_every_route_and_no_other() -> None:
    text = (DOCS / "api.md").read_text()
    shown = {
        (method, path.replace("{execution_id}", "1").replace("{path}", "a/b").replace("{name}", "n"))
        for method, path in re.findall(r"^\| `(GET|POST|DELETE) (\S+)` \|", text, re.MULTILINE)
    }
    assert shown == set(every_route()) - {("GET", "/api/openapi.json")}

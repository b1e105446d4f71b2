"""The doors of the rooms: which modules of a room others may import, and that no imports run in a circle.

A room is a package. Everything that no door names is the room's own: it can be renamed, split and deleted without a
look at anybody else.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.unit.test_layers import modules

DOORS: dict[str, set[str]] = {
    "cli": {"__init__"},
    "cli.connection": {"address", "client", "database_client"},
    "cli.execute": {"follow", "options", "output_reporter", "progress", "report", "start_options", "wait_reporter"},
    "database": {
        "catalog",
        "connection.connect",
        "connection.notify",
        "credentials",
        "embedded.owner",
        "embedded.programs",
        "embedded.server",
        "explain",
        "export",
        "keys",
        "leases",
        "loops",
        "paging",
        "quarantine",
        "read",
        "results",
        "rows",
        "runtime",
        "schema.apply",
        "schema.audit",
        "schema.inbox",
        "schema.migrate",
        "schema.status",
        "schema.verify",
        "store",
    },
    "database.connection": {"connect", "gathered", "notify"},
    "database.embedded": {"owner", "passwords", "programs", "server"},
    "database.schema": {"apply", "audit", "inbox", "migrate", "roles", "status", "verify"},
    "database.sql": {"__init__"},
    "engine": {
        "calling",
        "conditions",
        "decide",
        "decision",
        "events",
        "evolve",
        "failing",
        "inputs",
        "loops.collect",
        "loops.items",
        "render",
        "state",
        "values",
        "waiting",
        "workload",
    },
    "engine.loops": {"collect", "items", "scope"},
    "home": {"files", "local_socket"},
    "orchestrator": {
        "attempt",
        "batch",
        "begin",
        "catalog_check",
        "children",
        "commands",
        "complete",
        "execution_cache",
        "lost",
        "replay",
        "start",
        "why",
    },
    "playbook": {
        "code_lines",
        "common_secrets",
        "credential_types",
        "drawing.mermaid",
        "drawing.outline",
        "drawing.svg",
        "durations",
        "json_schema",
        "load",
        "model",
        "parameters",
        "read.document",
        "read.loops",
        "step_types",
        "suggest",
        "templates.budget",
        "templates.conditions",
        "templates.env",
        "templates.evaluate",
        "templates.functions",
        "templates.operators",
        "templates.result_views",
        "templates.secret_references",
        "templates.template",
        "testfile.load",
        "testfile.model",
        "testfile.stubs",
        "values",
        "yaml.write",
    },
    "playbook.drawing": {"mermaid", "outline", "svg"},
    "playbook.legacy": {"generations", "normalise"},
    "playbook.lint": {"codes", "run", "source", "structure"},
    "playbook.read": {
        "clauses",
        "document",
        "fields",
        "foreign_words",
        "loops",
        "number_texts",
        "options",
        "python_code",
        "python_names",
        "reader",
        "sections",
        "steps",
    },
    "playbook.templates": {
        "budget",
        "conditions",
        "env",
        "evaluate",
        "filter_table",
        "functions",
        "internal_calls",
        "operators",
        "result_views",
        "sandbox",
        "secret_references",
        "template",
    },
    "playbook.testfile": {"load", "model", "section", "stubs"},
    "playbook.yaml": {"positions", "scalars", "tree", "write"},
    "rules": {"choices", "save", "sql", "text"},
    "server": {"reads", "serve"},
    "server.routes": {"answers", "catalog", "credentials", "executions", "operations"},
    "settings": {"__init__"},
    "testing": {"calls", "compare", "python", "recording", "suite"},
    "tools": {"base", "clouds.aws", "clouds.google", "clouds.service", "container", "masking", "python", "registry"},
    "tools.clouds": {"aws", "google", "service"},
    "tools.duckdb": {"open", "tool"},
    "tools.http": {"body", "guard", "tool"},
    "tools.postgres": {"session", "tool", "values"},
    "tools.save": {"tool"},
    "tools.sql": {"bind", "quoting", "values"},
    "worker": {"run", "runner.process", "supervise"},
    "worker.maintenance": {"containers", "execution_files", "parts", "thread"},
    "worker.runner": {"pool", "process"},
    "worker.secrets": {"inject", "seals", "sources"},
}
"""Of each room its modules that are imported from outside; a room within a room has its doors, too."""

FILES = dict(modules())


def imported_modules(name: str, file: Path) -> Iterator[str]:
    """Yield the modules of NoETL that a module imports, wherever in the file; `from room import module` names one."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "noetl":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in FILES else node.module


def rooms_around(module: str) -> Iterator[str]:
    """Yield the rooms that a module stands in, from the innermost to the outermost; a package is its own room."""
    room = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    while room != "noetl":
        yield room
        room = room.rpartition(".")[0]


def used_doors() -> dict[str, dict[str, str]]:
    """Return, of each room, its modules that are imported from outside, each with one that imports it."""
    used: dict[str, dict[str, str]] = {}
    for module, file in FILES.items():
        for imported in imported_modules(module, file):
            for room in rooms_around(imported):
                if module != room and not module.startswith(f"{room}."):
                    door = imported.removeprefix(room).removeprefix(".") or "__init__"
                    used.setdefault(room.removeprefix("noetl."), {})[door] = module
    return used


def test_a_room_is_entered_by_its_doors() -> None:
    wrong = [
        f"{module} imports {room}.{door}: {room} shows others {sorted(DOORS.get(room, ()))} only"
        for room, doors in used_doors().items()
        for door, module in doors.items()
        if door not in DOORS.get(room, ())
    ]
    assert not wrong, "\n".join(sorted(wrong))


def test_no_door_is_open_for_nobody() -> None:
    used = used_doors()
    unused = [f"{room}.{door}" for room, doors in DOORS.items() for door in doors if door not in used.get(room, ())]
    assert not unused, f"close these doors, nobody outside uses them: {sorted(unused)}"


def test_imports_run_in_no_circle() -> None:
    """Also not inside functions: a module that needs another at call time only needs it all the same."""
    graph = {name: set(imported_modules(name, file)) - {name} for name, file in FILES.items()}
    assert circle(graph) == []


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the nodes of a circle in order, the first one again at the end; none if there is no circle."""
    done: set[str] = set()
    for start in sorted(graph):
        path: list[str] = []
        stack = [(start, iter(sorted(graph[start])))] if start not in done else []
        path += [start] if stack else []
        while stack:
            node, following = stack[-1]
            step = next((each for each in following if each not in done), None)
            if step is None:
                done.add(node)
                stack.pop()
                path.pop()
            elif step in path:
                return [*path[path.index(step) :], step]
            else:
                path.append(step)
                stack.append((step, iter(sorted(graph[step]))))
    return []


def test_a_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []

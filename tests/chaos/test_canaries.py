"""A run that uses every tool with secrets, and everything that is left of it: nowhere is one of them to be seen."""

import base64
import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict

from noetl.database.connection.connect import open_admin
from noetl.database.embedded.programs import client_program
from noetl.database.embedded.server import DATABASE
from noetl.database.export import EXPORTS
from noetl.tools.registry import TOOLS
from tests.support.canaries import Canaries, environment_of, files_below, memory_of, processes
from tests.support.docker import engine, small_image
from tests.support.home import Home, a_home
from tests.support.postgres import TestServer
from tests.support.stub import Stub, serving
from tests.support.vault import a_key, key_text
from tests.support.waiting import wait_for

ARG = "\"{{ secret('env:CANARY_ENV') }}\""

USES = {
    "python": f"args: {{a: {ARG}, b: '{{{{ of_aws.secret_value }}}}'}}, code: \"def main(a, b):\\n  print(a, b)\\n"
    '  raise ValueError(a + b)"',
    "http": f"endpoint: '{{{{ workload.url }}}}/a', method: POST, auth: basic, payload: [{ARG}, "
    "'{{ of_google.secret_value }}']",
    "shell": f"command: 'printenv A; printenv A >&2; exit 3', env: {{A: {ARG}}}",
    "container": f"image: '{{{{ workload.image }}}}', auth: basic, env: {{A: {ARG}}}, command: [sh, -c, "
    "'echo $A; echo $A >&2; exit 3']",
    "postgres": f"auth: database, command: 'SELECT %(a)s::text AS a', params: {{a: {ARG}}}",
    "duckdb": f"auth: {{pg: database}}, command: 'SELECT $a AS a', params: {{a: {ARG}}}",
    "save": f"storage: postgres, auth: database, table: none_such, data: {{a: {ARG}}}",
    "secrets": "provider: credential, name: generic, field: deep",
    "playbook": "path: canaries/child, args: {a: '{{ of_env.secret_value }}'}",
}
"""What one step of each type does with secrets; a new tool is one line here. It may fail: that is to be silent, too."""

FETCHED = {
    "of_env": "provider: env, name: CANARY_ENV",
    "of_file": "provider: file, name: '{{ workload.file }}'",
    "of_credential": "provider: credential, name: generic, field: deep",
    "of_google": "provider: google, name: db, project: p, auth: bearer",
    "of_aws": "provider: aws, name: db, region: eu-west-1, auth: s3",
}
"""A step of type secrets per provider."""

LOGINS = ("bearer", "basic", "key", "query", "header", "{type: bearer, token: " + ARG + "}")


def canary_playbook() -> str:
    """Return the playbook: everything is fetched, then everything is used, then a step waits to be looked at."""
    fetch = [f"  - {{step: {name}, type: secrets, {fields}, next: use}}" for name, fields in FETCHED.items()]
    uses = {f"use_{type_}": f"type: {type_}, {fields}" for type_, fields in USES.items() if _exists(type_)}
    uses |= {
        f"log_in_{number}": f"type: http, auth: {auth}, endpoint: '{{{{ workload.url }}}}/b'"
        for number, auth in enumerate(LOGINS)
    }
    steps = [f"  - {{step: {name}, {fields}, on_error: continue, next: hold}}" for name, fields in uses.items()]
    return "\n".join(
        [
            "apiVersion: noetl.io/v1",
            "kind: Playbook",
            "metadata: {path: canaries/all}",
            "workload: {url: none, file: none, mark: none, image: none}",
            "workflow:",
            f"  - {{step: start, next: [{', '.join(FETCHED)}]}}",
            *fetch,
            f"  - {{step: use, next: [{', '.join(uses)}]}}",
            *steps,
            "  - step: hold",
            "    type: python",
            f"    args: {{mark: '{{{{ workload.mark }}}}', a: {ARG}}}",
            "    code: |",
            "      import os, time",
            "      def main(mark, a):",
            "          open(mark + '.there', 'w').write(str(os.getpid()))",
            "          limit = time.monotonic() + 60",
            "          while time.monotonic() < limit and not os.path.exists(mark):",
            "              time.sleep(0.02)",
            "          return a",
            "    next: end",
            "  - step: end",
            "    result: {held: '{{ hold }}', file: '{{ of_file.secret_value }}', all: '{{ results }}'}",
        ]
    )


CHILD = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {path: canaries/child}
workload: {a: ''}
workflow:
  - step: start
    type: python
    args: {a: "{{ workload.a }}"}
    code: |
      def main(a):
          print(a)
          return {"was": a}
"""


def _exists(type_: str) -> bool:
    return type_ in TOOLS or type_ in ("secrets", "playbook")


@dataclass
class Ran:
    """What is left of the run."""

    home: Home
    canaries: Canaries
    execution: str
    executions: list[str]
    printed: str  # by all commands
    lines: dict[int, str]  # of processes, while it ran
    environments: bytes  # of runners
    memories: bytes
    asked: str  # of the stub: there the secrets are


@pytest.fixture(scope="module")
def ran(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("canaries")
    canaries = Canaries(
        "env", "file", "bearer", "basic", "key", "query", "header", "generic", "google", "aws", "s3", "pg"
    )
    canaries.add("key_text", key_text(key := a_key()))
    for name in ("database", "playbook_user", "api"):
        canaries.add(name, f"password-{secrets.token_hex(8)}-{name}-canary")
    with serving() as stub, _image() as image:
        extra = _environment(canaries, stub)
        with a_home(server, folder, extra) as home:
            yield _run(home, canaries, key, stub, folder, image)


@contextmanager
def _image() -> Iterator[str]:
    """Give an image for the container step; where no engine answers, one that cannot be had: its error is looked at."""
    try:
        client = engine()
    except pytest.skip.Exception:
        yield "localhost:9/no/such:image"
        return
    with closing(client), small_image(client) as tag:
        yield tag


def _environment(canaries: Canaries, stub: Stub) -> dict[str, str]:
    return {
        "NOETL_ENCRYPTION_KEY": canaries["key_text"],
        "NOETL_PASSWORD": canaries["database"],
        "NOETL_PLAYBOOK_PASSWORD": canaries["playbook_user"],
        "NOETL_API_TOKEN": canaries["api"],
        "CANARY_ENV": canaries["env"],
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"{stub.url}/aws",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": stub.url,
    }


def _credentials(home: Home, canaries: Canaries) -> dict[str, tuple[str, dict[str, Any]]]:
    assert home.settings.database_url is not None
    parts = conninfo_to_dict(home.settings.database_url)
    login = {"host": parts.get("host"), "database": parts.get("dbname", DATABASE), "user": "noetl_playbook"}
    ascii_only = str.maketrans({"ü": "u", '"': "_", "\\": "_"})
    for name in ("bearer", "key", "header"):  # headers have no other characters
        canaries.add(name, canaries[name].translate(ascii_only))
    return {
        "bearer": ("bearer", {"token": canaries["bearer"]}),
        "basic": ("basic", {"username": "ada", "password": canaries["basic"]}),
        "key": ("api_key", {"value": canaries["key"]}),
        "query": ("api_key", {"value": canaries["query"], "in": "query"}),
        "header": ("header", {"name": "X-Canary", "value": canaries["header"]}),
        "generic": ("generic", {"deep": {"value": [canaries["generic"]]}}),
        "s3": ("s3", {"access_key": "AKID", "secret_key": canaries["s3"]}),
        "database": ("postgres", {**login, "password": canaries["pg"]}),
    }


def _run(home: Home, canaries: Canaries, key: bytes, stub: Stub, folder: Path, image: str) -> Ran:
    (folder / "secret").write_text(canaries["file"])
    (folder / "all.yaml").write_text(canary_playbook())
    (folder / "child.yaml").write_text(CHILD)
    printed: list[str] = []

    def noetl(*arguments: str, **options: Any) -> str:
        shown = home.run(*arguments, **options)
        printed.append(shown.stdout + shown.stderr)
        return shown.stdout

    noetl("server", "start")
    for name, (type_, fields) in _credentials(home, canaries).items():
        noetl("credential", "add", name, "--type", type_, "--input", "-", stdin=json.dumps(fields))
    stub.answers = {
        "/aws/": lambda asked: {"SecretString": canaries["aws"], "VersionId": "1"},
        "/v1/projects/p/secrets/db/versions/latest:access": _google(canaries["google"]),
        "/v1/projects/p/secrets/db/versions/7:access": _google(canaries["google"]),
    }
    noetl("worker", "start", "--slots", "24")
    noetl("catalog", "register", str(folder / "all.yaml"), str(folder / "child.yaml"))
    mark = folder / "mark"
    payload = json.dumps({"url": stub.url, "file": str(folder / "secret"), "mark": str(mark), "image": image})
    started = noetl("execute", "playbook", "canaries/all", "--payload", payload, "--no-wait", "--json")
    execution = json.loads(started)["execution_id"]
    there = mark.with_name("mark.there")
    wait_for(lambda: there.exists() and there.read_text(), limit=90)
    lines = processes()
    step = int(there.read_text())
    worker = _parent(_parent(step))
    runners = [pid for pid, line in lines.items() if "runner/child.py" in line and _parent(pid) == worker]
    runners += [pid for pid in lines if _parent(pid) in runners]
    assert step in runners
    environments = b"\n".join(environment_of(pid) for pid in runners)
    memories = b"\n".join(memory_of(pid) for pid in runners)
    assert key not in memories
    mark.touch()
    noetl("execute", "watch", execution, expect=None)
    shown = json.loads(noetl("execute", "status", execution, "--json", expect=None))
    assert shown["status"] == "completed", shown
    for arguments in (
        ("execute", "logs", execution),
        ("execute", "list"),
        ("credential", "list"),
        *(("credential", "show", name) for name in _credentials(home, canaries)),
        ("credential", "rotate"),
        ("worker", "list"),
        ("export", execution, "--dir", str(folder / "logs"), *(f"--only={table}" for table in EXPORTS)),
    ):
        noetl(*arguments)
    with open_admin(home.settings) as admin, admin.session() as conn:
        executions = [str(row[0]) for row in conn.execute("SELECT execution_id FROM execution ORDER BY 1")]
    asked = json.dumps(stub.asked, ensure_ascii=False)
    return Ran(home, canaries, execution, executions, "\n".join(printed), lines, environments, memories, asked)


def _google(value: str) -> Any:
    data = base64.b64encode(value.encode()).decode()
    return lambda asked: {"name": "projects/p/secrets/db/versions/7", "payload": {"data": data}}


def _parent(pid: int) -> int:
    """Return the parent of a process; 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def test_the_secrets_were_used(ran: Ran) -> None:
    """Else all the rest would say nothing: the service was sent each of them."""
    sent = ran.canaries.found_in(ran.asked)
    assert sent >= {"env", "basic", "bearer", "key", "query", "header", "google"}
    found = ran.home.json("execute", "status", ran.execution)["result"]
    assert found["held"] == "***"
    assert found["file"].startswith("noetl-secret:s.")
    assert {f"use_{type_}" for type_ in TOOLS} <= {f"use_{type_}" for type_ in USES}, "a tool without a line in USES"


def test_no_process_was_started_with_a_secret_in_sight(ran: Ran) -> None:
    """Command lines of every process, the environment of runners."""
    assert ran.canaries.found_in("\n".join(ran.lines.values())) == set()
    assert ran.canaries.found_in(ran.environments) == set()
    assert b"NOETL" not in ran.environments


def test_runners_have_neither_the_databases_password_nor_a_key_in_memory(ran: Ran) -> None:
    """What their steps were given is there, so the memory was read."""
    assert "env" in ran.canaries.found_in(ran.memories, {"env"})
    ours = {"database", "playbook_user", "api", "key_text"}
    assert ran.canaries.found_in(ran.memories, ours) == set()


def test_no_command_and_no_log_shows_one(ran: Ran) -> None:
    assert ran.execution in ran.printed
    assert ran.canaries.found_in(ran.printed) == set()
    logs = ran.home.logs()
    assert "worker" in logs
    assert ran.canaries.found_in(logs) == set()


def test_no_export_shows_one(ran: Ran) -> None:
    files = dict(files_below(ran.home.work / "logs"))
    assert {file.stem for file in files} == set(EXPORTS)
    assert {file.name: ran.canaries.found_in(data) for file, data in files.items()} == {
        file.name: set() for file in files
    }
    events = next(data for file, data in files.items() if file.stem == "event_log")
    assert b"***" in events


def test_no_answer_of_the_api_shows_one(ran: Ran) -> None:
    """Every route that answers with what was kept, for each execution of the run."""
    lists = ["catalog", "executions", "queue", "runtime", "errors", "credentials"]
    lists += [f"executions/{each}/{part}" for each in ran.executions for part in ("events", "output")]
    places = ["health", "catalog/canaries/all", *(f"{each}?limit=500" for each in lists)]
    places += [f"executions/{each}{part}" for each in ran.executions for part in ("", "/stream")]
    places += [f"credentials/{name}" for name in ("bearer", "generic", "database")]
    address = json.loads((ran.home.settings.home / "server.json").read_text())["address"]
    headers = {"Authorization": f"Bearer {ran.canaries['api']}"}
    for place in places:
        answer = httpx.get(f"{address}/api/{place}", headers=headers, timeout=60)
        assert answer.status_code == 200, (place, answer.text)
        assert ran.canaries.found_in(answer.content) == set(), place


def test_no_dump_of_the_database_shows_one(ran: Ran) -> None:
    assert ran.home.settings.database_url is not None
    for form in ("plain", "tar"):
        command = [client_program("pg_dump"), f"--format={form}", "--dbname", ran.home.settings.database_url]
        done = subprocess.run(command, capture_output=True, check=True)
        assert ran.execution.encode() in done.stdout
        assert b"noetl-secret:s." in done.stdout
        assert ran.canaries.found_in(done.stdout) == set(), form


def test_no_file_of_the_database_has_one_in_it(ran: Ran, server: TestServer) -> None:
    """Tables, indexes, the write-ahead log and the server's own log, as they lie on the disk."""
    with open_admin(ran.home.settings) as admin, admin.connect() as conn:
        conn.execute("CHECKPOINT")
    read = 0
    for file, data in files_below(server.data):
        read += len(data)
        assert ran.canaries.found_in(data) == set(), file
    assert read > 1_000_000

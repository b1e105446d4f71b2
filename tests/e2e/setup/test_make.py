"""The Makefile from a fresh clone: what a person does first, as root, as an ordinary user, in two clones at once."""

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import psycopg
import psycopg.sql
import pytest

from noetl.settings import Settings
from tests.e2e.setup.clones import Clone, make_clone, shared_clone
from tests.support.dumps import dump

EXPORTS = ("event_log", "queue", "workload", "workflow", "transition", "workbook", "runtime", "error_log")
SIMPLE = "PLAYBOOK=examples/test/simple_test"


@pytest.fixture
def clone() -> Iterator[Clone]:
    """The clone that all tests share; its database is verified after each of them."""
    made = shared_clone()
    yield made
    made.verify()


@pytest.fixture
def other() -> Iterator[Clone]:
    """A second, fresh clone: as root it belongs to an ordinary user, whose home cannot be written."""
    made = make_clone("nobody" if os.geteuid() == 0 else None)
    try:
        yield made
        made.verify()
    finally:
        made.remove()


def outcome(text: str) -> dict[str, object]:
    """Return the JSON on stdout, which must be all that is there."""
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


def check_completed(text: str) -> str:
    document = outcome(text)
    assert document["status"] == "completed"
    assert isinstance(document["execution_id"], str)
    return document["execution_id"]


def modes(folder: Path) -> dict[str, int]:
    """Return the modes of a folder and of every folder above it."""
    return {str(one): one.stat().st_mode for one in (folder, *folder.parents)}


def test_two_clones_at_once_run_the_simple_playbook(clone: Clone, other: Clone) -> None:
    accounts = Path("/etc/passwd").read_bytes()
    before = modes(clone.path.parent)
    both = [one.start("make", "noetl-execute", SIMPLE) for one in (clone, other)]
    for process in both:
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        check_completed(out)
    assert modes(clone.path.parent) == before
    assert Path("/etc/passwd").read_bytes() == accounts
    check_completed(other.make("noetl-execute", SIMPLE))
    addresses = {one.make("server-status") for one in (clone, other)}
    assert len(addresses) == 2


def test_once_more_pipes_into_a_json_reader(clone: Clone) -> None:
    clone.run("sh", "-c", f"set -e; make noetl-execute {SIMPLE} | python3 -m json.tool")


def test_payload_and_set_arrive_as_they_were_typed(clone: Clone) -> None:
    payload = json.dumps({"message": 'it\'s $HOME "quoted" $$'})
    out = clone.make("noetl-execute", SIMPLE, f"PAYLOAD={payload}")
    assert 'it\'s $HOME "quoted" $$' in json.dumps(outcome(out)["result"]).replace('\\"', '"')
    out = clone.make("noetl-execute", SIMPLE, f"SET={shlex.quote('message=two words')}")
    assert "two words" in json.dumps(outcome(out)["result"])


def test_exports_hold_the_whole_execution(clone: Clone) -> None:
    execution_id = check_completed(clone.make("noetl-execute", SIMPLE))
    clone.make("export-execution-logs", f"ID={execution_id}")
    tables = {name: json.loads((clone.path / "logs" / f"{name}.json").read_text("utf-8")) for name in EXPORTS}
    stamps = [event["timestamp"] for event in tables["event_log"]]
    assert all(stamps)
    assert stamps == sorted(set(stamps))
    assert [event["event_type"] for event in tables["event_log"]].count("execution_complete") == 1
    assert {str(event["execution_id"]) for event in tables["event_log"]} == {execution_id}
    assert tables["workflow"]
    assert tables["transition"]
    assert not tables["queue"]


def test_one_export_writes_one_file(clone: Clone) -> None:
    execution_id = check_completed(clone.make("noetl-execute", SIMPLE))
    for file in (clone.path / "logs").glob("*.json"):
        file.unlink()
    clone.make("export-event-log", f"ID={execution_id}")
    assert [file.name for file in (clone.path / "logs").glob("*.json")] == ["event_log.json"]


def test_status_and_watch_name_the_execution(clone: Clone) -> None:
    execution_id = check_completed(clone.make("noetl-execute", SIMPLE))
    assert "completed" in clone.make("noetl-execute-status", f"ID={execution_id}")
    clone.make("noetl-execute-watch", f"ID={execution_id}")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("noetl-execute", "PLAYBOOK is missing"),
        ("export-event-log", "ID is missing"),
        ("noetl-execute-status", "ID is missing"),
    ],
)
def test_a_missing_parameter_is_one_sentence(clone: Clone, target: str, words: str) -> None:
    done = clone.run("make", target, expect=None)
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("parameter", ["SET", "ARGS"])
def test_quotes_that_are_not_closed_are_one_sentence(clone: Clone, parameter: str) -> None:
    done = clone.run("make", "noetl-execute", SIMPLE, f"{parameter}=message='two words", expect=None)
    assert done.returncode != 0
    assert f'{parameter} is "message=\'two words", which no shell could split' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_playbook_that_is_not_there_fails_with_a_sentence(clone: Clone) -> None:
    done = clone.run("make", "noetl-execute", "PLAYBOOK=examples/test/nowhere", expect=None)
    assert done.returncode != 0
    assert "examples/test/nowhere is no file here, and there is no playbook" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_examples_can_be_registered_twice(clone: Clone) -> None:
    clone.make("register-examples")
    clone.make("register-examples")


def test_logs_shows_what_server_and_worker_wrote(clone: Clone) -> None:
    assert "==>" in clone.make("logs") or clone.make("logs")


# The schema, by the CLI and by psql


def database_settings(clone: Clone) -> dict[str, str]:
    """Return POSTGRES_* for the clone's embedded server."""
    url = clone.run(".venv/bin/noetl", "db", "url", env={"NOETL_HOME": str(clone.path / ".noetl")}).stdout.strip()
    found = psycopg.conninfo.conninfo_to_dict(url)
    return {
        "POSTGRES_HOST": str(found["host"]),
        "POSTGRES_PORT": str(found.get("port", 5432)),
        "POSTGRES_DB": str(found["dbname"]),
        "POSTGRES_USER": str(found["user"]),
        "POSTGRES_PASSWORD": Path(str(found["passfile"])).read_text().strip().rpartition(":")[2],
    }


def address(settings: dict[str, str], database: str | None = None) -> str:
    """Return the conninfo of POSTGRES_*, or of another database of that server."""
    return psycopg.conninfo.make_conninfo(
        host=settings["POSTGRES_HOST"],
        port=settings["POSTGRES_PORT"],
        dbname=database or settings["POSTGRES_DB"],
        user=settings["POSTGRES_USER"],
        password=settings["POSTGRES_PASSWORD"],
    )


def tables(settings: dict[str, str], schema: str) -> set[str]:
    """Return the tables of a schema but the dated partitions, of which a worker makes more."""
    query = "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename !~ '_20[0-9]{6}$'"
    with psycopg.connect(address(settings)) as conn:
        rows = conn.execute(query, (schema,))
        return {row[0] for row in rows}


def test_the_schema_is_reset_by_the_cli_and_works_after(clone: Clone) -> None:
    done = clone.run("make", "postgres-reset-schema")
    assert "with the NoETL CLI" in done.stderr
    after = clone.run("make", "noetl-execute", "PLAYBOOK=examples/parallel/join")
    check_completed(after.stdout)
    assert "lost" not in after.stderr, "the worker that lived through the reset took the new database for the old"


@pytest.fixture
def broken_cli(clone: Clone) -> Iterator[None]:
    """A CLI that cannot be imported."""
    module = clone.path / "noetl" / "cli" / "__init__.py"
    text = module.read_text("utf-8")
    module.write_text("raise ImportError('broken on purpose')\n", "utf-8")
    yield
    module.write_text(text, "utf-8")


@pytest.mark.parametrize("schema", ["by_psql", 'od"d na\\me'])
def test_the_schema_is_reset_by_psql_where_the_cli_cannot_be_used(
    clone: Clone, schema: str, request: pytest.FixtureRequest
) -> None:
    settings = database_settings(clone)
    request.getfixturevalue("broken_cli")
    for _ in range(2):
        done = clone.run("make", "postgres-reset-schema", env={**settings, "NOETL_SCHEMA": schema})
        assert "with psql" in done.stderr
    assert tables(settings, schema) >= {"event_log", "queue", "catalog", "workload"}
    assert tables(settings, schema) == tables(settings, "noetl")


def test_cli_and_psql_make_the_same_schema(clone: Clone, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Also under other names: what the one makes is what the other makes, to the last grant."""
    settings = database_settings(clone)
    names = {"NOETL_SCHEMA": "made both ways", "NOETL_USER": "both_user", "NOETL_PLAYBOOK_USER": "both_guest"}
    for database in ("made_by_cli", "made_by_psql"):
        with psycopg.connect(address(settings), autocommit=True) as conn:
            conn.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database)))
        if database == "made_by_psql":
            request.getfixturevalue("broken_cli")
        done = clone.run("make", "postgres-reset-schema", env={**settings, **names, "POSTGRES_DB": database})
        assert ("with psql" if database == "made_by_psql" else "with the NoETL CLI") in done.stderr
    by_cli, by_psql = (
        dump(Settings(home=tmp_path, database_url=address(settings, database)))
        for database in ("made_by_cli", "made_by_psql")
    )
    assert by_cli == by_psql
    assert "both_guest" in by_cli


def test_another_ddl_is_applied_by_the_cli_too(clone: Clone, tmp_path: Path) -> None:
    """It is broken, and everything stays as it is."""
    bad = tmp_path / "bad.sql"
    bad.write_text("BEGIN;\nSELECT no_such_function();\nCOMMIT;\n", "utf-8")
    settings = database_settings(clone)
    before = tables(settings, "noetl")
    done = clone.run("make", "postgres-reset-schema", f"DDL={bad}", expect=None)
    assert done.returncode != 0
    assert "no_such_function" in done.stderr
    assert tables(settings, "noetl") == before


def test_a_bad_ddl_by_psql_leaves_everything_as_it_is(
    clone: Clone, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    settings = {**database_settings(clone), "NOETL_SCHEMA": "by_bad_ddl"}
    clone.run("make", "postgres-reset-schema", env=settings)
    made = tables(settings, "by_bad_ddl")
    request.getfixturevalue("broken_cli")
    bad = tmp_path / "bad.sql"
    text = (clone.path / "noetl/database/ddl/postgres/schema_ddl.sql").read_text("utf-8")
    before, commit, after = text.rpartition("COMMIT;")
    bad.write_text(f"{before}SELECT no_such_function();\n{commit}{after}", "utf-8")
    done = clone.run(
        "make",
        "postgres-reset-schema",
        f"DDL={bad}",
        expect=None,
        env=settings,
    )
    assert done.returncode != 0
    assert "no_such_function" in done.stderr
    assert made
    assert tables(settings, "by_bad_ddl") == made


def test_psql_without_settings_is_a_sentence(clone: Clone, broken_cli: None) -> None:
    done = clone.run("make", "postgres-reset-schema", expect=None)
    assert done.returncode != 0
    assert "POSTGRES_HOST or NOETL_DATABASE_URL" in done.stderr


# Cleaning up: last, since it takes the environment away


def processes_of(clone: Clone) -> list[str]:
    """Return the command lines that run out of the clone's environment or on its data."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(clone.path) in line:
            found.append(line)
    return found


def test_clean_stops_everything_and_keeps_the_database(clone: Clone) -> None:
    execution_id = check_completed(clone.make("noetl-execute", SIMPLE))
    assert processes_of(clone)
    clone.make("clean")
    assert not processes_of(clone)
    assert not (clone.path / ".venv").exists()
    assert not (clone.path / "logs").exists()
    assert not list(clone.path.rglob("__pycache__"))
    clone.make("clean")
    clone.make("start-server")
    assert "completed" in clone.make("noetl-execute-status", f"ID={execution_id}")


def test_clean_data_removes_the_database(clone: Clone) -> None:
    clone.make("clean-data")
    assert not processes_of(clone)
    assert not (clone.path / ".noetl").exists()

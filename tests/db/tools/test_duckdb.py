"""The duckdb tool with databases of Postgres, and in a runner."""

from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from noetl.database.connection.connect import Database
from noetl.outcomes import Done, Failed
from noetl.settings import Settings
from noetl.tools.registry import TOOLS
from noetl.worker.executor import Executor
from tests.support.calls import run
from tests.support.sql import Steps, sql_steps
from tests.support.working import Engine, working


@pytest.fixture
def credential(settings: Settings) -> dict[str, Any]:
    parts = conninfo_to_dict(str(settings.database_url))
    return {"type": "postgres", "host": parts["host"], "database": parts["dbname"], "user": settings.playbook_user,
            "password": "hush-hush"}  # fmt: skip


@pytest.fixture
def steps(settings: Settings) -> Steps:
    with sql_steps(settings) as sql:
        sql.result("CREATE TABLE city (id int, name text); INSERT INTO city VALUES (1, 'Oslo'), (2, 'Zürich')")
    return Steps(TOOLS["duckdb"])


@pytest.mark.parametrize("alias", ["", "src", "a b"])
def test_a_postgres_is_attached_under_its_alias(steps: Steps, credential: dict[str, Any], alias: str) -> None:
    name = f'"{alias or "db"}"'
    assert steps.rows(
        f"""CREATE TABLE mine AS SELECT * FROM {name}.noetl_playbook.city;
            INSERT INTO {name}.noetl_playbook.city SELECT id + 2, upper(name) FROM mine;
            SELECT * FROM {name}.noetl_playbook.city ORDER BY id""",
        auth={alias: credential},
    ) == [[1, "Oslo"], [2, "Zürich"], [3, "OSLO"], [4, "ZÜRICH"]]


def test_the_sql_may_attach_it_itself(steps: Steps, credential: dict[str, Any]) -> None:
    sql = "ATTACH '' AS src (TYPE postgres, SECRET src, READ_ONLY, SCHEMA 'noetl_playbook'); SELECT * FROM src.city"
    assert len(steps.rows(sql, auth={"src": credential})) == 2


def test_a_postgres_that_says_no_is_told(steps: Steps, credential: dict[str, Any]) -> None:
    error = steps.error("SELECT * FROM db.noetl.execution", auth={"": credential})
    assert "permission denied" in error["message"] or "does not exist" in error["message"]
    error = steps.error("SELECT 1", auth={"": {**credential, "database": "nowhere"}})
    assert 'database "nowhere" does not exist' in error["message"]
    assert "hush" not in str(error)


def test_in_a_runner_credentials_come_with_the_call_alone(steps: Steps, credential: dict[str, Any]) -> None:
    """They are in nothing that another process could see; the child is the same for the calls that follow."""
    executor = Executor(1)
    try:
        call = steps.call({"command": "SELECT count(*) AS n FROM db.noetl_playbook.city"}, auth={"": credential})
        report = run(executor, call)
        assert isinstance(report.answer, Done), report.answer
        assert b'"rows":[{"n":2}]' in report.answer.result
        (pid,) = executor.runner_pids
        for name in ("environ", "cmdline"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                assert b"hush" not in file.read()
        after = run(executor, steps.call({"command": "SELECT count(*) FROM db.noetl_playbook.city"}))
        assert isinstance(after.answer, Failed)
        assert executor.runner_pids == [pid]
    finally:
        executor.close()


def test_the_steps_of_an_execution_share_a_file(database: Database, settings: Settings) -> None:
    engine = Engine(database, settings)
    path = engine.register(
        """apiVersion: noetl.io/v1
kind: Playbook
metadata: {path: shared}
workflow:
  - {step: start, type: duckdb, command: "CREATE TABLE t (n int)", next: [a, b, c]}
  - {step: a, type: duckdb, command: "INSERT INTO t VALUES ($1)", params: [1], next: [sum]}
  - {step: b, type: duckdb, command: "INSERT INTO t VALUES ($n)", params: {n: 10}, next: [sum]}
  - {step: c, type: duckdb, command: "INSERT INTO t VALUES (?)", params: [100], next: [sum]}
  - {step: sum, type: duckdb, command: "SELECT sum(n) AS n FROM t", next: [end]}
  - {step: end, result: "{{ sum.command_0.rows[0].n }}"}
"""
    )
    with working(settings):
        execution = engine.start(path)
        assert engine.wait(execution) == "completed", engine.error(execution)
    assert engine.result(execution) == 111
    assert [file.name for file in (settings.home / "duckdb").iterdir()] == [f"{execution}.duckdb"]

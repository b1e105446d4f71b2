"""The duckdb tool: SQL on a file, values, params, extensions without a download."""

import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from noetl.outcomes import Done
from noetl.tools.duckdb import open as duckdb_open
from noetl.tools.registry import TOOLS
from tests.support.sql import Steps


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    monkeypatch.chdir(tmp_path)
    return Steps(TOOLS["duckdb"])


def in_files(folder: Path, execution: str = "7") -> Mapping[str, Any]:
    return {"files": str(folder / "duckdb"), "execution_id": execution}


def test_each_command_has_its_rows_count_and_columns(steps: Steps) -> None:
    result = steps.result(
        """
        CREATE TABLE city (id int PRIMARY KEY, name text);  -- ; ' --
        INSERT INTO city VALUES (1, 'Zürich; ''old'' town'), (2, $$東京 🐘 100%?;$$);
        SELECT * FROM city ORDER BY id /* ; */;
        UPDATE city SET name = upper(name) WHERE id = 2 RETURNING id;
        DELETE FROM city;
        CREATE TABLE copy_ AS SELECT * FROM range(3);
        SELECT 5 AS "Count"
        """
    )
    assert result["executed_commands"] == 7
    assert result["command_0"] == {"status": "success", "rows": [], "row_count": 0, "columns": []}
    assert result["command_1"]["row_count"] == 2
    assert result["command_2"]["rows"] == [{"id": 1, "name": "Zürich; 'old' town"}, {"id": 2, "name": "東京 🐘 100%?;"}]
    assert result["command_3"]["rows"] == [{"id": 2}]
    assert result["command_4"]["row_count"] == 2
    assert result["command_5"]["row_count"] == 3
    assert result["command_6"]["rows"] == [{"Count": 5}]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("NULL", None),
        ("true", True),
        ("1.50", 1.5),
        ("170141183460469231731687303715884105727::hugeint", "170141183460469231731687303715884105727"),
        ("'NaN'::double", "NaN"),
        ("'-infinity'::double", "-Infinity"),
        ("DATE '2026-01-31'", "2026-01-31"),
        ("TIMESTAMP '2026-01-31 08:00:00.5'", "2026-01-31T08:00:00.5"),
        ("TIMESTAMPTZ '2026-01-31 08:00:00+02'", None),
        ("TIME '08:00'", "08:00:00"),
        ("INTERVAL '1 day 2 hours'", "P1DT2H"),
        ("'\\x00\\xFF'::blob", "AP8="),
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("[1, NULL, 3]", [1, None, 3]),
        ("{'a': 1, 'b': [{'c': 2.5}]}", {"a": 1, "b": [{"c": 2.5}]}),
        ("MAP {1: 'x'}", {"1": "x"}),
        ('\'{"b": [12345678901234567890], "a": null}\'::json', {"b": ["12345678901234567890"], "a": None}),
        ("'ok'::ENUM ('sad', 'ok')", "ok"),
    ],
)
def test_values_become_plain_json(steps: Steps, expression: str, value: Any) -> None:
    found = steps.one(f"SET TimeZone = 'Asia/Kolkata'; SELECT {expression}")
    if expression.startswith("TIMESTAMPTZ"):
        value = "2026-01-31T11:30:00+05:30"
    assert found == value


@pytest.mark.parametrize(
    ("sql", "params", "value"),
    [
        ("SELECT $1 || $2", ["a'; DROP TABLE x; --", "é🐘"], "a'; DROP TABLE x; --é🐘"),
        ("SELECT ? + ?", [1, 2], 3),
        ("SELECT %s", ["a"], "a"),
        ("SELECT $name || :name || '$name'", {"name": "x"}, "xx$name"),
        ("SELECT [10, 20, 30][1:$n]", {"n": 2}, [10, 20]),
        ("SELECT {'a': $n}", {"n": 2}, {"a": 2}),
        ("SELECT $1.a[1].b", [{"a": [{"b": 5}]}], 5),
        ("SELECT list_sum($1)", [[1, 2, 3]], 6),
        ("SELECT sum(a) FROM (SELECT unnest($1, recursive := true))", [[{"a": 1}, {"a": 2}]], 3),
        ("SELECT $1", [None], None),
        ("SELECT $1", [2**70], str(2**70)),
    ],
)
def test_params_are_bound(steps: Steps, sql: str, params: Any, value: Any) -> None:
    assert steps.one(sql, params) == value


def test_an_execution_has_a_file_of_its_own(steps: Steps, tmp_path: Path) -> None:
    for number in ("7", "8"):
        call = steps.call({"command": f"CREATE TABLE t AS SELECT {number} AS n"}, context=in_files(tmp_path, number))
        assert steps.tool.run(call)
    again = steps.call({"command": "SELECT n FROM t"}, context=in_files(tmp_path, "7"))
    answer = steps.tool.run(again)
    assert isinstance(answer, Done)
    assert b'"rows":[{"n":7}]' in answer.result
    assert sorted(file.name for file in (tmp_path / "duckdb").iterdir()) == ["7.duckdb", "8.duckdb"]
    assert (tmp_path / "duckdb").stat().st_mode & 0o077 == 0


def test_a_database_may_be_named(steps: Steps, tmp_path: Path) -> None:
    path = str(tmp_path / "mine é.duckdb")
    steps.result("CREATE TABLE t (a int); INSERT INTO t VALUES (5)", database=path)
    assert steps.one("SELECT a FROM t", database=path) == 5
    assert steps.error("SELECT a FROM t", database=":memory:")["type"] == "duckdb"


def test_files_are_written_and_read(steps: Steps, tmp_path: Path) -> None:
    result = steps.result(
        """COPY (SELECT i, 'é' || i AS name FROM range(3) AS r (i)) TO 'a.parquet';
           COPY (SELECT * FROM 'a.parquet') TO 'a.csv';
           COPY (SELECT * FROM 'a.csv') TO 'a.json';
           SELECT count(*) AS n, max(name) AS name FROM 'a.json'"""
    )
    assert [result[f"command_{n}"]["row_count"] for n in range(3)] == [3, 3, 3]
    assert result["command_3"]["rows"] == [{"n": 3, "name": "é2"}]
    assert (tmp_path / "a.csv").read_text() == "i,name\n0,é0\n1,é1\n2,é2\n"


@pytest.mark.parametrize(
    ("sql", "told", "number"),
    [
        ("SELECT 1; SELECT nothing", 'Binder Error: Referenced column "nothing" was not found', 1),
        ("SELEC 1", 'Parser Error: syntax error at or near "SELEC"', 0),
        ("SELECT 'a", "Parser Error: unterminated quoted string", 0),
        ("CREATE TABLE a (i int PRIMARY KEY); INSERT INTO a VALUES (1), (1)", "Constraint Error: ", 1),
        ("SELECT * FROM 'nowhere.csv'", "IO Error: No files found", 0),
    ],
)
def test_the_first_error_ends_it(steps: Steps, sql: str, told: str, number: int) -> None:
    error = steps.error(sql)
    assert (error["type"], error["retryable"], error["detail"]["command"]) == ("duckdb", False, number)
    assert error["message"].startswith(f"examples/test#step: command_{number}: {told}")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "give the SQL as command or as commands"),
        ({"command": "SELECT 1", "database": 7}, "database must be a path or :memory:, not a number"),
        ({"command": "SELECT 1", "database": ""}, "database must be a path or :memory:, not empty"),
        ({"command": "SELECT 1", "database": "a\x00b"}, "database contains a NUL character"),
        ({"command": "SELECT 1", "database": "/nowhere/at/all.duckdb"}, "the database '/nowhere/at/all.duckdb' cannot"),
        ({"command": "INSTALL httpfs"}, "the SQL needs DuckDB's extension httpfs, and nothing is downloaded"),
        ({"command": "INSTALL a FROM community"}, "nothing is downloaded while a playbook runs: write INSTALL name"),
        ({"command": "FORCE INSTALL httpfs"}, "nothing is downloaded while a playbook runs"),
        ({"command": "LOAD spatial"}, "the SQL needs DuckDB's extension spatial, and nothing is downloaded"),
        ({"command": "SELECT $2", "params": [1]}, "the SQL has $2, but params has 1 values"),
        ({"command": "BEGIN; CREATE TABLE t (a int)"}, "the SQL leaves a transaction open, which is rolled back"),
    ],
)
def test_a_wrong_field_is_told(steps: Steps, fields: dict[str, Any], told: str) -> None:
    error = steps.error(**fields)
    assert (error["type"], error["retryable"]) == ("validation", False)
    assert error["message"].startswith(f"examples/test#step: {told}")


def test_a_file_that_is_no_database_is_told(steps: Steps, tmp_path: Path) -> None:
    (tmp_path / "text.duckdb").write_text("this is text, and long enough to be taken for something else " * 100)
    error = steps.error("SELECT 1", database=str(tmp_path / "text.duckdb"))
    assert error["type"] == "validation"
    assert "cannot be opened: " in error["message"]


def test_without_duckdb_it_is_told_how_to_get_it(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    error = steps.error("SELECT 1")
    assert error["message"].endswith("DuckDB is not installed where this worker runs: pip install 'noetl[duckdb]'")


def test_extensions_come_from_packages_of_the_same_version(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps.result("LOAD postgres; SELECT 1")["executed_commands"] == 2
    loaded = "SELECT loaded FROM duckdb_extensions() WHERE extension_name = 'postgres_scanner'"
    assert steps.rows(loaded) == [[False]], "only where the SQL needs it"
    assert steps.rows(f"LOAD postgres_scanner; {loaded}") == [[True]]
    monkeypatch.setattr(duckdb, "__version__", "0.0.1")
    error = steps.error("LOAD postgres")
    assert error["message"].endswith("pip install duckdb-extension-postgres-scanner==0.0.1")


def test_duckdb_itself_downloads_nothing(steps: Steps) -> None:
    assert steps.one("SELECT current_setting('autoinstall_known_extensions')") is False


def test_a_result_beyond_the_limit_fails_while_it_comes(steps: Steps) -> None:
    error = steps.error("SELECT i, repeat('x', 1000) FROM range(100000000000) AS r (i)", limit=100_000)
    assert error["type"] == "too_large"
    assert "more than 100,000 bytes as JSON at row 9" in error["message"]


def test_a_file_that_another_process_has_open_is_waited_for(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps of an execution that run at the same time."""
    import subprocess

    path = tmp_path / "busy.duckdb"
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(duckdb_open.DatabaseUnavailable, match="was in use by another process for 0"):
            duckdb_open.open_duckdb(str(path), patience=0.0)
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(steps.one("SELECT 5", database=str(path))))
        thread.start()
        other.stdin.close()
        thread.join(20)
    assert answers == [5]


def test_a_credentials_secrets_are_in_no_error_and_no_result(steps: Steps) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    auth = {"src": {"type": "postgres", "host": "127.0.0.1", "port": port, "user": "u", "database": "d",
                    "password": "hush'hush"}}  # fmt: skip
    error = steps.error("SELECT 1", auth=auth)
    assert (error["type"], error["retryable"]) == ("duckdb", True)
    assert error["message"].startswith("examples/test#step: no connection to the database of the credential 'src': ")
    assert "Connection refused" in error["message"]
    shown = steps.result("SELECT * FROM duckdb_secrets(); ATTACH IF NOT EXISTS ':memory:' AS src", auth=auth)
    assert "hush" not in str(error) + str(shown)
    assert shown["command_0"]["row_count"] == 1
    error = steps.error("ATTACH '' AS src (TYPE postgres, SECRET src)", auth=auth)
    assert (error["type"], error["retryable"]) == ("duckdb", True)
    assert "hush" not in str(error)


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        (
            {"": {"type": "bearer", "token": "hush"}},
            "the credential is of type 'bearer': one of type postgres is needed",
        ),
        ({"a": {"type": "postgres", "host": "h"}}, "the credential 'a' has no user and no database"),
        ({"a": {"type": "s3", "access_key": "k", "secret_key": "hush"}}, "the SQL needs DuckDB's extension httpfs"),
        ({"a": {"type": "s3", "secret": "hush"}}, "the credential 'a' has the field 'secret', which is unknown"),
    ],
)
def test_a_wrong_credential_is_told_without_its_secrets(steps: Steps, auth: Any, told: str) -> None:
    error = steps.error("SELECT 1", auth=auth)
    assert error["message"].startswith(f"examples/test#step: {told}")
    assert "hush" not in str(error)

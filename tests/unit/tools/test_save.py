"""The save tool without a server: fields, types, DuckDB, files."""

from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from noetl.outcomes import Done
from noetl.tools.base import InvalidCall
from noetl.tools.registry import TOOLS
from noetl.tools.save.rows import duckdb_types, last_of_each, name_parts, postgres_types
from noetl.tools.save.tool import place_of
from noetl.worker.executor import Executor
from tests.support.calls import run
from tests.support.sql import Steps

ROWS: list[dict[str, Any]] = [
    {"id": 1, "name": "Zoë; 'x'", "amount": 1.5, "tags": ["a", "b"], "more": {"n": 1, "t": "x"}, "day": "2026-01-31"},
    {"id": 2, "name": None, "amount": 2, "tags": [], "more": {"n": None, "t": "é"}, "extra": True},
]


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    monkeypatch.chdir(tmp_path)
    return Steps(TOOLS["save"])


# ---- the event log ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [{"a": 1}, [1, 2], "text", 0, False])
def test_the_event_log_keeps_the_data_as_the_steps_result(steps: Steps, data: Any) -> None:
    count = len(data) if isinstance(data, list) else 1
    for fields in ({"storage": "event_log", "data": data}, {"data": data}):
        assert steps.result(**fields) == {"saved": "event_log", "data": data, "row_count": count}


# ---- fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "there is nothing to save: give data"),
        ({"storage": "s3", "data": {}}, "storage 's3' is not one of event_log, postgres, duckdb, file"),
        ({"storage": ["file"], "data": {}}, "storage ['file'] is not one of"),
        ({"data": {"a": 1}, "table": "t"}, "table does not go with storage event_log: leave it out"),
        ({"storage": "postgres", "data": {"a": 1}, "path": "x"}, "path does not go with storage postgres"),
        ({"storage": "postgres", "data": {"a": 1}}, "storage postgres needs a table"),
        ({"storage": "duckdb", "table": "t", "statement": "s"}, "storage duckdb needs either table or statement, not"),
        ({"storage": "duckdb", "table": "t"}, "there is nothing to save: give data"),
        ({"storage": "duckdb", "table": "t", "data": "x"}, "data must be a mapping or a list of mappings, not a text"),
        ({"storage": "duckdb", "table": "t", "data": [{"a": 1}, 5]}, "data[1] must be a mapping of columns to values"),
        ({"storage": "duckdb", "table": "t", "data": [{"a": 1}, {}]}, "data[1] has no columns"),
        ({"storage": "duckdb", "table": 7, "data": {"a": 1}}, "table must be text, not a number"),
        ({"storage": "duckdb", "table": "a..b", "data": {"a": 1}}, "table 'a..b' is not the name of a table"),
        ({"storage": "duckdb", "table": "t", "data": {"a": 1}, "mode": "x"}, "mode 'x' is neither insert nor upsert"),
        ({"storage": "duckdb", "table": "t", "data": {"a": 1}, "key": "a"}, "key goes with mode: upsert"),
        ({"storage": "duckdb", "table": "t", "data": {"a": 1}, "mode": "upsert"}, "mode upsert needs a key"),
        (
            {"storage": "duckdb", "table": "t", "data": {"a": 1}, "mode": "upsert", "key": ["b"]},
            "data has no 'b', which is part of the key",
        ),
        (
            {"storage": "duckdb", "table": "t", "data": [{"a": 1}, {"b": 1}], "mode": "upsert", "key": "a"},
            "data[1] has no 'a', which is part of the key",
        ),
        ({"storage": "duckdb", "table": "t", "data": {"a": 1}, "params": [1]}, "params go with a statement"),
        ({"storage": "duckdb", "statement": "SELECT 1", "mode": "insert"}, "mode goes with a table"),
        ({"storage": "duckdb", "statement": " -- nothing"}, "statement has no command in it"),
        ({"storage": "duckdb", "statement": "SELECT :b", "data": {"a": 1}}, "the SQL names :b, which is not in params"),
        ({"storage": "duckdb", "statement": "COMMIT"}, "command_0 is COMMIT, but a step is one transaction"),
        ({"storage": "file", "data": {"a": 1}}, "path must be text, not nothing"),
        ({"storage": "file", "data": {"a": 1}, "path": "x.xls"}, "the path 'x.xls' does not say its format"),
        ({"storage": "file", "data": {"a": 1}, "path": "x.csv", "format": "xml"}, "format 'xml' is not one of parquet"),
        ({"storage": "file", "data": {"a": 1}, "path": "none/x.csv"}, "there is no folder"),
        ({"storage": "file", "data": [], "path": "x.parquet"}, "data has no rows, and so no columns"),
        ({"storage": "file", "data": {"a": 1}, "path": "a\x00.csv"}, "path contains a NUL character"),
    ],
)
def test_a_wrong_field_is_told(steps: Steps, fields: dict[str, Any], told: str) -> None:
    error = steps.error(**fields)
    assert (error["type"], error["retryable"]) == ("validation", False)
    assert error["message"].startswith(f"examples/test#step: {told}")


def test_where_it_runs_depends_on_the_storage(steps: Steps) -> None:
    places = {name: place_of(steps.call({"storage": name})) for name in ("event_log", "postgres", "duckdb", "file")}
    assert places == {"event_log": "thread", "postgres": "thread", "duckdb": "runner", "file": "runner"}
    assert place_of(steps.call({"storage": ["x"]})) == "thread"


def test_in_slots_a_file_is_written_by_a_runner(steps: Steps, tmp_path: Path) -> None:
    executor = Executor(1, warm=False)
    try:
        logged = run(executor, steps.call({"data": {"a": 1}}))
        assert isinstance(logged.answer, Done)
        assert executor.runner_pids == []
        written = run(executor, steps.call({"storage": "file", "data": {"a": 1}, "path": str(tmp_path / "x.json")}))
        assert isinstance(written.answer, Done), written.answer
        assert len(executor.runner_pids) == 1
    finally:
        executor.close()
    assert orjson.loads((tmp_path / "x.json").read_bytes()) == [{"a": 1}]


# ---- types and names -------------------------------------------------------------------------------------------------


def test_types_hold_all_values_of_a_column() -> None:
    rows: list[dict[str, Any]] = [
        {"b": True, "i": 1, "f": 1, "h": 2**63, "t": "007", "m": 1, "l": [1], "s": {"x": 1}, "e": [], "n": None},
        {"b": None, "i": 2, "f": 1.5, "h": 1, "t": "x", "m": "a", "l": [2.5], "s": {"y": ["a"]}, "e": None},
    ]
    assert duckdb_types(rows) == {
        "b": "BOOLEAN",
        "i": "BIGINT",
        "f": "DOUBLE",
        "h": "HUGEINT",
        "t": "VARCHAR",
        "m": "JSON",
        "l": "DOUBLE[]",
        "s": 'STRUCT("x" BIGINT, "y" VARCHAR[])',
        "e": "JSON",
        "n": "VARCHAR",
    }
    assert postgres_types(rows) == {
        "b": "boolean",
        "i": "bigint",
        "f": "double precision",
        "h": "numeric",
        "t": "text",
        "m": "jsonb",
        "l": "jsonb",
        "s": "jsonb",
        "e": "jsonb",
        "n": "text",
    }


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("t", ["t"]),
        ("s.t", ["s", "t"]),
        ('"a.b"."c""d"', ["a.b", 'c"d']),
        ("my schema.my table", ["my schema", "my table"]),
        ("db.s.t", ["db", "s", "t"]),
        ("tëst; DROP", ["tëst; DROP"]),
    ],
)
def test_a_tables_name_has_parts(name: str, parts: list[str]) -> None:
    assert name_parts(name) == parts


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", '"a', '"a"b', '""', "a. "])
def test_what_is_no_name_is_told(name: str) -> None:
    with pytest.raises(InvalidCall, match="is not the name of a table"):
        name_parts(name)


def test_of_rows_with_one_key_the_last_counts() -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 1, "b": 3}, {"a": "1", "b": 4}]
    assert last_of_each(rows, ["a"]) == [{"a": 1, "b": 3}, {"a": 2, "b": 2}, {"a": "1", "b": 4}]


# ---- DuckDB ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = str(tmp_path / "shop.duckdb")
    with duckdb.connect(path) as conn:
        conn.execute('CREATE TABLE sale (id int PRIMARY KEY, "Name" text, amount decimal(9,2), tags text[], day date)')
    return path


def rows(database: str, sql: str = "SELECT * FROM sale ORDER BY id") -> list[Any]:
    with duckdb.connect(database) as conn:
        return conn.execute(sql).fetchall()


def test_rows_go_into_a_table_with_its_types(steps: Steps, database: str) -> None:
    data = [{key: value for key, value in row.items() if key not in ("more", "extra")} for row in ROWS]
    assert steps.result(storage="duckdb", database=database, table="sale", data=data) == {
        "saved": "duckdb",
        "table": "sale",
        "row_count": 2,
    }
    assert [str(row) for row in rows(database, "SELECT id, Name, amount::text, tags, day::text FROM sale")] == [
        "(1, \"Zoë; 'x'\", '1.50', ['a', 'b'], '2026-01-31')",
        "(2, None, '2.00', [], None)",
    ]


def test_an_upsert_replaces_what_has_the_key(steps: Steps, database: str) -> None:
    fields = {"storage": "duckdb", "database": database, "table": "main.sale", "mode": "upsert", "key": "id"}
    steps.result(**fields, data=[{"id": 1, "amount": 1}, {"id": 2, "amount": 2}])
    assert steps.result(**fields, data=[{"id": 2, "amount": 3}, {"id": 3, "name": "new"}, {"id": 2, "amount": 4}])
    assert rows(database, "SELECT id, amount::int, name FROM sale ORDER BY id") == [
        (1, 1, None),
        (2, 4, None),
        (3, None, "new"),
    ]
    steps.result(storage="duckdb", database=database, table="sale", mode="upsert", key=["id"], data={"id": 1})
    assert len(rows(database)) == 3


def test_no_rows_are_no_trouble(steps: Steps, database: str) -> None:
    assert steps.result(storage="duckdb", database=database, table="sale", data=[])["row_count"] == 0
    assert steps.result(storage="file", path="x.json", data=[]) == {"saved": "file", "path": "x.json", "row_count": 0}
    assert Path("x.json").read_text() == "[]\n"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"table": "nowhere", "data": {"a": 1, "b c": [1.5]}},
            'there is no table \'nowhere\' in this database: CREATE TABLE "nowhere" ("a" BIGINT, "b c" DOUBLE[])',
        ),
        ({"table": "sale", "data": {"di": 1}}, "the table 'sale' has no column 'di': its columns are id, Name, amount"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(steps: Steps, database: str, fields: Any, told: str) -> None:
    error = steps.error(storage="duckdb", database=database, **fields)
    assert error["type"] == "validation"
    assert error["message"].startswith(f"examples/test#step: {told}")


def test_a_row_that_does_not_fit_leaves_none(steps: Steps, database: str) -> None:
    for data in ([{"id": 1}, {"id": 1}], [{"id": 1}, {"id": "x"}], [{"id": 1, "amount": 1}, {"id": 2, "amount": 1e9}]):
        error = steps.error(storage="duckdb", database=database, table="sale", data=data)
        assert error["type"] == "duckdb"
        assert rows(database) == []


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"statement": "INSERT INTO sale (id, name) VALUES (:id, $name)", "data": [{"id": 1, "name": "a"}] * 1}, 1),
        ({"statement": "INSERT INTO sale (id) VALUES (:id)", "data": [{"id": 1, "x": 0}, {"id": 2}]}, 2),
        ({"statement": "INSERT INTO sale (id) VALUES (?), ($2)", "params": [1, 2]}, None),
        ({"statement": "INSERT INTO sale (id) VALUES (?), (?)", "params": [1, 2]}, 2),
        ({"statement": "INSERT INTO sale (id) VALUES (5) RETURNING id; DELETE FROM sale"}, 2),
    ],
)
def test_a_statement_of_ones_own(steps: Steps, database: str, fields: Any, count: int | None) -> None:
    if count is None:
        assert "both ? and $1" in steps.error(storage="duckdb", database=database, **fields)["message"]
    else:
        assert steps.result(storage="duckdb", database=database, **fields) == {"saved": "duckdb", "row_count": count}


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "format_"),
    [
        ("x.parquet", None),
        ("x.csv", None),
        ("x.json", None),
        ("é 'x'.ndjson", None),
        ("x.out", "parquet"),
        ("x.csv.gz", "csv"),
    ],
)
def test_rows_go_into_a_file_and_come_back(steps: Steps, tmp_path: Path, path: str, format_: str | None) -> None:
    for _ in range(2):  # a second run writes the same file again
        fields = {"storage": "file", "path": path, "data": ROWS, **({"format": format_} if format_ else {})}
        assert steps.result(**fields) == {"saved": "file", "path": path, "row_count": 2}
    assert [file.name for file in tmp_path.iterdir()] == [path], "nothing is left beside it"
    read = {"csv": "read_csv", "parquet": "read_parquet"}.get(format_ or path.rpartition(".")[2], "read_json")
    with duckdb.connect() as conn:
        found = conn.execute(f"SELECT id, name, amount, tags, more FROM {read}($1) ORDER BY id", [path]).fetchall()
    assert [row[:3] for row in found] == [(1, "Zoë; 'x'", 1.5), (2, None, 2.0)]
    if read != "read_csv":
        assert found[0][3:] == (["a", "b"], {"n": 1, "t": "x"})


def test_text_stays_text_in_a_file(steps: Steps) -> None:
    """Whatever it looks like."""
    data = [{"a": "007", "b": "2026-01-31", "c": "true", "d": "1e5", "e": '{"x": 1}', "f": ""}]
    steps.result(storage="file", path="x.parquet", data=data)
    with duckdb.connect() as conn:
        assert conn.execute("SELECT * FROM 'x.parquet'").fetchall() == [tuple(data[0].values())]


def test_a_file_that_cannot_be_written_leaves_the_old_one(steps: Steps, tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    error = steps.error(storage="file", path="x.json", data={"a": 1})
    assert error["type"] in ("duckdb", "validation")
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]

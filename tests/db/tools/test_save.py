"""The save tool with Postgres: tables of any kind, upsert, statements, exactly once."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from noetl.database.connection.connect import Database
from noetl.settings import Settings
from noetl.tools.postgres.tool import Postgres
from noetl.tools.save.tool import make_tool
from tests.support.playbooks import Lab
from tests.support.sql import Steps, sql_steps
from tests.support.working import working


@pytest.fixture
def sql(settings: Settings) -> Iterator[Steps]:
    with sql_steps(settings) as steps:
        yield steps


@pytest.fixture
def steps(settings: Settings) -> Iterator[Steps]:
    with sql_steps(settings, "save") as steps:
        yield steps


def test_rows_go_into_a_table_with_its_types(steps: Steps, sql: Steps) -> None:
    sql.result(
        """CREATE TABLE wide (i int, n numeric(9,2), t text, d date, ts timestamptz, b bool, u uuid, j jsonb, js json,
                              a int[], jt text, iv interval, r int4range, made timestamptz DEFAULT now())"""
    )
    row = {
        "i": 1,
        "n": 2.5,
        "t": "'; DROP TABLE wide; -- é🐘\\",
        "d": "2026-01-31",
        "ts": "2026-01-31T08:00:00+02:00",
        "b": False,
        "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "j": {"b": 1, "a": [None]},
        "js": {"b": 1, "a": [None]},
        "a": [1, None],
        "jt": {"x": 1},
        "iv": "P1D",
        "r": "[1,5)",
    }
    assert steps.result(storage="postgres", table="wide", data=row) == {
        "saved": "postgres",
        "table": '"wide"',
        "row_count": 1,
    }
    (found,) = sql.result("SET LOCAL TimeZone = 'UTC'; SELECT * FROM wide")["command_1"]["rows"]
    assert found.pop("made")
    assert found == {**row, "ts": "2026-01-31T06:00:00+00:00", "jt": '{"x":1}'}
    assert list(found["js"]) == ["b", "a"], "json keeps the order of its keys"
    assert steps.result(storage="postgres", table="wide", data=[{"i": 2}, {"t": "x"}])["row_count"] == 2
    assert sql.rows("SELECT i, t FROM wide WHERE n IS NULL ORDER BY i") == [[2, None], [None, "x"]]
    assert steps.result(storage="postgres", table="wide", data=[])["row_count"] == 0


def test_names_are_quoted_as_the_table_has_them(steps: Steps, sql: Steps) -> None:
    sql.result('CREATE TABLE "My; Table" ("a b" int, lower int, "UP" int); CREATE TABLE plain (a int)')
    data = {"a b": 1, "LOWER": 2, "UP": 3}
    for name in ("My; Table", '"My; Table"', 'noetl_playbook."My; Table"', "NOETL_PLAYBOOK.Plain"):
        steps.result(storage="postgres", table=name, data=data if "My" in name else {"A": 1})
    assert sql.rows('SELECT DISTINCT * FROM "My; Table"') == [[1, 2, 3]]
    assert sql.one("SELECT count(*) FROM plain") == 1


def test_an_upsert_replaces_what_has_the_key(steps: Steps, sql: Steps) -> None:
    sql.result("CREATE TABLE city (country text, name text, people int, UNIQUE (country, name))")
    fields = {"storage": "postgres", "table": "city", "mode": "upsert", "key": ["country", "name"]}
    steps.result(**fields, data=[{"country": "NO", "name": "Oslo", "people": 1}, {"country": "NO", "name": "Bodø"}])
    result = steps.result(
        **fields,
        data=[{"country": "NO", "name": "Oslo", "people": n} for n in (2, 3)] + [{"country": "EG", "name": "Cairo"}],
    )
    assert result["row_count"] == 2
    assert sql.rows("SELECT * FROM city ORDER BY name") == [
        ["NO", "Bodø", None],
        ["EG", "Cairo", None],
        ["NO", "Oslo", 3],
    ]
    error = steps.error(storage="postgres", table="city", mode="upsert", key="name", data={"name": "Oslo"})
    assert 'has no unique index on its key: CREATE UNIQUE INDEX ON "city" ("name")' in error["message"]
    sql.result("CREATE TABLE tag (name text PRIMARY KEY)")
    for wanted in (1, 0):
        assert (
            steps.result(storage="postgres", table="tag", mode="upsert", key="name", data={"name": "x"})["row_count"]
            == wanted
        )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"table": "shop.sale", "data": [{"id": 1, "Day": "x", "n": 1.5, "ok": True, "more": {}}]},
            "there is no table 'shop.sale' in noetl_playbook@",
        ),
        ({"table": "t", "data": {"di": 1}}, "the table 't' has no column 'di': its columns are id, name"),
        ({"table": "t", "data": {"id": 1, "ID": 2}}, "data has the column 'id' twice"),
        ({"table": "t", "data": {"name": "a\x00b"}}, "data[0].name contains a NUL character"),
    ],
)
def test_what_does_not_fit_is_told(steps: Steps, sql: Steps, fields: Any, told: str) -> None:
    sql.result("CREATE TABLE t (id int PRIMARY KEY, name text)")
    error = steps.error(storage="postgres", **fields)
    assert (error["type"], error["retryable"]) == ("validation", False)
    assert error["message"].startswith(f"examples/test#step: {told}")
    if "shop" in told:
        assert error["message"].endswith(
            ': CREATE TABLE shop.sale ("id" bigint, "Day" text, "n" double precision, "ok" boolean, "more" jsonb)'
        )


def test_a_row_that_does_not_fit_leaves_none(steps: Steps, sql: Steps) -> None:
    sql.result("CREATE TABLE t (id int PRIMARY KEY, day date)")
    for data, state in (([{"id": 1}, {"id": 1}], "23505"), ([{"id": 1}, {"id": 2, "day": "soon"}], "22007")):
        error = steps.error(storage="postgres", table="t", data=data)
        assert (error["type"], error["detail"]["sqlstate"]) == ("postgres", state)
    assert sql.one("SELECT count(*) FROM t") == 0


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        (
            {
                "statement": "INSERT INTO t VALUES (:id, :name)",
                "data": [{"id": 1, "name": "a"}, {"id": 2, "name": None}],
            },
            2,
        ),
        ({"statement": "INSERT INTO t VALUES (:id, :name)", "data": {"id": 1, "name": {"x": "y"}, "more": 1}}, 1),
        ({"statement": "INSERT INTO t VALUES ($1, $2) RETURNING id", "params": [1, "x"]}, 1),
        (
            {
                "statement": "INSERT INTO t SELECT generate_series(1, 5); DELETE FROM t WHERE id > %(n)s",
                "params": {"n": 3},
            },
            7,
        ),
    ],
)
def test_a_statement_of_ones_own(steps: Steps, sql: Steps, fields: Any, count: int) -> None:
    sql.result("CREATE TABLE t (id int, name text)")
    assert steps.result(storage="postgres", **fields) == {"saved": "postgres", "row_count": count}


def test_it_happens_once(steps: Steps, sql: Steps) -> None:
    sql.result("CREATE TABLE t (id int)")
    for fields in ({"table": "t", "data": [{"id": 1}, {"id": 2}]}, {"statement": "DELETE FROM t WHERE id = 1"}):
        first = steps.result(storage="postgres", run_key=str(fields), **fields)
        assert steps.result(storage="postgres", run_key=str(fields), **fields) == first
    assert sql.rows("SELECT id FROM t") == [[2]]


def test_auth_names_the_database(settings: Settings, sql: Steps) -> None:
    sql.result("CREATE TABLE t (id int)")
    parts = conninfo_to_dict(str(settings.database_url))
    postgres = Postgres()  # without a login of its own
    alone = Steps(make_tool(postgres))
    assert "no database is named" in alone.error(storage="postgres", table="t", data={"id": 1})["message"]
    auth = {"": {"type": "postgres", "host": parts["host"], "database": parts["dbname"], "user": "noetl_playbook"}}
    assert alone.result(storage="postgres", table="t", data={"id": 1}, auth=auth)["row_count"] == 1
    postgres.close()


def test_duckdb_reaches_a_postgres_by_its_alias(settings: Settings, sql: Steps, steps: Steps) -> None:
    sql.result("CREATE TABLE t (id int, name text)")
    parts = conninfo_to_dict(str(settings.database_url))
    auth = {"src": {"type": "postgres", "host": parts["host"], "database": parts["dbname"], "user": "noetl_playbook"}}
    result = steps.result(
        storage="duckdb", database=":memory:", table="src.noetl_playbook.t", data={"id": 1, "name": "é"}, auth=auth
    )
    assert result["row_count"] == 1
    assert sql.rows("SELECT * FROM t") == [[1, "é"]]


def test_as_a_step_as_a_block_and_per_item(database: Database, settings: Settings, sql: Steps) -> None:
    sql.result("CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE total (n int)")
    lab = Lab(database, settings)
    with working(settings):
        ended = lab.run(
            """
            - step: start
              type: python
              loop: {in: [1, 2, 3], iterator: n, mode: async, save: {storage: postgres, table: t}}
              args: {n: "{{ n }}"}
              code: "def main(n): return {'id': n, 'name': 'n' * n}"
              next: [{step: count}]
            - step: count
              type: postgres
              command: SELECT count(*)::int AS n FROM t
              save: {storage: postgres, table: total, data: "{{ result.command_0.rows }}"}
              next: [{step: keep}]
            - step: keep
              type: save
              data: {found: "{{ count.command_0.rows[0].n }}"}
              next: [{step: end}]
            - step: end
              result: "{{ keep.data.found }}"
            """
        )
    assert (ended.status, ended.result) == ("completed", 3), ended.error
    assert sql.rows("SELECT * FROM t ORDER BY id") == [[1, "n"], [2, "nn"], [3, "nnn"]]
    assert sql.rows("SELECT n FROM total") == [[3]]


def test_json_text_goes_into_a_column_of_json_as_the_value_it_is(steps: Steps, sql: Steps) -> None:
    """As `"{{ tags | tojson }}"` gives it. Text that is no array and no object stays text, and in other columns all."""
    sql.result("CREATE TABLE tagged (id int PRIMARY KEY, j jsonb, js json, t text)")
    texts = ['["a", "b"]', '{"n": 12345678901234567890123, "x": [1.10]}', "[draft]", "5", "null", "plain", " [1]\n"]
    rows = [{"id": number, "j": text, "js": text, "t": text} for number, text in enumerate(texts)]
    steps.result(storage="postgres", table="tagged", data=rows)
    kinds = sql.rows("SELECT jsonb_typeof(j), json_typeof(js) FROM tagged ORDER BY id")
    assert kinds == [[kind, kind] for kind in ("array", "object", "string", "string", "string", "string", "array")]
    assert sql.rows("SELECT t FROM tagged ORDER BY id") == [[text] for text in texts]
    assert sql.one("SELECT j ->> 'n' FROM tagged WHERE id = 1") == "12345678901234567890123"
    again = [{"id": 0, "j": '{"a": 1}'}]
    steps.result(storage="postgres", table="tagged", mode="upsert", key="id", data=again)
    assert sql.one("SELECT j -> 'a' FROM tagged WHERE id = 0") == 1

"""Values of types that a database defines itself: enums, domains, composites, and arrays of them."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from noetl.settings import Settings
from noetl.tools.registry import TOOLS
from tests.support.postgres import TestServer
from tests.support.sql import Steps, sql_steps

TYPES: Final = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'so, "so" \\ {}', 'NULL', '');
CREATE DOMAIN price AS numeric(8, 2);
CREATE DOMAIN prices AS int[];
CREATE TYPE place AS (name text, at point, tags text[], worth price);
CREATE TYPE visit AS (who mood, "where to" place, nested place[], seen jsonb);
CREATE TYPE lone AS (a text);
CREATE TYPE span AS RANGE (subtype = int4);
ALTER TYPE visit ADD ATTRIBUTE gone int;
ALTER TYPE visit DROP ATTRIBUTE gone;
"""


@pytest.fixture(scope="module")
def typed(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A database with types of its own."""
    name = server.create_database()
    settings = server.settings(name, tmp_path_factory.mktemp("home"))
    with sql_steps(settings) as steps:
        steps.result(TYPES)
    yield settings
    server.drop_database(name)


@pytest.fixture
def steps(typed: Settings) -> Iterator[Steps]:
    with sql_steps(typed) as steps:
        yield steps


PLACE: Final = {"name": 'a "b", (c)', "at": "(1,2)", "tags": ["x, y", None, ""], "worth": 2.5}
_PLACE: Final = """ROW('a "b", (c)', point(1, 2), ARRAY['x, y', NULL, ''], 2.50)::place"""


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'ok'::mood", "ok"),
        ("'{sad,ok}'::mood[]", ["sad", "ok"]),
        ("""ARRAY['so, "so" \\ {}', 'NULL', '', NULL]::mood[]""", ['so, "so" \\ {}', "NULL", "", None]),
        ("'{}'::mood[]", []),
        ("NULL::mood[]", None),
        ("'{{sad,ok},{ok,NULL}}'::mood[]", [["sad", "ok"], ["ok", None]]),
        ("'[2:3]={sad,ok}'::mood[]", ["sad", "ok"]),
        ("'{1.50,NULL,0.1234567}'::price[]", [1.5, None, 0.12]),
        ("'{1,2}'::prices", [1, 2]),
        ("ARRAY['{1,2}', NULL]::prices[]", [[1, 2], None]),
        (_PLACE, PLACE),
        (f"ARRAY[{_PLACE}, NULL]", [PLACE, None]),
        ("ROW(NULL, NULL, '{}', NULL)::place", {"name": None, "at": None, "tags": [], "worth": None}),
        (
            f"ROW('ok', {_PLACE}, ARRAY[{_PLACE}], '{{\"a\": [1]}}')::visit",
            {"who": "ok", "where to": PLACE, "nested": [PLACE], "seen": {"a": [1]}},
        ),
        ("ROW(NULL)::lone", {"a": None}),
        ("ROW('')::lone", {"a": ""}),
        ("""ARRAY[ROW(E'\\\\ " '' \\n')::lone]""", [{"a": "\\ \" ' \n"}]),
        ("'[1,5)'::span", "[1,5)"),
        ("ARRAY['[1,5)', NULL]::span[]", ["[1,5)", None]),
        ("ROW(1, 'a, b')", '(1,"a, b")'),
    ],
)
def test_values_have_the_shape_of_their_type(steps: Steps, expression: str, value: Any) -> None:
    """Lists for arrays, mappings for composites, the base type of a domain, text for the rest."""
    assert steps.one(f"SELECT {expression}") == value


def test_rows_of_a_table_and_further_columns(steps: Steps) -> None:
    """More rows than come at once; columns beside them keep their values and their numbered names."""
    result = steps.result(
        "CREATE TEMP TABLE day (n bigint, m mood[]);"
        " INSERT INTO day SELECT n, ARRAY['ok']::mood[] FROM generate_series(1, 50) AS n;"
        " SELECT n, m, m, day, 9223372036854775807::numeric + n AS far, 0.1::real AS r, NULL AS none FROM day"
        " ORDER BY n;"
        " SELECT 1 AS a; SELECT m FROM day WHERE false"
    )
    rows = result["command_2"]["rows"]
    assert len(rows) == result["command_2"]["row_count"] == 50
    assert rows[20] == {
        "n": 21, "m": ["ok"], "m_2": ["ok"], "day": {"n": 21, "m": ["ok"]}, "far": "9223372036854775828", "r": 0.1,
        "none": None,
    }  # fmt: skip
    assert result["command_3"]["rows"] == [{"a": 1}]
    assert (result["command_4"]["rows"], result["command_4"]["columns"]) == ([], ["m"])


def test_types_made_by_the_same_step(steps: Steps) -> None:
    """They are seen by no other connection; an attribute that is added between two commands is read."""
    result = steps.result(
        "CREATE TYPE pg_temp.pair AS (a int); SELECT ROW(1)::pg_temp.pair AS p;"
        " ALTER TYPE pg_temp.pair ADD ATTRIBUTE b int[]; SELECT ROW(1, '{2}')::pg_temp.pair AS p"
    )
    assert result["command_1"]["rows"] == [{"p": {"a": 1}}]
    assert result["command_3"]["rows"] == [{"p": {"a": 1, "b": [2]}}]


def test_each_command_for_itself(steps: Steps) -> None:
    """Outside a transaction, and where the SQL has changed the search path and the quoting."""
    schema = steps.one("SELECT current_schema()")
    sql = f"SET standard_conforming_strings = off; SET search_path = pg_temp; SELECT ARRAY['ok']::{schema}.mood[]"
    assert steps.one(sql, once=False) == ["ok"]
    assert steps.one(sql) == ["ok"]


def test_a_result_over_the_limit_ends_while_it_is_read(steps: Steps) -> None:
    sql = "SELECT ARRAY['ok']::mood[] FROM generate_series(1, 1000000)"
    assert steps.error(sql, limit=10_000)["type"] == "too_large"


@pytest.mark.parametrize(
    "expression", ["ARRAY['a, b', NULL, 'ok']::feeling[]", "ARRAY[ROW(1, ARRAY['ok'])::pair, NULL]"]
)
def test_duckdb_writes_the_same(steps: Steps, expression: str) -> None:
    """Lists of its enums are lists, its structs mappings."""
    made = (
        "CREATE TYPE feeling AS ENUM ('sad', 'ok', 'a, b'); CREATE TYPE pair AS {}(a int, b feeling[]); SELECT {} AS a"
    )
    dropped = "DROP TYPE pair; DROP TYPE feeling"
    theirs = steps.result(f"{made.format('', expression)}; {dropped}")["command_2"]["rows"]
    own = Steps(TOOLS["duckdb"]).result(made.format("STRUCT", expression))["command_2"]["rows"]
    assert own == theirs
    assert isinstance(own[0]["a"], list)

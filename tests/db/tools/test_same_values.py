"""The postgres tool and the duckdb tool write the same JSON for the same value."""

from collections.abc import Iterator

import pytest

from noetl.settings import Settings
from noetl.tools.registry import TOOLS
from tests.support.sql import Steps, sql_steps

SAME = [
    "INTERVAL '1 year'",
    "INTERVAL '1 year 2 months 3 days 04:05:06.5'",
    "INTERVAL '-14 months'",
    "INTERVAL '-3 days -04:05:06'",
    "INTERVAL '36 hours'",
    "INTERVAL '0.25 seconds'",
    "INTERVAL '0 days'",
    "CAST('infinity' AS timestamp)",
    "CAST('-infinity' AS timestamp)",
    "CAST('infinity' AS date)",
    "CAST('infinity' AS timestamptz)",
    "TIMESTAMP '9999-12-31 23:59:59.999999'",
    "TIMESTAMP '2026-01-31 08:00:00'",
    "TIMESTAMP '2026-01-31 08:00:00.5'",
    "CAST('2026-01-31 08:00:00.25+02' AS timestamptz)",
    "DATE '2026-01-31'",
    "DATE '10000-01-01'",
    "TIMESTAMP '20000-01-01 00:00:00'",
    "TIME '08:00:00.5'",
    "TIME '24:00:00'",
    "CAST('08:00:00+02' AS timetz)",
    "CAST(0.1 AS float4)",
    "CAST('NaN' AS float8)",
    "CAST('-Infinity' AS float8)",
    "CAST(1e300 AS float8)",
    "CAST(12.50 AS decimal(10, 2))",
    "CAST(12345678901234567890.5 AS decimal(30, 1))",
    "CAST(12345678901234567890 AS decimal(38, 0))",
    "CAST(9223372036854775807 AS bigint)",
    "CAST('00000000-0000-0000-0000-00000000000a' AS uuid)",
    "CAST('{\"a\": [1, 12345678901234567890]}' AS json)",
    "CAST('0101' AS bit(4))",
    "true",
    "CAST(NULL AS date)",
]


@pytest.fixture
def postgres(settings: Settings) -> Iterator[Steps]:
    with sql_steps(settings) as steps:
        yield steps


def test_equal_values_become_equal_json(postgres: Steps) -> None:
    """Whatever their type."""
    duckdb = Steps(TOOLS["duckdb"])
    for expression in SAME:
        own = expression.replace("bit(4)", "bit")
        query = f"SET TimeZone = 'UTC'; SELECT {own} AS a"
        theirs = postgres.result(f"SELECT {expression} AS a")["command_0"]["rows"]
        assert duckdb.result(query)["command_1"]["rows"] == theirs, expression


@pytest.mark.parametrize("expression", ["INTERVAL '1 month'", "DATE 'infinity'", "CAST(0.1 AS float4)", "TIME '08:00'"])
def test_also_within_lists_structs_and_maps(postgres: Steps, expression: str) -> None:
    """At any depth."""
    duckdb = Steps(TOOLS["duckdb"])
    one = postgres.one(f"SELECT {expression}")
    nested = f"SELECT {{'a': [{expression}, NULL], 'b': MAP {{'k': {expression}}}, 'c': [[{expression}]]}} AS a -- end"
    assert duckdb.one(nested) == {"a": [one, None], "b": {"k": one}, "c": [[one]]}
    assert duckdb.one(f"SELECT MAP {{{expression}: 1}}") == {str(one): 1}


def test_queries_of_all_kinds_keep_order_names_and_params() -> None:
    """A query that is rewritten gives what it would have given."""
    duckdb = Steps(TOOLS["duckdb"])
    sql = """CREATE TABLE day AS SELECT DATE '2026-01-01' + n::int AS d, n FROM range(3) AS t(n);
             FROM day ORDER BY n DESC; WITH x AS (SELECT d FROM day WHERE n >= $1) SELECT d, d FROM x ORDER BY d;
             (SELECT min(d) FROM day); INSERT INTO day VALUES (DATE '2027-01-01', 9) RETURNING d"""
    result = duckdb.result(sql, [1])
    assert [row["n"] for row in result["command_1"]["rows"]] == [2, 1, 0]
    assert result["command_2"]["rows"] == [
        {"d": "2026-01-02", "d_2": "2026-01-02"},
        {"d": "2026-01-03", "d_2": "2026-01-03"},
    ]
    assert result["command_3"]["rows"] == [{"min(d)": "2026-01-01"}]
    assert result["command_4"]["rows"] == [{"d": "2027-01-01"}]
    error = duckdb.error("SELECT d FROM nowhere")
    assert "DESCRIBE" not in str(error)

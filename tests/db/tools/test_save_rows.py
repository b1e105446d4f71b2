"""Rows that Postgres refuses are named, and numbers fit where they can."""

from collections.abc import Iterator
from typing import Any

import pytest

from noetl.outcomes import Done, Failed
from noetl.settings import Settings
from tests.support.sql import Steps, sql_steps

TABLE = "CREATE TABLE paid (n int, amount numeric(5, 2) NOT NULL, name varchar(3), day date, tags int[], extra jsonb)"
GOOD = {"n": 1, "amount": 1.5, "name": "a", "day": "2026-01-31", "tags": [1, 2], "extra": {"a": 4.0}}


@pytest.fixture
def save(settings: Settings) -> Iterator[Steps]:
    with sql_steps(settings) as sql:
        sql.result(TABLE)
    with sql_steps(settings, "save") as steps:
        yield steps


def _answer(save: Steps, rows: list[dict[str, Any]]) -> Done | Failed:
    return save.tool.run(save.call({"storage": "postgres", "table": "paid", "data": rows}))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"n": "x"}, "invalid input syntax for type integer"),
        ({"n": 4.5}, "invalid input syntax for type integer"),
        ({"n": 2**40}, "out of range"),
        ({"amount": 12345}, "numeric field overflow"),
        ({"amount": None}, "violates not-null constraint"),
        ({"name": "long"}, "value too long"),
        ({"day": "2026-02-31"}, "out of range"),
    ],
)
def test_a_value_that_does_not_fit_is_named_by_row_and_column(save: Steps, wrong: dict[str, Any], told: str) -> None:
    """In the message and in the detail; the error is Postgres' all the same."""
    (column,) = wrong
    answer = _answer(save, [GOOD, GOOD, {**GOOD, **wrong}, GOOD])
    assert isinstance(answer, Failed)
    assert answer.error["type"] == "postgres"
    assert told in answer.error["message"]
    assert answer.error["message"].endswith(f"(data[2].{column})")
    assert (answer.error["detail"]["row"], answer.error["detail"]["column"]) == (2, column)


def test_a_whole_float_goes_into_an_integer_column(settings: Settings, save: Steps) -> None:
    """Elsewhere it stays as it is."""
    assert isinstance(_answer(save, [{**GOOD, "n": 4.0, "amount": 4.0}]), Done)
    with sql_steps(settings) as sql:
        assert sql.rows("SELECT n, extra::text FROM paid") == [[4, '{"a": 4.0}']]

"""What databases hold, as plain JSON, within a limit."""

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest

from noetl.errors import TooLarge, ValueNotJson
from noetl.tools.exact_json import exact_json
from noetl.tools.sql.values import Results, jsonable, number, unique


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-0.5", -0.5),
        ("1.50", 1.5),
        ("3.000", 3),
        ("0.000001", 1e-06),
        ("9223372036854775807", 9223372036854775807),
        ("9223372036854775808", "9223372036854775808"),
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("123456789012345.67", "123456789012345.67"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
    ],
)
def test_a_numeric_is_a_number_where_none_of_its_digits_is_lost(text: str, value: Any) -> None:
    assert number(text) == value
    assert type(number(text)) is type(value)


def test_json_keeps_every_digit_of_whole_numbers() -> None:
    data = b'{"id": 12345678901234567890, "n": [1, 1.5, 1e400], "t": "12345678901234567890"}'
    assert exact_json(data) == {
        "id": "12345678901234567890",
        "n": [1, 1.5, "1e400"],
        "t": "12345678901234567890",
    }
    assert exact_json(b"[1e400]") == ["1e400"]


def test_values_of_drivers_become_plain() -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    given = {
        "moment": dt.datetime(2026, 1, 31, 8, 0, 0, 500000, zone),
        "day": dt.date(2026, 1, 31),
        "span": dt.timedelta(days=1, hours=2, seconds=4.5),
        "back": -dt.timedelta(days=1, seconds=3),
        "none": dt.timedelta(0),
        "amount": Decimal("12.30"),
        "id": UUID(int=1),
        "data": b"\x00\xff",
        "list": [1, (2.5, float("nan"))],
        1: {dt.date(2026, 1, 1): 2**70},
    }
    assert jsonable(given) == {
        "moment": "2026-01-31T08:00:00.5+02:00",
        "day": "2026-01-31",
        "span": "P1DT2H4.5S",
        "back": "P-1DT-3S",
        "none": "PT0S",
        "amount": 12.3,
        "id": "00000000-0000-0000-0000-000000000001",
        "data": "AP8=",
        "list": [1, [2.5, "NaN"]],
        "1": {"2026-01-01": str(2**70)},
    }


def test_results_have_the_shape_that_the_language_promises() -> None:
    results = Results(1000)
    results.begin(["a", "a"])
    results.row([1, "x"])
    results.row([None, {"b": []}])
    results.end()
    results.begin()
    results.end(7)
    text = results.text()
    assert orjson.loads(text) == {
        "command_0": {
            "status": "success",
            "rows": [{"a": 1, "a_2": "x"}, {"a": None, "a_2": {"b": []}}],
            "row_count": 2,
            "columns": ["a", "a_2"],
        },
        "command_1": {"status": "success", "rows": [], "row_count": 7, "columns": []},
        "executed_commands": 2,
    }
    assert Results(10).text() == b'{"executed_commands":0}'


def test_the_limit_ends_it_at_the_row_that_is_too_much() -> None:
    results = Results(200)
    results.begin(["a"])
    for _ in range(8):
        results.row(["x" * 10])
    with pytest.raises(TooLarge, match="more than 200 bytes as JSON at row 9 of command 0: select less"):
        results.row(["x" * 10])
    results = Results(200)
    results.begin(["a"])
    with pytest.raises(TooLarge, match=r"command_0\.rows\[0\] has 1,008 bytes"):
        results.row(["x" * 1000])


def test_what_json_cannot_hold_is_named_by_its_place() -> None:
    results = Results(1000)
    results.begin(["a"])
    with pytest.raises(ValueNotJson, match=r"command_0\.rows\[0\]\.a\.b contains a NUL"):
        results.row([{"b": "\x00"}])


def test_columns_of_one_name_are_told_apart() -> None:
    assert unique(["id", "id", "id_2", "id"]) == ["id", "id_3", "id_2", "id_4"]
    assert unique(["?column?", "?column?"]) == ["?column?", "?column?_2"]

"""How `main` is called, and how values that JSON lacks are written."""

import sys
from typing import Any

import orjson
import pytest

from noetl.outcomes import Done, Failed
from noetl.tools.python import MAX_FRAMES_PER_END, run
from tests.support.calls import python


def result(code: str, args: dict[str, Any] | None = None) -> Any:
    answer = run(python(code, args))
    assert isinstance(answer, Done), answer
    return orjson.loads(answer.result)


@pytest.mark.parametrize(
    ("args", "given"),
    [
        ({"input_data": {"name": "Ada"}}, {"name": "Ada"}),
        ({"input_data": {"name": "Ada"}, "other": 1}, {"name": "Ada"}),
        ({"input_data": None}, None),
        ({"name": "Ada", "other": 1}, {"name": "Ada", "other": 1}),
        ({}, {}),
    ],
)
@pytest.mark.parametrize("parameter", ["input_data", "input_data, /", "*, input_data=5"])
def test_an_argument_named_input_data_is_that_and_else_everything(
    args: dict[str, Any], given: Any, parameter: str
) -> None:
    assert result(f"def main({parameter}):\n    return input_data\n", args) == given


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("date(2026, 1, 31)", "2026-01-31"),
        ("datetime(2026, 1, 31, 8, 0, 0, 500000, tzinfo=timezone.utc)", "2026-01-31T08:00:00.500000+00:00"),
        ("time(8, 30)", "08:30:00"),
        ("timedelta(days=1, hours=2)", "P1DT2H"),
        ("Decimal('12.50')", 12.5),
        ("Decimal('4.0')", 4),
        ("Decimal('0.12345678901234567')", "0.12345678901234567"),
        ("Decimal('NaN')", "NaN"),
        ("UUID(int=7)", "00000000-0000-0000-0000-000000000007"),
        ("Point(1, date(2026, 1, 1))", {"x": 1, "y": "2026-01-01"}),
        ("{3, 1, 2}", [1, 2, 3]),
        ("frozenset('b')", ["b"]),
        ("(1, (UUID(int=1),))", [1, ["00000000-0000-0000-0000-000000000001"]]),
        ("{date(2026, 1, 1): {'n': Decimal(1)}}", {"2026-01-01": {"n": 1}}),
    ],
)
def test_what_json_lacks_is_written_as_the_postgres_tool_writes_it(value: str, written: Any) -> None:
    code = (
        "from dataclasses import dataclass\n"
        "from datetime import date, datetime, time, timedelta, timezone\n"
        "from decimal import Decimal\n"
        "from uuid import UUID\n"
        "@dataclass\nclass Point:\n    x: int\n    y: object\n"
        f"def main():\n    return {{'value': {value}}}\n"
    )
    assert result(code) == {"value": written}


def test_a_set_without_an_order_is_a_list_of_its_items() -> None:
    assert sorted(result("def main():\n    return {1, 'a'}\n"), key=str) == [1, "a"]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("[{1: UUID(int=1)}]", "result[0] has the key 1"),
        ("[UUID(int=1), b'x']", "result[1] is a bytes"),
        ("[UUID(int=1), float('nan')]", "result[1] is nan"),
        ("[UUID(int=1), object()]", "result[1] is a object"),
        ("loop", "contains itself"),
    ],
)
def test_what_is_no_value_is_still_an_error_that_names_its_place(value: str, path: str) -> None:
    code = f"from uuid import UUID\nloop = [UUID(int=1)]\nloop.append(loop)\ndef main():\n    return {value}\n"
    answer = run(python(code))
    assert isinstance(answer, Failed)
    assert answer.error["type"] == "not_json"
    assert path in answer.error["message"]


def test_an_async_main_is_awaited() -> None:
    code = "import asyncio\nasync def main(a):\n    await asyncio.sleep(0)\n    return [a]\n"
    assert result(code, {"a": 1}) == [1]


def test_an_async_main_that_raises_fails_like_any_other() -> None:
    answer = run(python("async def main():\n    raise LookupError('gone')\n"))
    assert isinstance(answer, Failed)
    assert answer.error["message"] == "LookupError: gone"
    assert answer.error["detail"]["line"] == 2


def test_of_endless_recursion_both_ends_of_the_traceback_are_told() -> None:
    code = (
        "import sys\n"
        "def main():\n"
        "    sys.setrecursionlimit(100_000)\n"
        "    return down(50_000)\n"
        "def down(n):\n"
        "    return down(n - 1) if n else 1 / 0\n"
    )
    limit = sys.getrecursionlimit()
    try:
        answer = run(python(code))
    finally:
        sys.setrecursionlimit(limit)  # in a worker the runner's fork takes it along; here it would stay
    assert isinstance(answer, Failed)
    assert answer.error["message"] == "ZeroDivisionError: division by zero"
    told = answer.error["detail"]["traceback"]
    assert "line 4, in main" in told
    assert "frames in the middle of the traceback are left out" in told
    assert told.count("\n") < 6 * MAX_FRAMES_PER_END
    assert answer.error["detail"]["line"] == 6


def test_a_failure_that_there_is_no_memory_to_describe_fails_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def described(where: str, failure: BaseException) -> None:
        raise MemoryError

    monkeypatch.setattr("noetl.tools.python._described", described)
    answer = run(python("def main():\n    return main()\n"))
    assert isinstance(answer, Failed)
    assert answer.error["message"] == "RecursionError, and a MemoryError while it was described"


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "a",
        "a, b=2",
        "a=1, b=2",
        "a, b, /",
        "a, b=2, /",
        "a, /, b, *, c",
        "a, /, b=2, *, c, d=4",
        "*, a, b=2",
        "*rest",
        "a, *rest, b",
        "**more",
        "a, /, b=2, **more",
        "input_data",
        "input_data, /",
        "*, input_data",
        "input_data, **more",
        "input_data, b=2",
        "context",
        "context=None",
    ],
)
@pytest.mark.parametrize("given", ["", "a", "ab", "abcd", "input_data", "context"])
def test_a_plain_main_gets_what_its_signature_tells(parameters: str, given: str) -> None:
    """Its code is read instead, which costs less. A `partial` of it is asked for its signature."""
    args = {given: 7} if "_" in given or given == "context" else {name: name * 2 for name in given}
    code = f"def main({parameters}):\n    return sorted((name, str(value)) for name, value in locals().items())\n"
    plain, asked = (
        run(python(each, args)) for each in (code, f"{code}from functools import partial\nmain = partial(main)\n")
    )
    assert plain == asked
    if isinstance(plain, Failed):
        assert "main() needs" in plain.error["message"]

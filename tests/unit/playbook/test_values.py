"""Plain JSON: what passes, what does not, and the path that the error names."""

import collections
import datetime
import enum
import math
import uuid
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noetl.errors import TooLarge, ValueNotJson
from noetl.playbook.values import MAX_DEPTH, plain

LIMIT = 1_000_000

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), inner, max_size=4
        )
    ),
    max_leaves=12,
)


class Colour(enum.IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


class Word(enum.StrEnum):
    HELLO = "hello"


@given(json_values)
@settings(max_examples=150, deadline=None)
def test_every_json_value_survives(value: Any) -> None:
    """What is plain comes back equal, in the same order of keys."""
    back = orjson.loads(plain(value, LIMIT))
    assert back == value
    if isinstance(value, dict):
        assert list(back) == list(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, (2, 3)), b"[1,[2,3]]"),
        (collections.OrderedDict(b=1, a=2), b'{"b":1,"a":2}'),
        (collections.Counter("aab"), b'{"a":2,"b":1}'),
        (Point(1, 2), b"[1,2]"),
        ({"text": "a\\u0000b"}, b'{"text":"a\\\\u0000b"}'),
        ("007", b'"007"'),
        (2**64 - 1, b"18446744073709551615"),
        (-(2**63), b"-9223372036854775808"),
        (1.0, b"1.0"),
    ],
)
def test_near_relatives_become_plain(value: Any, text: bytes) -> None:
    """Tuples become lists, subclasses their base; a backslash before u0000 is no NUL."""
    assert plain(value, LIMIT) == text


@pytest.mark.parametrize(
    ("value", "path", "what"),
    [
        ({"a": [1, math.nan]}, "result.a[1]", "nan"),
        ({"a": math.inf}, "result.a", "inf"),
        ({"rows": [{"n": -math.inf}]}, "result.rows[0].n", "-inf"),
        ({"a": {"b": "x\x00y"}}, "result.a.b", "NUL"),
        ({"a\x00": 1}, "a key of result", "NUL"),
        (["\ud800"], "result[0]", "surrogate"),
        ({"\udfff": 1}, "a key of result", "surrogate"),
        ({"n": 2**64}, "result.n", "64 bits"),
        ({"n": -(2**63) - 1}, "result.n", "64 bits"),
        ({"n": 10**10_000}, "result.n", "bits"),
        ({"m": {1: "x"}}, "result.m", "keys must be text"),
        ({"m": {None: "x"}}, "result.m", "keys must be text"),
        ({"a b": {1, 2}}, "result['a b']", "set"),
        ([frozenset()], "result[0]", "frozenset"),
        ([datetime.date(2026, 1, 1)], "result[0]", "date"),
        ([uuid.UUID(int=1)], "result[0]", "UUID"),
        ([Colour.RED], "result[0]", ".value"),
        ([Word.HELLO], "result[0]", ".value"),
        ([b"bytes"], "result[0]", "bytes"),
        ([object()], "result[0]", "object"),
        ({"f": print}, "result.f", "builtin_function"),
        ([1j], "result[0]", "complex"),
    ],
)
def test_what_is_not_json_is_named_with_its_path(value: Any, path: str, what: str) -> None:
    """The sentence names the path to the value and what is wrong with it."""
    with pytest.raises(ValueNotJson) as caught:
        plain(value, LIMIT)
    assert path in str(caught.value)
    assert what in str(caught.value)


def test_a_value_that_contains_itself_is_an_error_not_a_crash() -> None:
    """Cycles and absurd depth end in one sentence."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueNotJson, match="nested more than"):
        plain(loop, LIMIT)
    deep: Any = 1
    for _ in range(10_000):
        deep = {"a": deep}
    with pytest.raises(ValueNotJson, match=f"nested more than {MAX_DEPTH}"):
        plain(deep, LIMIT)


def test_the_name_of_the_value_is_the_callers() -> None:
    """The path begins with what the caller calls it."""
    with pytest.raises(ValueNotJson, match=r"^payload\.x is nan"):
        plain({"x": math.nan}, LIMIT, "payload")


def test_the_limit_counts_bytes_and_the_error_says_what_to_do() -> None:
    """Exactly the limit passes, one byte more does not; the message has both numbers."""
    value = "é" * 10
    assert len(plain(value, 22)) == 22
    with pytest.raises(TooLarge, match=r"22 bytes as JSON, the limit is 21: return less"):
        plain(value, 21)


@given(st.floats())
@settings(max_examples=50, deadline=None)
def test_only_finite_numbers_pass(value: float) -> None:
    """orjson writes NaN as null without a word; here it is an error."""
    if math.isfinite(value):
        assert orjson.loads(plain([value], LIMIT)) == [value]
    else:
        with pytest.raises(ValueNotJson):
            plain([value], LIMIT)

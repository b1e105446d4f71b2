"""Durations as playbooks write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noetl.errors import InputError
from noetl.playbook.durations import seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (10, 10.0),
        (0, 0.0),
        (0.25, 0.25),
        ("10", 10.0),
        ("1.5", 1.5),
        ("250ms", 0.25),
        ("10s", 10.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1h 30m 5s", 5405.0),
        ("2d", 172800.0),
        ("1w", 604800.0),
        ("1.5h", 5400.0),
        (" 5s ", 5.0),
    ],
)
def test_durations(value: Any, expected: float) -> None:
    """Numbers are seconds, text has units."""
    assert seconds(value) == pytest.approx(expected)


@pytest.mark.parametrize(
    "value", ["", "s", "10 parsecs", "-5s", "1h-3m", "ten", True, None, [1], {}, float("nan"), float("inf"), -1, "1e3s"]
)
def test_what_is_no_duration(value: Any) -> None:
    """The error shows the value."""
    with pytest.raises(InputError) as caught:
        seconds(value)
    assert repr(value) in str(caught.value)


def test_a_hundred_years_are_enough() -> None:
    """Beyond it timestamps overflow."""
    with pytest.raises(InputError, match="hundred years"):
        seconds("99999w")


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_parts_add_up(hours: int, minutes: int, secs: int, millis: int) -> None:
    """Any combination of units is their sum."""
    text = f"{hours}h{minutes}m{secs}s{millis}ms"
    assert seconds(text) == pytest.approx(hours * 3600 + minutes * 60 + secs + millis / 1000)

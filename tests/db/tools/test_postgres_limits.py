"""Levels of isolation, and how many values a command may have."""

from collections.abc import Iterator

import pytest

from noetl.settings import Settings
from tests.support.sql import Steps, sql_steps


@pytest.fixture
def steps(settings: Settings) -> Iterator[Steps]:
    with sql_steps(settings) as steps:
        yield steps


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "SERIALIZABLE"])
def test_a_step_names_the_level_of_its_transaction(steps: Steps, level: str) -> None:
    """For this step only: the next on the same connection has the database's."""
    assert steps.one("SHOW transaction_isolation", isolation=level) == level.lower()
    assert steps.one("SHOW transaction_isolation") == "read committed"


def test_a_level_that_is_set_by_sql_is_told_the_field(steps: Steps) -> None:
    """The inbox has been written before, so that Postgres refuses it."""
    error = steps.error("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT 1")
    assert "give the step the field isolation" in error["message"]
    assert "isolation 'chaos' is not one of read committed" in steps.error("SELECT 1", isolation="chaos")["message"]
    assert "with once: false there is none" in steps.error("SELECT 1", isolation="serializable", once=False)["message"]


def test_more_values_than_postgres_takes_are_refused_at_once(steps: Steps) -> None:
    """Rather than as a lost connection that is tried again; the largest number goes through."""
    for count in (65536, 70000):
        sql = f"SELECT {'+'.join(['%s'] * count)} AS a"
        error = steps.error(sql, [0] * count)
        assert (error["type"], error["retryable"]) == ("validation", False)
        assert f"the command has {count:,} values, and Postgres takes 65,535" in error["message"]
    listed = ",".join(["%s"] * 65535)
    assert steps.one(f"SELECT cardinality(ARRAY[{listed}])", [1] * 65535) == 65535

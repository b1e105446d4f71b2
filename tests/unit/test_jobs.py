"""The record of a job: one list of fields here, one of columns in the database."""

import re

import pytest

from noetl.database.rows import JOB_COLUMNS, job_of
from noetl.database.schema.apply import packaged_ddl
from noetl.database.sql import sql
from noetl.jobs import Job

JOB = Job(node_id="a", visit=2, item_index=3, pool="p", priority=4, attempts=5, failures=6, lost=7, job_id=8,
          context={"repeats": 9}, delay=1.0)  # fmt: skip


def test_a_row_is_read_into_the_fields_of_the_same_names() -> None:
    columns = {**JOB.columns(), "id": JOB.job_id, "context": '{"repeats": 9}'}
    assert job_of([*(columns[name] for name in JOB_COLUMNS), "more"]) == JOB.again(delay=None)


def test_the_columns_are_those_of_the_table() -> None:
    table = re.search(r"TABLE IF NOT EXISTS queue \((.*?)\n\)", packaged_ddl(), re.DOTALL)
    assert table is not None
    assert JOB_COLUMNS.items() <= dict(re.findall(r"^  (\w+) +(\w+)", table[1], re.MULTILINE)).items()


def test_a_job_again_has_the_fields_of_the_first_but_for_those_that_change() -> None:
    again = JOB.again(failures=10, delay=None)
    assert (again.failures, again.delay) == (10, None)
    assert again.again(failures=JOB.failures, delay=JOB.delay) == JOB
    assert again.context is JOB.context
    with pytest.raises(AttributeError):
        JOB.again(attemps=1)


@pytest.mark.parametrize("name", ["claim_jobs", "insert_jobs", "withdraw_jobs"])
def test_a_statement_names_every_column_of_a_job(name: str) -> None:
    assert "{job" not in sql(name)
    assert not [column for column in JOB_COLUMNS if not re.search(rf"\b{column}\b", sql(name))]

"""`trials`: playbooks under test, with one child process for their Python code."""

from collections.abc import Iterator

import pytest

from noetl.testing.python import PythonChild
from tests.support.trials import Trials


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    with PythonChild({}) as python:
        yield Trials(python)

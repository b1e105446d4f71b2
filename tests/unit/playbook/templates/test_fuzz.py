"""Any expression over any data: a value, or a template error, within the budget.

Each is rendered in another process, which has a limit of memory and can be killed. The limit of time is far beyond the
budget: a busy machine does not fail it, what holds the processor for good does. `make fuzz` looks for longer.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from noetl.playbook.templates.sandbox import ENVIRONMENT
from tests.support import expressions
from tests.support.expressions import Renderer, templates

EXAMPLES = int(os.environ.get("NOETL_TEST_FUZZ", "150"))
LIMIT = 60.0
"""Seconds that one template may take: the budget ends it after two, on a processor of its own."""


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    renderer = Renderer()
    yield renderer
    renderer.close()


@given(template=templates)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_any_template_over_any_data(renderer: Renderer, template: str) -> None:
    found = renderer.render(template, LIMIT)
    assert "fault" not in found, f"{found['fault']}: {template}"


def test_the_fuzzer_knows_every_filter_and_test() -> None:
    assert set(expressions.FILTERS) == set(ENVIRONMENT.filters)
    assert set(expressions.TESTS) == {name for name in ENVIRONMENT.tests if name.isalpha()} - {
        *("equalto", "greaterthan", "lessthan"),
    }

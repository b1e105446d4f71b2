"""The table of filters says of each what it takes and gives: environment, lint and the fuzzing of templates read it."""

from typing import Any

import pytest

from noetl.errors import TemplateError
from noetl.playbook.lint.expressions import misuses_of
from noetl.playbook.templates.filter_table import FILTERS, FilterSpec
from noetl.playbook.templates.functions import FUNCTIONS, TEXT_FUNCTIONS
from noetl.playbook.templates.sandbox import ENVIRONMENT
from noetl.playbook.templates.template import compile_template
from tests.support import expressions

SCOPE = {
    "text": "a <b>b</b>",
    "number": -2.5,
    "items": ["b", "a", "b"],
    "rows": [{"a": 1}, {"a": 0}],
    "mapping": {"a": 1, "b": 2},
}
EXAMPLES = {
    "attr": "mapping | attr('a')",
    "b64decode": "'YQ==' | b64decode",
    "batch": "items | batch(2)",
    "bool": "'true' | bool",
    "center": "text | center(30)",
    "filesizeformat": "1000 | filesizeformat",
    "format": "'%s' | format(1)",
    "fromjson": "'[1]' | fromjson",
    "groupby": "rows | groupby('a')",
    "map": "items | map('upper')",
    "rejectattr": "rows | rejectattr('a')",
    "replace": "text | replace('a', 'b')",
    "selectattr": "rows | selectattr('a')",
    "slice": "items | slice(2)",
    "sum": "[1, 2] | sum",
}
"""Calls of the filters that need arguments, or another value than the one of their kind."""

VALUES = {"any": "text", "text": "text", "number": "number", "items": "items", "mapping": "mapping"}
KINDS: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "number": (int, float),
    "boolean": bool,
    "list": list,
    "any": object,
}


def rendered(expression: str) -> Any:
    return compile_template(f"{{{{ {expression} }}}}", playbook="p", step="s", field="f").render(SCOPE)


@pytest.mark.parametrize("spec", FILTERS.values(), ids=lambda spec: str(spec.name))
def test_a_filter_takes_and_gives_what_the_table_says(spec: FilterSpec) -> None:
    value = rendered(EXAMPLES.get(spec.name, f"{VALUES[spec.takes]} | {spec.name}"))
    assert isinstance(value, KINDS[spec.gives]), value
    assert spec.gives != "number" or not isinstance(value, bool)


@pytest.mark.parametrize("spec", FILTERS.values(), ids=lambda spec: str(spec.name))
@pytest.mark.parametrize("value", ["'a'", "5"])
def test_what_lint_calls_impossible_never_renders(spec: FilterSpec, value: str) -> None:
    arguments = EXAMPLES.get(spec.name, "").partition(f"| {spec.name}")[2]
    expression = f"{value} | {spec.name}{arguments}"
    if any(word == spec.name for _, word, _ in misuses_of(f"{{{{ {expression} }}}}")):
        with pytest.raises(TemplateError):
            rendered(expression)


def test_the_table_is_all_there_is() -> None:
    assert ENVIRONMENT.filters.keys() == FILTERS.keys()
    assert set(expressions.FILTERS) == FILTERS.keys()
    assert set(expressions.CALLS) == FUNCTIONS.keys()
    assert set(expressions.TESTS) <= ENVIRONMENT.tests.keys()
    assert EXAMPLES.keys() <= FILTERS.keys()


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"namespace"}))  # which gives no value
def test_functions_that_give_text_are_known_to_lint(name: str) -> None:
    arguments = {"range": "3", "fromjson": "'1'", "tojson": "1", "b64encode": "'a'", "b64decode": "'YQ=='"}
    assert isinstance(rendered(f"{name}({arguments.get(name, '')}) | default"), str) is (name in TEXT_FUNCTIONS)

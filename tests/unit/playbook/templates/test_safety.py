"""A corpus of template injection: everything renders inert, or is a clear error; nothing runs for ever."""

import time
from typing import Any

import pytest

from noetl.errors import TemplateError
from noetl.playbook.templates.template import compile_template, result_view
from tests.support.attacks import ATTACKS, BOMBS, FORBIDDEN


def shown(text: str, scope: dict[str, Any]) -> str:
    try:
        return str(compile_template(text, playbook="", step="", field="").render(scope))
    except TemplateError as error:
        return error.reason


@pytest.mark.parametrize("payload", ATTACKS)
def test_an_attack_renders_inert(payload: str) -> None:
    """As a template: an error or harmless data. The data it was aimed at is as before."""
    data, rows = {"a": 1}, [1, 2]
    scope: dict[str, Any] = {"data": data, "rows": rows, "view": result_view({"a": 1})}
    for text in (payload, "text " + payload):
        found = shown(text, scope)
        assert not any(word in found for word in FORBIDDEN), found
    assert data == {"a": 1}
    assert rows == [1, 2]


@pytest.mark.parametrize("payload", ATTACKS)
def test_an_attack_in_data_is_data(payload: str) -> None:
    """It comes out as it went in, wherever it stands and however often it is handed on."""
    scope = {"v": payload, "m": {"k": [payload], payload: 1}, "r": result_view(payload)}
    for text in (
        "{{ v }}",
        "{{ m.k[0] }}",
        "{{ r }}",
        "{{ v | default('') }}",
        "{{ v | string }}",
        "{{ [v] | first }}",
    ):
        assert compile_template(text, playbook="", step="", field="").render(scope) == payload
    once = compile_template("a {{ v }}", playbook="", step="", field="").render(scope)
    assert once == "a " + payload
    assert compile_template("{{ v }}", playbook="", step="", field="").render({"v": once}) == once


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_in_time(bomb: str) -> None:
    """Repetition, ranges, loops, recursion, output: bounded, and the error says so."""
    began = time.monotonic()
    with pytest.raises(TemplateError) as caught:
        compile_template(bomb, playbook="p", step="s", field="f").render({})
    assert time.monotonic() - began < 10
    assert caught.value.reason


def test_ordinary_work_is_within_the_bounds() -> None:
    """What playbooks do with tens of thousands of rows passes."""
    rows = [{"id": n, "name": f"name {n}"} for n in range(20_000)]
    text = "{{ rows | selectattr('id', 'gt', 10) | map(attribute='name') | map('upper') | list | length }}"
    assert compile_template(text, playbook="", step="", field="").render({"rows": rows}) == 19_989
    text = "{% for r in rows %}{{ r.id }},{{ r.name }}\n{% endfor %}"
    assert compile_template(text, playbook="", step="", field="").render({"rows": rows}) == "".join(
        f"{row['id']},{row['name']}\n" for row in rows
    )


def test_the_budget_is_per_render() -> None:
    """A thousand renders do not use up what one may."""
    template = compile_template("{% for i in range(50000) %}{% endfor %}x", playbook="", step="", field="")
    for _ in range(100):
        assert template.render({}) == "x"


@pytest.mark.parametrize("bounds", ["100001", "10 ** 30", "0, -200002, -2"])
def test_a_range_that_is_too_long_says_what_to_do(bounds: str) -> None:
    with pytest.raises(TemplateError, match=r"at most 100,000 numbers: make a longer list in a python step"):
        compile_template(f"{{{{ range({bounds}) }}}}", playbook="p", step="s", field="f").render({})
    whole = compile_template("{{ range(5, 100005) | length }}", playbook="p", step="s", field="f")
    assert whole.render({}) == 100_000

"""Values in text: as JSON writes them, and null not at all."""

from typing import Any

import pytest

from noetl.errors import TemplateError
from noetl.playbook.templates.result_views import ABSENT, result_view
from noetl.playbook.templates.template import compile_template

VALUES = [
    (True, "true"),
    (False, "false"),
    ({"a": 1}, '{"a":1}'),
    ([1, 2], "[1,2]"),
    ([], "[]"),
    ({"a": [None, True, "é'\""], "b": 1.5}, '{"a":[null,true,"é\'\\""],"b":1.5}'),
    (7, "7"),
    (1.1, "1.1"),
    (2**63, "9223372036854775808"),
    ("it's", "it's"),
]


def render(text: str, **scope: Any) -> Any:
    return compile_template(text, playbook="p", step="s", field="f").render(scope)


@pytest.mark.parametrize(("value", "text"), VALUES)
@pytest.mark.parametrize("execution", [False, True])
def test_a_value_in_text_is_written_as_json_writes_it(value: Any, text: str, execution: bool) -> None:
    """In mixed text, joined by `~`, and by each filter that makes a text of a value."""
    v = result_view(value) if execution else value
    assert render("?v={{ v }}&", v=v) == f"?v={text}&"
    assert render("{% for x in [v] %}{{ x }};{% endfor %}", v=v) == f"{text};"
    assert render("{{ 'v=' ~ v }}", v=v) == f"v={text}"
    for filter_ in ("string", "trim", "join", "e | string", "replace('§', '')", "truncate(10000)"):
        source = "[v]" if filter_ == "join" else "v"
        found = render("{{ " + source + " | " + filter_ + " }}", v=v)
        assert found.replace("&#34;", '"').replace("&#39;", "'") == text, filter_
    assert render("{{ v | upper }}", v=v) == text.upper()
    assert render("{{ '<%s>' | format(v) }}", v=v) == (f"<{text}>")
    assert render("{{ '%(k)s' % {'k': v} }}", v=v) == text


def test_constants_are_written_alike() -> None:
    assert render("a {{ true }} {{ {'a': [false, 1.50]} }}") == 'a true {"a":[false,1.5]}'


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("a{{ v }}", "v"),
        ("a{{ m.v }}", "m.v"),
        ("{{ m['v'] }} b", "m['v']"),
        ("{{ r.v }}, {{ m }}", "r.v"),
        ("{{ none }}!", "none"),
        ("{{ 'a' ~ m.v }}", "m.v"),
        ("{% for x in [v] %}{{ x }}{% endfor %}", "x"),
        ("x{{ [v] | first }}", "((...) | first)"),
        ("{{ [1, v] | join(',') }}", "null"),
        ("{{ v | string }}", "null"),
        ("{{ v | upper }}", "null"),
        ("{{ '%s' % v }}", "null"),
        ("{{ '%s-%s' | format(1, v) }}", "null"),
        ("{{ '%(k)s' % {'k': v} }}", "null"),
        ("{{ 'a' | replace('a', v) }}", "null"),
    ],
)
def test_null_in_text_is_an_error_that_names_it(template: str, name: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(template, v=None, m={"v": None}, r=result_view({"v": None}))
    assert caught.value.reason.startswith(name), caught.value.reason
    assert "null has no text" in caught.value.reason
    assert "default('')" in caught.value.reason


def test_the_advice_of_that_error_works() -> None:
    """`default` stands in for null as for what is undefined, and for nothing else."""
    scope: dict[str, Any] = {"v": None, "r": result_view(None), "m": {"v": None}}
    assert render("a{{ v | default('') }}", **scope) == "a"
    assert render("a{{ m.v | d('-') }}{{ r | default('-') }}{{ m.w.x | default('-') }}", **scope) == "a---"
    assert render("{{ v | default([]) }}", **scope) == []
    assert render("{{ v | default(none) }}", **scope) is None
    assert render("a{{ x | default('-') }}", x=0) == "a0"


def test_an_empty_choice_is_still_empty_text() -> None:
    assert render("a{{ 'b' if x }}", x=False) == "a"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("status: {{ e.message }}", "status: "),
        ("{{ e }}{{ e.detail.code }}{{ e['a'][0] }}{{ e.message[:20] }}", ""),
        ("{{ e.message | truncate(20) }}{{ e.message | upper }}!", "!"),
        ("{{ 'failed: ' + e.message }}", "failed: "),
        ("{{ 'failed: ' ~ e.message ~ '.' }}", "failed: ."),
        ("{{ '%s' % e.message }}-", "-"),
        ("{{ e.message | length }}", 0),
        ("{{ e.get('message') }}", None),
        ("{{ e.items() | list }}", []),
        ("{{ e.message }}", None),
        ("{{ e }}", None),
        ("{{ e.attempt > 2 or e.type == 'http' or e is not none or e != none }}", False),
        ("{{ 'timeout' in e.message }}", False),
        ("{{ e.message | default('fine') }}", "fine"),
        ("{% if e %}{{ e.message }}{% else %}fine{% endif %}", "fine"),
        ("{{ [e, {'m': e.message}] }}", [None, {"m": None}]),
        ("{{ e | tojson }}", "null"),
    ],
)
def test_an_error_that_there_is_not_fails_nobody(template: str, expected: Any) -> None:
    assert render(template, e=ABSENT) == expected

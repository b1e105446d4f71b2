"""Whatever a template does with whatever data: charged before it is done, and an error that says so beyond that."""

import sys
from typing import Any

import pytest

from noetl.errors import TemplateError
from noetl.playbook.templates.budget import BUDGET, on_one_budget
from noetl.playbook.templates.template import compile_template, result_view

TWINS = (
    "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}"
    "{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}"
)
"""Two lists that are equal, of 61 parts each, which Python compares in 2 ** 60 steps."""

TUPLES = (
    "{% set ns = namespace(a=(1,), b=(1,)) %}{% for i in range(60) %}"
    "{% set ns.a = (ns.a, ns.a) %}{% set ns.b = (ns.b, ns.b) %}{% endfor %}"
)

DATA: dict[str, Any] = {
    "many": [[n] for n in range(500_000)],
    "text": "x" * 10_000_000,
    "comments": "<!--" * 1_000_000,
    "dashes": "a-" * 20 + "-" * 1_000_000,
    "mail": "a@" * 500_000,
    "big": "b" * 1_000_000,
    "wide": {f"a key of some length, number {n}": n for n in range(200_000)},
    "returns": "\r" * 5_000_000,
}


def render(text: str, **scope: Any) -> Any:
    return compile_template(text, playbook="p", step="s", field="f").render({**DATA, **scope})


@pytest.mark.parametrize(
    "text",
    [
        TWINS + "{{ ns.a == ns.b }}",
        TWINS + "{{ ns.a != ns.b }}",
        TWINS + "{{ ns.a < ns.b }}",
        TWINS + "{{ ns.a >= ns.b }}",
        TWINS + "{{ ns.a in [ns.b] }}",
        TWINS + "{{ ns.a not in [ns.b] }}",
        TWINS + "{{ ns.a is eq ns.b }}",
        TWINS + "{{ [ns.a] | select('eq', ns.b) | list }}",
        TWINS + "{{ [ns.a, ns.b] | sort }}",
        TWINS + "{{ [ns.a, ns.b] | max }}",
        TWINS + "{{ [[ns.a], [ns.b]] | groupby(0) }}",
        TWINS + "{% for i in [ns.a, ns.b] %}{{ loop.changed(i) }}{% endfor %}",
        TWINS + "{{ ns.a == ns.b == ns.a }}",
        TWINS + "{{ ns.a | string }}",
        TWINS + "{{ ns.a is lower }}",
        TWINS + "{{ {'a': ns.a} | urlencode }}",
        TWINS + "{{ [['a', ns.a]] | urlencode }}",
        TWINS + "{{ '%s' % ns.a }}",
        TWINS + "{{ ns.a | tojson(indent=2) }}",
        TWINS + "{{ ns.a | pprint }}",
        TUPLES + "{{ {ns.a: 1} }}",
        TUPLES + "{{ ns.a in {} }}",
        TUPLES + "{{ {}.get(ns.a) }}",
        TUPLES + "{{ dict([[ns.a, 1]]) }}",
        TUPLES + "{{ [ns.a] | unique | list }}",
        TUPLES + "{{ big[ns.a] }}",
        TUPLES + "{{ wide[ns.a] }}",
        TWINS + "{{ wide[0:ns.a] }}",
        TWINS + "{{ wide[{'a': ns.a}] }}",
        "{% for i in range(9) %}{{ many | sum(start=[]) }}{% endfor %}",
        "{% for i in range(100) %}{{ text | wordwrap }}{% endfor %}",
        "{% for i in range(100) %}{{ comments | striptags }}{% endfor %}",
        "{% for i in range(100) %}{{ dashes | wordwrap(200) }}{% endfor %}",
        "{% for i in range(1000) %}{{ mail | urlize }}{% endfor %}",
        "{% for i in range(100) %}{{ text | trim(text) }}{% endfor %}",
        "{% for i in range(100000) %}{{ text[1:] | length }}{% endfor %}",
        "{% for i in range(100000) %}{{ text == text ~ '' }}{% endfor %}",
        "{% for i in range(100000) %}{{ 'y' in text }}{% endfor %}",
        "{{ '%(a)1000s' * 3000000 % {'a': 1} }}",
        "{{ ('%(b)s' * 1000) % {'b': big} }}",
        "{{ ('%s' * 1000) % ((big,) * 1000) }}",
        "{{ '%(' * 10000000 % {'a': 1} }}",
        "{{ ('%(b)r' * 100) | format(b=big) }}",
        "{{ now('%999d' * 1000000) }}",
        "{{ now('%9999999Y') }}",
        "{{ ('www.example.com ' * 100000) | urlize(rel=big) }}",
        "{{ returns | indent(10000) }}",
        "{{ (1, 2) * 100000000 }}",
        "{% set ns = namespace(n=3) %}{% for i in range(100000) %}{% set ns.n = ns.n + ns.n %}{% endfor %}",
        "{{ ('0x' ~ 'f' * 10000000) | int(base=16) }}",
        "{{ 1.5 | round(100000, 'ceil') }}",
        "{{ '[' * 60000000 | fromjson }}",
        "{{ ('[],' * 10000000) | fromjson }}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% for i in range(100000) %}" + "{% if i %}{% endif %}" * 1000 + "{% endfor %}",
        "{% macro m() %}" + "{% if 0 %}{% endif %}" * 1000 + "{% endmacro %}"
        "{% for i in range(100000) %}{{ m() }}{% endfor %}",
        "{% for i in range(1000) %}{{ wide | dictsort | length }}{% endfor %}",
        "{% for i in range(1000) %}{{ wide.items() | length }}{% endfor %}",
    ],
)
def test_what_takes_too_much_is_an_error_before_it_is_done(text: str) -> None:
    """No expression over no data gets further than its budget; what is told is short."""
    with pytest.raises(TemplateError) as caught:
        render(text)
    assert len(caught.value.reason) < 2000


@pytest.mark.parametrize(
    "text",
    [
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(n) %}{{ g(n) }}{% endmacro %}{% macro g(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    ],
)
def test_what_calls_itself_without_end_does_not_meet_the_end_of_the_stack(text: str) -> None:
    """Also where Python's own limit has been raised: the process would be gone."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        with pytest.raises(TemplateError, match="call each other more than 100 deep"):
            render(text)
    finally:
        sys.setrecursionlimit(limit)
    assert render("{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% else %}end{% endif %}{% endmacro %}{{ f(90) }}") == "end"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{{ many | sum(start=[]) | length }}", 500_000),
        ("{{ (text[:3000000] | wordwrap).split }}", None),
        ("{{ wide['a key'] }}", None),
        ("{{ big[text] }}", None),
        ("{{ wide[text] }}", None),
        ("{{ comments[:40000] | striptags }}", "<!--" * 10_000),
        ("{{ text | wordcount }}", 1),
        ("{{ many | map('first') | sum }}", 124_999_750_000),
    ],
)
def test_a_great_value_takes_what_it_takes_once(text: str, found: Any) -> None:
    """Linear work over 10 MB passes, and a key that is not there is told in a moment, however many there are."""
    if found is None:
        with pytest.raises(TemplateError) as caught:
            render(text)
        assert len(caught.value.reason) < 1000
    else:
        assert render(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'abcdef' | truncate(2) }}",
        "{{ 1e400 }}",
        "{{ 1e400 - 1e400 }}",
        "{% for a in [1] %}" * 25 + "{% endfor %}" * 25,
        "{% if 1 %}" * 110 + "{% endif %}" * 110,
        "{{ " + " + ".join(["1"] * 2500) + " }}",
        "{{ " + "(" * 300 + "1" + ")" * 300 + " }}",
        "{{ [1] | batch(0) | list }}",
        "{{ [1] | slice(0) | list }}",
        "{{ {'a': 1} | map('nothing') | list }}",
        "{{ [1] | map('x' * 100000) | list }}",
        "{{ 'a' | center('b') }}",
        "{{ {}.get([]) }}",
        "{{ [1] | sum(start={}) }}",
        "{{ '%c' % 99999999999 }}",
        "{{ 'x' | b64decode }}",
        "{{ '\ud800' | b64encode }}",
    ],
)
def test_whatever_rendering_raises_is_a_template_error(text: str) -> None:
    """Jinja's and Python's exceptions of all types: assertions, syntax, names, recursion, overflows, encodings."""
    with pytest.raises(TemplateError) as caught:
        compile_template(text, playbook="p", step="s", field="f").render({})
    assert caught.value.reason


def test_what_the_scope_raises_is_not_the_templates_fault() -> None:
    class Damaged(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            raise RuntimeError("the log is damaged")

    with pytest.raises(RuntimeError, match="damaged"):
        compile_template("{{ a + 1 }}", playbook="p", step="s", field="f").render(Damaged())


def test_renders_on_one_budget_have_one_together() -> None:
    loop = compile_template("{% for i in range(90000) %}{% endfor %}x", playbook="p", step="s", field="f")

    def many_times() -> int:
        return sum(len(loop.render({})) for _ in range(25))

    assert many_times() > 0
    with pytest.raises(TemplateError, match="more than"):
        on_one_budget(many_times)
    assert not BUDGET.shared
    assert loop.render({})


def test_the_clock_ends_what_the_charges_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is the thread's own on a processor, so a busy machine fails nothing."""
    seconds = iter(range(1_000_000))
    monkeypatch.setattr("noetl.playbook.templates.budget.time.thread_time", lambda: next(seconds))
    with pytest.raises(TemplateError, match="more than its budget of 2 s"):
        compile_template(
            "{% for i in range(100) %}{% for j in range(3000) %}{% endfor %}{% endfor %}",
            playbook="",
            step="",
            field="",
        ).render({})


COMPARED: list[Any] = [
    *(
        None,
        True,
        0,
        1,
        1.0,
        -1.5,
        "",
        "a",
        "ab",
        "B",
        [],
        [1],
        [1, 2],
        [1, [2]],
        ["a"],
        [None],
        {},
        {"a": 1},
        {"a": [1]},
    ),
    *({"b": 1}, result_view({"a": 1}), result_view([1]), result_view("a"), result_view(None), result_view(1)),
]


@pytest.mark.parametrize("operator", ["==", "!=", "<", "<=", ">", ">=", "in", "not in"])
def test_comparing_gives_what_python_gives(operator: str) -> None:
    expression = compile_template(f"{{{{ a {operator} b }}}}", playbook="p", step="s", field="f")
    for left in COMPARED:
        for right in COMPARED:
            try:
                expected = eval(f"a {operator} b", {"a": left, "b": right})
            except TypeError:
                with pytest.raises(TemplateError, match="TypeError"):
                    expression.render({"a": left, "b": right})
            else:
                assert expression.render({"a": left, "b": right}) is expected, (left, right)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{{ 1 < 2 < 3 }}", True),
        ("{{ 3 > 2 > 2 }}", False),
        ("{{ 1 < x == 2 != 3 }}", True),
        ("{% for i in [1, 2, 3] if 1 < i < 3 %}{{ i }}{% endfor %}", "2"),
        ("{% macro m(a, b=1 < x < 3) %}{{ b }}{% endmacro %}{{ m(1) }}", "true"),
        ("{{ [3, 1, 2][1:] }}", [1, 2]),
        ("{{ 'abc'[::-1] }}", "cba"),
        ("{{ {x: 1}.get(2) }}", 1),
        (
            "{{ [{'n': 'b', 'a': 1}, {'n': 'A', 'a': 2}] | sort(attribute='n,a') | map(attribute='n') | list }}",
            ["A", "b"],
        ),
        ("{{ ['b', 'A', 'c'] | sort(reverse=true) }}", ["c", "b", "A"]),
        ("{{ {'b': 2, 'A': 1} | dictsort }}", [["A", 1], ["b", 2]]),
        ("{{ ['a', 'A', 'b'] | unique | list }}", ["a", "b"]),
        ("{{ [3, 1, 2] | min }}{{ ['b', 'C'] | max }}", "1C"),
        (
            "{{ [{'c': 'x', 'n': 1}, {'c': 'X', 'n': 2}] | groupby('c') }}",
            [["x", [{"c": "x", "n": 1}, {"c": "X", "n": 2}]]],
        ),
        ("{{ [1, 2, 3] | batch(2, 0) | list }}", [[1, 2], [3, 0]]),
        ("{{ [1, 2, 3] | slice(2) | list }}", [[1, 2], [3]]),
        ("{{ [{'a': {'b': 1}}, {'a': {}}] | map(attribute='a.b', default=7) | list }}", [1, 7]),
        ("{{ [{'a': 1}, {'a': 0}] | rejectattr('a') | list }}", [{"a": 0}]),
        ("{{ [1, 2, 3] | reject('odd') | list }}", [2]),
        ("{{ '<p>a <b>b</b>\n&amp; c<!-- > no --></p>' | striptags }}", "a b & c"),
        ("{{ 'one two three' | wordwrap(7) }}", "one two\nthree"),
        ("{{ ('x' * 250) | wordwrap(100) | replace('x', '') | length }}", 2),
        (
            "{{ 'see www.example.com now' | urlize(rel='nofollow') }}",
            'see <a href="https://www.example.com" rel="nofollow noopener">www.example.com</a> now',
        ),
        ("{{ {'a b': 'c&d', 'e': 1} | urlencode }}", "a+b=c%26d&e=1"),
        ("{{ 'a/b c' | urlencode }}", "a/b%20c"),
        ("{{ 'a\nb\n\nc' | indent(2) }}", "a\n  b\n\n  c"),
        ("{{ '%-5s|%05.1f|%(' | replace('%(', '') | format('a', 2) }}", "a    |002.0|"),
        ("{{ '%(a)s %(a)r %%' % {'a': 'x'} }}", "x 'x' %"),
        ("{{ '%s' % {'a': 1} }}{{ '%s %s' % (1, [2]) }}", '{"a":1}1 [2]'),
        ("{{ 'hello big world' | truncate(9) }}", "hello..."),
        ("{{ ' xx ' | trim }}{{ 'xxaxx' | trim('x') }}", "xxa"),
        ("{{ [1, 2.5] | sum }}{{ [{'n': 2}] | sum(attribute='n', start=1) }}", "3.53"),
        ("{{ [1, 2] | reverse | list }}{{ 'ab' | reverse }}", "[2,1]ba"),
        ("{% for x in [1, 1, 2] %}{{ loop.changed(x) }} {% endfor %}", "true false true "),
        ("{{ '1e400' | int }}{{ '12' | int }}{{ 'ff' | int(base=16) }}{{ 'x' | float(1.5) }}", "0122551.5"),
        ("{{ -2.5 | abs }}{{ 2.345 | round(1) }}{{ 1300 | filesizeformat }}", "2.52.31.3 kB"),
    ],
)
def test_what_the_filters_give_is_what_jinjas_give(text: str, found: Any) -> None:
    assert compile_template(text, playbook="p", step="s", field="f").render({"x": 2}) == found

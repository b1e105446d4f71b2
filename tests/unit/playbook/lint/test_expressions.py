"""Lint finds expressions that parse and never work, and says how to write them."""

import pytest

from noetl.playbook.lint.expressions import misuses_of
from noetl.playbook.load import lint

METHODS = "text, lists and mappings have no methods"
HEAD = "metadata: {path: p}\nworkload: {url: a/b, names: [a], n: 1}\nworkflow:\n"


def told(steps: str) -> list[str]:
    return [f"{one.line}:{one.column}: {one.severity}: {one.message}" for one in lint(HEAD + steps, "f.yaml")]


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{{ url.split('/') }}", "7: split: METHODS"),
        ("{{ url.upper() }}", "7: upper: METHODS: write '| upper'"),
        ("{{ workload.url.strip() }}", "16: strip: METHODS: write '| trim'"),
        ("{% set _ = names.append(1) %}", "17: append: METHODS: write 'items + [item]'"),
        ("{{ 'a {}'.format(n) }}", '10: format: METHODS: write \'"%s and %s" | format'),
        ("{{ ','.join(names) }}", "7: join: METHODS: write 'items | join(\", \")'"),
        ("{{ url.get('a').lower() }}", "16: lower: METHODS: write '| lower'"),
        ("a {{ url.title() }} {{ url.title() }}", "9: title: text"),
        ("{{ len(names) }}", "3: len: there is no function 'len': write '| length'"),
        ("{{ str(n) }}", "3: str: there is no function 'str': write '| string'"),
        ("{{ open(url) }}", "3: open: there is no function 'open': a python step does that"),
        ("{{ now() - 1 }}", "9: -: '-' with text never works: now() is text by ISO 8601"),
        ("{{ n + now() }}", ""),
        ("{{ 1 + now() }}", "5: +: text and a number cannot be added"),
        ("{{ uuid() / 2 }}", "10: /: '/' with text never works"),
        ("{{ (url | upper) + 1 }}", "17: +: text and a number cannot be added: write '~' to join them"),
        ("{{ (names | join) > 3 }}", "18: >: text and a number cannot be compared by '>'"),
        ("{{ 'a' | abs }}", "9: abs: '| abs' takes a number, never text"),
        ("{{ names | length | first }}", "20: first: '| first' takes a list, a mapping or text, never a number"),
        ("{{ url | trim | items }}", "16: items: '| items' takes a mapping, never text"),
        ("{{ n | string | length }}", ""),
        ("{{ names | length - 'x' }}", "18: -: '-' with text never works"),
    ],
)
def test_an_expression_that_never_works(template: str, sentence: str) -> None:
    found = [f"{index}: {word}: {message}" for index, word, message in misuses_of(template)]
    sentence = sentence.replace("METHODS", METHODS)
    assert found[0].startswith(sentence) if sentence else found == []


@pytest.mark.parametrize(
    "template",
    [
        "{{ url | upper }}",
        "{{ x.items() | list }}",
        "{% for a in names %}{{ loop.cycle('a', 'b') }}{% endfor %}",
        "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1) }}",
        "{{ '%s' % n }}",
        "{{ url * 2 }}",
        "{{ url + 'x' }}",
        "{{ n - 1 }}",
        "{{ dict(a=1).a }}",
        "{{ range(3) | list }}",
        "{{ secret('x') }}",
        "{{ '1' | int - 1 }}",
        "{{ url < 'x' }}",
        "{{ x.get('a', 1) }}",
        "{% raw %}{{ a.b() }}{% endraw %}",
        "{{ namespace(a=1).a }}",
        "{{ 5 }}",
        "plain",
    ],
)
def test_what_works_is_no_misuse(template: str) -> None:
    assert misuses_of(template) == ()


def test_a_fault_is_told_once_at_its_place() -> None:
    """Wherever in a step it stands; the name that is called gives no finding beside it."""
    found = told('- step: start\n  type: http\n  endpoint: "x"\n  params: {a: "{{ len(names) }} {{ url.upper() }}"}\n')
    assert found == [
        "7:19: error: params of step 'start': there is no function 'len': write '| length'",
        f"7:40: error: params of step 'start': {METHODS}: write '| upper'",
    ]


def test_the_workload_and_tasks_are_looked_at() -> None:
    text = "metadata: {path: p}\nworkload: {a: '{{ now() - 1 }}'}\n"
    text += "workbook:\n- {name: t, type: http, endpoint: '{{ x.upper() }}'}\n"
    text += "workflow:\n- {step: start, type: workbook, task: t, args: {x: a}}\n"
    assert [(one.line, one.column, one.code) for one in lint(text, "f.yaml")] == [
        (2, 25, "template"),
        (4, 41, "template"),
    ]

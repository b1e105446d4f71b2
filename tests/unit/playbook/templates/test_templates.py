"""Templates: types, keys first and only, strictness, forgiving results, errors that name everything."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from noetl.errors import TemplateError
from noetl.playbook.templates.template import ANY_RESULT, compile_template, result_view
from tests.unit.playbook.templates.rendering import fails, render

# ---- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [7, 7.5, True, False, "007", "", [1, [2]], {"a": {"b": []}}, -1, 2**63])
def test_a_sole_expression_keeps_the_type(value: Any) -> None:
    """By the dotted path, by any other expression, with filters."""
    for text in ("{{ v }}", "{{v}}", "{{ m.v }}", "{{ (v) }}", "{{ [v][0] }}", "{{ v | default(1) }}", "{{- v -}}"):
        found = render(text, v=value, m={"v": value})
        assert found == value
        assert type(found) is type(value)


def test_null_keeps_its_type() -> None:
    for text in ("{{ v }}", "{{v}}", "{{ m.v }}", "{{ (v) }}", "{{ [v][0] }}", "{{ v | default(none) }}", "{{- v -}}"):
        assert render(text, v=None, m={"v": None}) is None


def test_mixed_text_is_text() -> None:
    """No coercion ever: what looks like a number stays text."""
    assert render("00{{ 7 }}") == "007"
    assert render("{{ n }}{{ n }}", n=1) == "11"
    assert render(" {{ n }}", n=1) == " 1"
    assert render("{{ n }} ", n=1) == "1 "
    assert render("{% if n %}1{% endif %}", n=1) == "1"
    assert render("{{ '007' }}") == "007"
    assert render("is {{ flag }}, {{ row }}", flag=True, row={"a": [1, None]}) == 'is true, {"a":[1,null]}'


def test_the_line_end_of_a_block_scalar_does_not_make_it_text() -> None:
    """`key: |` puts a line end behind the expression."""
    assert render("{{ n }}\n", n=1) == 1
    assert render("{{ n + 1 }}\n", n=1) == 2
    assert render("{{ n }}\nx\n", n=1) == "1\nx\n"


def test_any_expression_is_native() -> None:
    """Filters, tests, operators, conditionals, literals: the value as it is, generators as lists."""
    assert render("{{ rows | map(attribute='id') }}", rows=[{"id": 1}, {"id": 2}]) == [1, 2]
    assert render("{{ rows | selectattr('ok') | list | length }}", rows=[{"ok": True}, {"ok": False}]) == 1
    assert render("{{ a > 1 and b }}", a=2, b="x") == "x"
    assert render("{{ {'k': a, 'l': [a, (a, 1)]} }}", a=2) == {"k": 2, "l": [2, [2, 1]]}
    assert render("{{ 'yes' if a else 'no' }}", a=0) == "no"
    assert render("{{ 'yes' if a }}", a=0) is None
    assert render("{{ range(3) }}") == [0, 1, 2]
    assert render("{{ a ~ 1 }}", a=2) == "21"
    assert render("{{ text[1:] }}", text="abc") == "bc"
    assert render("{{ [3, 1, 2] | sort | join('-') }}") == "1-2-3"
    assert render("{{ rows | groupby('k') }}", rows=[{"k": 1}]) == [[1, [{"k": 1}]]]
    assert render("{{ '<b>' | e }}") == "&lt;b&gt;"


def test_rendered_data_is_never_rendered_again() -> None:
    """What looks like a template in data is data, through any number of passes."""
    evil = "{{ 1 + 1 }}{% for x in y %}"
    assert render("{{ v }}", v=evil) == evil
    assert render("a {{ v }}", v=evil) == "a " + evil
    assert render({"a": ["{{ v }}"]}, v={"b": evil}) == {"a": [{"b": evil}]}
    once = render("{{ x }}", x="{{ x }}")
    assert render("{{ x }}", x=once) == "{{ x }}"  # three levels that each say x: "{{ x }}" pass the value through


def test_containers_of_any_nesting() -> None:
    """Each string in them is a template of its own; the rest stays."""
    value = {"a": [{"b": "{{ n }}"}, 1, None, "n={{ n }}"], "c": {"d": {"e": "{{ m.k }}"}}, "f": True}
    assert render(value, n=5, m={"k": [1]}) == {
        "a": [{"b": 5}, 1, None, "n=5"],
        "c": {"d": {"e": [1]}},
        "f": True,
    }


def test_what_has_nothing_to_render_is_constant() -> None:
    """Braces alone, an unclosed comment: text."""
    for value in ("text", "a { b }", "{# not closed", 5, None, [1, {"a": "b"}], {"css": "a {#x"}):
        template = compile_template(value, playbook="", step="", field="")
        assert template.constant
        assert template.names == frozenset()
        assert template.render({}) == value
    assert render("{# gone #}x") == "x"


def test_line_ends_survive() -> None:
    """Jinja alone would turn all of them into one kind."""
    assert render("a\r\n{{ n }}\r{{ 'x\r\ny' }}\n", n=1) == "a\r\n1\rx\r\ny\n"
    assert render("{{ v }}", v="a\r\nb") == "a\r\nb"
    assert render("\ue00d{{ n }}", n=1) == "\ue00d1"


# ---- keys first and only ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["items", "keys", "values", "get", "update", "pop", "copy", "clear", "__class__"])
def test_a_key_wins_over_every_attribute(key: str) -> None:
    """`{{ page.items }}` is the user's key."""
    assert render("{{ page." + key + " }}", page={key: "mine"}) == "mine"
    assert render("{{ page." + key + " | upper }}", page={key: "mine"}) == "MINE"
    assert render("{{ page['" + key + "'] }}", page={key: "mine"}) == "mine"


def test_the_mapping_methods_exist_only_when_called() -> None:
    """And only where no such key exists."""
    page = {"a": 1, "b": 2}
    assert render("{{ page.items() }}", page=page) == [["a", 1], ["b", 2]]
    assert render("{{ page.keys() | list }}", page=page) == ["a", "b"]
    assert render("{{ page.values() | sum }}", page=page) == 3
    assert render("{{ page.get('c', 9) }}", page=page) == 9
    assert render("{% for k, v in page.items() %}{{ k }}{{ v }}{% endfor %}", page=page) == "a1b2"
    assert "no key 'items'" in fails("{{ page.items }}", page=page)
    assert render("{{ page.items | default('none') }}", page=page) == "none"
    assert render("{{ page.keys is defined }}", page=page) is False
    assert "cannot be called" in fails("{{ page.get() }}", page={"get": 5})


def test_python_attributes_are_not_reachable() -> None:
    """Neither of text nor of numbers, lists, functions; the error names the filter where there is one."""
    assert "use the filter '| upper'" in fails("{{ name.upper() }}", name="x")
    assert "has no key 'append'" in fails("{{ rows.append(1) }}", rows=[])
    assert "has no key 'real'" in fails("{{ n.real }}", n=1)
    assert "has no key '__class__'" in fails("{{ n.__class__ }}", n=1)
    assert "has no key" in fails("{{ now.__globals__ }}")
    assert render("{{ rows[0] }}{{ rows[-1] }}", rows=[1, 2]) == "12"
    assert render("{{ rows.0 }}", rows=[1, 2]) == 1


class Wrapped(Mapping[str, Any]):
    """A mapping that is no dict, as scopes may have."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.found = values

    def __getitem__(self, key: str) -> Any:
        return self.found[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)


def test_any_mapping_is_looked_up_alike() -> None:
    """Scopes hand over mappings that load on demand."""
    lazy = Wrapped({"a": {"b": 1}})
    assert render("{{ m.a.b }}", m=lazy) == 1
    assert render("{{ m.a.b + 1 }}", m=lazy) == 2
    assert render("{{ m }}", m=lazy) == {"a": {"b": 1}}
    assert "no key 'found'" in fails("{{ m.found }}", m=lazy)


# ---- undefined -------------------------------------------------------------------------------------------------------


def test_undefined_names_playbook_step_field_template_and_name() -> None:
    """With a guess at what was meant."""
    message = fails("hello {{ mesage }}", message="x", other=1)
    assert message.startswith("a/b: s: args.x: 'mesage' is not defined (did you mean 'message'?)")
    assert "in 'hello {{ mesage }}'" in message
    message = fails("{{ fetch.dta }}", fetch={"data": 1, "status_code": 2})
    assert "no key 'dta' (did you mean 'data'?)" in message
    assert "(it has a, b)" in fails("{{ m.zzz }}", m={"a": 1, "b": 2})
    nested = compile_template({"deep": [{"x": "{{ nope }}"}]}, playbook="p", step="s", field="args")
    with pytest.raises(TemplateError) as caught:
        nested.render({})
    assert caught.value.field == "args.deep[0].x"
    assert caught.value.step == "s"
    assert caught.value.playbook == "p"
    assert caught.value.template == "{{ nope }}"


@pytest.mark.parametrize(
    "use",
    [
        "{{ x }}",
        "{{ x.y.z }}",
        "a {{ x }}",
        "{{ x + 1 }}",
        "{{ x == 1 }}",
        "{{ not x }}",
        "{{ x and 1 }}",
        "{{ 1 in x }}",
        "{{ x | length }}",
        "{{ x | upper }}",
        "{{ x | tojson }}",
        "{{ x | list }}",
        "{{ x | items | list }}",
        "{{ x | join }}",
        "{{ x() }}",
        "{{ [x] }}",
        "{{ {'k': x} }}",
        "{{ m[x] }}",
        "{{ m.gone }}",
        "{{ m['gone'].more }}",
        "{{ rows[5] }}",
        "{{ nothing.key }}",
        "{{ 'a' ~ x }}",
        "{% if x %}1{% endif %}",
        "{% for i in x %}{{ i }}{% endfor %}",
        "{{ x | int }}",
        "{{ x | first }}",
        "{{ [] | first }}",
    ],
)
def test_every_use_of_undefined_is_an_error(use: str) -> None:
    """Nothing undefined ever turns into an empty text."""
    assert "a/b: s: args.x:" in fails(use, m={"a": 1}, rows=[1], nothing=None)


@pytest.mark.parametrize(
    "path", ["x", "x.y", "x.y.z", "m.gone", "m.gone.more[0].still", "rows[7]", "rows[7].a", "none.a"]
)
def test_default_and_defined_work_at_any_depth(path: str) -> None:
    """`default` is for the undefined only."""
    scope: dict[str, Any] = {"m": {"a": 1}, "rows": [1], "none": None}
    assert render("{{ " + path + " | default('d') }}", **scope) == "d"
    assert render("{{ " + path + " | d({'k': [1]}) }}", **scope) == {"k": [1]}
    assert render("{{ " + path + " is defined }}", **scope) is False
    assert render("{{ " + path + " is undefined }}", **scope) is True
    assert render("{% if " + path + " is defined %}a{% else %}b{% endif %}", **scope) == "b"


def test_default_leaves_what_is_defined() -> None:
    """False, zero and empty are defined; the second argument asks for truth."""
    values: list[Any] = [False, 0, "", []]
    for value in values:
        assert render("{{ v | default('d') }}", v=value) == value
        assert render("{{ v | default('d', true) }}", v=value) == "d"


# ---- results ---------------------------------------------------------------------------------------------------------


def test_results_are_addressed_forgivingly() -> None:
    """`s.x`, `s.data.x`, `s.result.x` reach the same value, by path and by expression."""
    s = result_view({"x": 5, "list": [1]})
    for path in ("s.x", "s.data.x", "s.result.x", "s.result.data.x", "s['data']['x']", "s.data['x']"):
        assert render("{{ " + path + " }}", s=s) == 5
        assert render("{{ " + path + " + 1 }}", s=s) == 6
        assert render("{{ results['s']" + path[1:] + " }}", results={"s": s}) == 5
    assert render("{{ s.data }}", s=s) == {"x": 5, "list": [1]}
    assert render("{{ s }}", s=s) == {"x": 5, "list": [1]}
    assert "no key 'y'" in fails("{{ s.data.y }}", s=s)


def test_a_real_key_wins_over_the_self_reference() -> None:
    """A step that returns {"result": "success"} gives "success"; an http result's data is the body."""
    assert render("{{ s.result }}", s=result_view({"result": "success"})) == "success"
    http = result_view({"status_code": 200, "data": {"data": 1, "status": "error"}})
    assert render("{{ h.data }}", h=http) == {"data": 1, "status": "error"}
    assert render("{{ h.data.data }}", h=http) == 1
    assert render("{{ h.result.data.data }}", h=http) == 1
    assert render("{{ h.data.status }}", h=http) == "error"
    assert "no key 'result'" in fails("{{ h.data.result }}", h=http)
    assert render("{{ h.data.result | default('d') }}", h=result_view({"data": None})) == "d"


@pytest.mark.parametrize("value", [5, 5.5, "text", True, False, None, [1, 2], []])
def test_results_that_are_no_mapping(value: Any) -> None:
    """They address themselves too, and behave as what they are."""
    s = result_view(value)
    for text in (
        "{{ s }}",
        "{{ s.data }}",
        "{{ s.result }}",
        "{{ s.data.result }}",
        "{{ (s) }}",
        "{{ s.data | default(s) }}",
    ):
        found = render(text, s=s)
        assert found == value
        assert type(found) is type(value)
    assert render("{{ s == v }}", s=s, v=value) is True
    assert render("{{ not s }}", s=s) is (not value)
    if value is not None:
        assert render("v={{ s }}", s=s) == render("v={{ v }}", v=value)
    assert render("{{ [s, {'k': s}] }}", s=s) == [value, {"k": value}]
    assert render("{{ s | tojson }}", s=s) == render("{{ v | tojson }}", v=value)
    for test in ("none", "boolean", "true", "false", "integer", "float", "number", "string", "mapping", "sequence"):
        assert render("{{ s is " + test + " }}", s=s) == render("{{ v is " + test + " }}", v=value), test


def test_a_users_status_is_data() -> None:
    """A dict with the key status: "error" is no failure and no view."""
    assert render("{{ s.status }}", s=result_view({"status": "error"})) == "error"


def test_default_by_step_name() -> None:
    """`{{ aggregate.summary | default({...}) }}` addresses by step name."""
    template = "{{ aggregate.summary | default({'count': 0}) }}"
    assert render(template, aggregate=result_view({"summary": {"count": 3}})) == {"count": 3}
    assert render(template, aggregate=result_view({})) == {"count": 0}
    assert render(template) == {"count": 0}


# ---- functions -------------------------------------------------------------------------------------------------------


def test_functions_and_filters() -> None:
    """Beside Jinja's own."""
    assert render("{{ now() }}")[:2] == "20"
    assert render("{{ now('%Y') | int > 2000 }}") is True
    assert len(render("{{ uuid() }}")) == 36
    assert render("{{ uuid() != uuid() }}") is True
    assert render("{{ '[1, {\"a\": null}]' | fromjson }}") == [1, {"a": None}]
    assert render("{{ fromjson(text).a }}", text='{"a": 1}') == 1
    assert render("{{ {'b': 1, 'a': 'é<'} | tojson }}") == '{"b": 1, "a": "é<"}'
    assert render("{{ tojson([1]) }}") == "[1]"
    assert render("{{ 'hällo' | b64encode | b64decode }}") == "hällo"
    assert render("{{ b64decode(b64encode('x')) }}") == "x"
    assert "NaN" in fails("{{ 'NaN' | fromjson }}")
    assert "fromjson takes text" in fails("{{ 5 | fromjson }}")
    assert "a call '()' missing" in fails("{{ now }}")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("-3 | abs", 3),
        ("{'k': 1} | attr('k')", 1),
        ("[1, 2, 3] | batch(2) | list", [[1, 2], [3]]),
        ("'ab' | capitalize", "Ab"),
        ("'a' | center(3)", " a "),
        ("[1] | count", 1),
        ("{'b': 1, 'a': 2} | dictsort", [["a", 2], ["b", 1]]),
        ("'<' | escape", "&lt;"),
        ("1000 | filesizeformat", "1.0 kB"),
        ("[1, 2] | first", 1),
        ("'1.5' | float", 1.5),
        ("'<' | forceescape", "&lt;"),
        ("'%s=%03d' | format('a', 7)", "a=007"),
        ("[{'k': 1}] | groupby('k') | map(attribute='grouper')", [1]),
        ("'a\nb' | indent(2)", "a\n  b"),
        ("'7' | int", 7),
        ("{'a': 1} | items", [["a", 1]]),
        ("[{'k': 1}, {'k': 2}] | join(',', attribute='k')", "1,2"),
        ("[1, 2] | last", 2),
        ("'ab' | length", 2),
        ("'ab' | list", ["a", "b"]),
        ("'AB' | lower", "ab"),
        ("['a'] | map('upper') | list", ["A"]),
        ("[3, 1] | max", 3),
        ("[3, 1] | min", 1),
        ("{'a': 1} | pprint", "{'a': 1}"),
        ("[5] | random", 5),
        ("[1, 2] | reject('odd')", [2]),
        ("[{'k': 1}, {'k': 0}] | rejectattr('k')", [{"k": 0}]),
        ("'aba' | replace('a', 'c', 1)", "cba"),
        ("[1, 2] | reverse", [2, 1]),
        ("2.567 | round(1)", 2.6),
        ("'<' | safe", "<"),
        ("[1, 2] | select('odd')", [1]),
        ("[{'k': 1}, {'k': 0}] | selectattr('k')", [{"k": 1}]),
        ("[1, 2, 3] | slice(2) | list", [[1, 2], [3]]),
        ("[3, 1] | sort", [1, 3]),
        ("5 | string", "5"),
        ("'<b>x</b>' | striptags", "x"),
        ("[{'k': 1}, {'k': 2}] | sum(attribute='k')", 3),
        ("'a b' | title", "A B"),
        ("' a ' | trim", "a"),
        ("'abcdefgh' | truncate(5, true, '', 0)", "abcde"),
        ("[1, 1] | unique", [1]),
        ("'a' | upper", "A"),
        ("'a b' | urlencode", "a%20b"),
        ("'x' | urlize", "x"),
        ("'a b' | wordcount", 2),
        ("'a b' | wordwrap(1)", "a\nb"),
    ],
)
def test_every_filter_of_jinja_works_within_the_bounds(expression: str, value: Any) -> None:
    """The budget is put around each of them; each gets its value at the right place."""
    assert render("{{ " + expression + " }}") == value


def test_a_name_of_the_scope_wins_over_a_function() -> None:
    """A workload key `range` or a step `now` is what its author meant."""
    assert render("{{ range }}", range=[1]) == [1]
    assert render("{{ now.x }}", now={"x": 1}) == 1
    assert render("{{ dict | upper }}", dict="a") == "A"


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ a.b }}", {"a"}),
        ("{{ a.b + c['d'] }}", {"a", "c"}),
        ("{{ results['x'].y }}", {"results", "x"}),
        ("{{ results.x + 1 }}", {"results", "x"}),
        ("{{ results[a] }}", {"results", "a", ANY_RESULT}),
        ("{{ results }}", {"results", ANY_RESULT}),
        ("{{ results.items() }}", {"results", ANY_RESULT}),
        ("{{ results['x'] if results else 1 }}", {"results", "x", ANY_RESULT}),
        ("plain", set()),
    ],
)
def test_names_say_what_a_template_reads(text: str, expected: set[str]) -> None:
    """Who builds scopes supplies these and no others."""
    assert compile_template(text, playbook="", step="", field="").names == expected


def test_names_of_containers_are_those_of_their_parts() -> None:
    """And a value that the template assigns itself may be among them."""
    template = compile_template({"a": "{{ x }}", "b": ["{{ y.z }}", 1]}, playbook="", step="", field="")
    assert template.names == {"x", "y"}
    looped = compile_template("{% for i in rows %}{{ i }}{% endfor %}", playbook="", step="", field="")
    assert looped.names >= {"rows"}


def test_only_the_names_that_a_template_reads_are_looked_up() -> None:
    """So a scope may load values on demand; what it raises comes through."""

    class Lazy(dict[str, Any]):
        def __missing__(self, key: str) -> Any:
            if key == "costly":
                raise RuntimeError("loaded")
            raise KeyError(key)

    assert render("{{ a }} {{ a }}", a=1) == "1 1"
    template = compile_template("{{ a + 1 }}", playbook="", step="", field="")
    assert template.render(Lazy(a=1)) == 2
    for text in ("{{ costly }}", "{{ costly + 1 }}"):
        with pytest.raises(RuntimeError, match="loaded"):
            compile_template(text, playbook="", step="", field="").render(Lazy())


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ a b }}", "expected token"),
        ("{{ a", "unexpected end"),
        ("{{ }}", "Expected an expression"),
        ("{% if a %}", "end of template"),
        ("{% frobnicate %}", "unknown tag"),
        ("{{ a | uper }}", "no filter 'uper' (did you mean 'upper'?)"),
        ("{{ a is defnied }}", "no test 'defnied' (did you mean 'defined'?)"),
        ("{% if false %}{{ a | nope }}{% endif %}", "no filter 'nope'"),
        ("{% include 'x' %}", "'include' is not available"),
        ("{% import 'x' as y %}", "'import' is not available"),
        ("{% from 'x' import y %}", "is not available"),
        ("{% extends 'x' %}", "'extends' is not available"),
        ("{% block b %}{% endblock %}", "'block' is not available"),
        ("{% for i in a recursive %}{% endfor %}", "recursive"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "nested too deeply"),
    ],
)
def test_a_template_that_cannot_be_read_fails_when_compiled(text: str, reason: str) -> None:
    """Not when it is first rendered."""
    with pytest.raises(TemplateError) as caught:
        compile_template(text, playbook="p", step="s", field="f")
    assert reason in caught.value.reason
    assert str(caught.value).startswith("p: s: f: ")


@pytest.mark.parametrize(
    "text", ["{{ 1 / 0 }}", "{{ 'a' + 1 }}", "{{ 'x' | int + [] }}", "{{ 'zz' | b64decode }}", "{{ 1 | sum }}"]
)
def test_errors_of_an_expression_are_template_errors(text: str) -> None:
    """With the place they stand at."""
    assert fails(text).startswith("a/b: s: args.x: ")

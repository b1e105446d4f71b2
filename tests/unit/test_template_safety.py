"""A corpus of template injection: everything renders inert, or is a clear error; nothing runs for ever."""

import time
from typing import Any

import pytest

from noetl.errors import TemplateError
from noetl.playbook.templates import compile_template, result_view

ATTACKS = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__']['__mro__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ ''|attr(['_'*2,'class','_'*2]|join) }}",
    "{{ [].__class__.__base__.__subclasses__() }}",
    "{{ {}.__class__.__init__.__globals__ }}",
    "{{ ().__class__.__bases__[0] }}",
    "{{ self.__init__.__globals__.__builtins__ }}",
    "{{ self._TemplateReference__context.cycler.__init__.__globals__.os }}",
    "{{ self.__dict__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__.os.popen('id').read() }}",
    "{{ namespace.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ lipsum.__globals__ }}",
    "{{ range.__globals__ }}",
    "{{ range.__self__ }}",
    "{{ dict.__class__ }}",
    "{{ dict.__base__.__subclasses__() }}",
    "{{ dict.mro() }}",
    "{{ now.__globals__ }}",
    "{{ now.__code__ }}",
    "{{ uuid.__globals__['base64'] }}",
    "{{ tojson.__wrapped__ }}",
    "{{ fromjson.__globals__['json'].codecs }}",
    "{{ request.application.__globals__ }}",
    "{{ config.items() }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ url_for.__globals__.os }}",
    "{{ __builtins__ }}",
    "{{ __import__('os').system('id') }}",
    "{{ open('/etc/passwd').read() }}",
    "{{ eval('1+1') }}",
    "{{ exec('1') }}",
    "{{ environment }}",
    "{{ context }}",
    "{{ caller.__globals__ }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{0.__class__.__init__.__globals__}'.format_map({'0': 1}) }}",
    "{{ '%s'.__mod__ }}",
    "{{ ('x').__add__('y') }}",
    "{{ data.__class__ }}",
    "{{ data.clear() }}",
    "{{ data.update({'a': 1}) }}",
    "{{ data.pop('a') }}",
    "{{ data.setdefault('z', 1) }}",
    "{{ rows.append(1) }}",
    "{{ rows.sort() }}",
    "{{ rows.__len__() }}",
    "{{ view.raw }}",
    "{{ view.__class__ }}",
    "{{ view.clear() }}",
    "{{ [1, 2] | map(attribute='__class__') | list }}",
    "{{ [1, 2] | map('attr', '__class__') | list }}",
    "{{ rows | sort(attribute='__class__') }}",
    "{{ rows | groupby('__class__') }}",
    "{{ rows | sum(attribute='__class__') }}",
    "{{ rows | selectattr('__class__') | list }}",
    "{{ rows | join(attribute='__class__') }}",
    "{{ rows | min(attribute='__class__') }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "{% set x = ''.__class__ %}{{ x }}",
    "{% with x = ''.__class__ %}{{ x }}{% endwith %}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{{ m() }}",
    "{% macro m() %}1{% endmacro %}{{ m.__globals__ }}",
    "{% macro m() %}1{% endmacro %}{{ m._func.__globals__ }}",
    "{% macro m() %}1{% endmacro %}{{ m._environment }}",
    "{% for i in [1] %}{{ loop._iterator }}{% endfor %}",
    "{% for i in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for i in [1] %}{{ loop._undefined }}{% endfor %}",
    "{% set ns = namespace(a=1) %}{{ ns._Namespace__attrs }}",
    "{% set ns = namespace(a=1) %}{{ ns.__class__ }}",
    "{{ x.__class__ }}",
    "{{ x.__init__.__globals__ }}",
    "{{ (x | default(1)).__class__ }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends 'base' %}",
    "{{ rows[data.__class__] }}",
]

FORBIDDEN = ("<class", "<function", "built-in", "module", "object at 0x", "root:", "uid=")


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


DOUBLED = "{% set ns = namespace(t=[1]) %}{% for i in range(90) %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}"

BOMBS = [
    "{{ 'a' * 1000000000000 }}",
    "{{ [0] * 1000000000000 }}",
    "{{ 1000000000000 * 'a' }}",
    "{{ 10 ** 1000000000 }}",
    "{{ 9 ** 9 ** 9 ** 9 ** 9 }}",
    "{{ range(10000000000) | list }}",
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{% for i in range(100000) %}{{ 'x' * 10000 }}{% endfor %}",
    "{% set ns = namespace(t='ab') %}{% for i in range(90) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}{{ ns.t }}",
    "{% set ns = namespace(t='ab') %}{% for i in range(90) %}{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t }}",
    "{% set ns = namespace(t=[1]) %}{% for i in range(90) %}{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t }}",
    DOUBLED + "{{ ns.t }}",
    DOUBLED + "x{{ ns.t }}",
    DOUBLED + "{{ ns.t | string }}",
    DOUBLED + "{{ ns.t | tojson }}",
    DOUBLED + "{{ ns.t | pprint }}",
    DOUBLED + "{{ '%s' % ns.t }}",
    "{% set ns = namespace(t=3) %}{% for i in range(90) %}{% set ns.t = ns.t * ns.t %}{% endfor %}{{ ns.t }}",
    "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(90) }}",
    "{% set t %}{% for i in range(100000) %}{{ 'x' * 10000 }}{% endfor %}{% endset %}{{ t }}",
    "{{ 'x' | center(1000000000) }}",
    "{{ 'x' | indent(1000000000, true) }}",
    "{{ ('x\n' * 100000) | indent('y' * 100000) }}",
    "{{ [1] | batch(1000000000, 0) | list }}",
    "{{ [1] | slice(1000000000) | list }}",
    "{{ 1.5 | round(1000000000, 'floor') }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '%.1000000000f' | format(1) }}",
    "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
    "{{ (['x' * 1000000] * 100000) | join }}",
    "{{ range(100000) | join('y' * 100000) }}",
    "{{ [1] | tojson(indent=1000000000) }}",
    "{{ 99999999999999999999999999 }}",
    "{{ 1e308 * 10 }}",
    "{{ 'nan' | float }}",
]


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

"""Lint finds Python code that parses and never works: names that nothing defines, and templates."""

import pytest

from noetl.playbook.load import lint
from noetl.playbook.read.python_names import undefined_names

SET = "error: code of step 'start': '{{ ... }}' is a set within a set"
HEAD = "metadata: {path: p}\nworkload: {url: a/b, names: [a], n: 1}\nworkflow:\n"


def told(steps: str) -> list[str]:
    return [f"{one.line}:{one.column}: {one.severity}: {one.message}" for one in lint(HEAD + steps, "f.yaml")]


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("def main(): return jsn.dumps(1)", ["jsn"]),
        ("def main():\n  return helper(math.pi)", ["helper", "math"]),
        ("x = y\ndef main(): return x", ["y"]),
        ("def main(a): return [b for c in a]", ["b"]),
        ("class A:\n  z = q\ndef main(): return A.z", ["q"]),
        ("def main(a):\n  def inner(): return a + late\n  return inner()", ["late"]),
        ("def main(a=first): return a", ["first"]),
        ("@wrap\ndef main(): return 1", ["wrap"]),
        ("def main(): return f'{nothing}'", ["nothing"]),
        ("def main():\n  try:\n    return 1\n  except Missing:\n    return 2", ["Missing"]),
        ("lambda: gone\ndef main(): pass", ["gone"]),
    ],
)
def test_a_name_that_nothing_defines(code: str, missing: list[str]) -> None:
    assert [name.id for name in undefined_names(code)] == missing


@pytest.mark.parametrize(
    "code",
    [
        "import json as j, os.path\ndef main(): return j, os",
        "from math import *\ndef main(): return pi",
        "def main(a, *b, c=1, **d): return a, b, c, d, context, __name__",
        "def main(): return later()\ndef later(): return 1",
        "def main():\n  global seen\n  seen = 1\n  return read()\ndef read(): return seen",
        "def main(): return [x for y in [[1]] for x in y if (z := x) and z]",
        "if True:\n  import re\ndef main(): return re",
        "try:\n  import a\nexcept ImportError as error:\n  a = error\ndef main(): return a",
        "def main():\n  try: return maybe\n  except NameError: return 1",
        "exec('x = 1')\ndef main(): return x",
        "globals()['x'] = 1\ndef main(): return x",
        "def main(x: Missing) -> Other: return x",
        "def main():\n  n: Missing = 1\n  return n",
        "class A:\n  def me(self): return __class__, super().me\ndef main(): return A",
        "def main(v):\n  match v:\n    case {'a': a, **rest}: return a, rest\n    case [b, *c]: return b, c",
        "def main():\n  with open('x') as f, open('y') as (g, h): return f, g, h",
        "for i in range(3): pass\ndef main(): return i",
        "def main():\n  del_me = 1\n  del del_me\n  return ValueError, print",
        "def main():\n  n = 0\n  def inc():\n    nonlocal n\n    n += 1\n  return n",
        "def main(:",
    ],
)
def test_a_name_that_something_defines_is_no_finding(code: str) -> None:
    assert undefined_names(code) == ()


def code(text: str, more: str = "") -> list[str]:
    block = "".join(f"    {line}\n" for line in text.split("\n"))
    return told(f"- step: start\n  type: python\n{more}  code: |\n{block}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def main():\n  return jsn.dumps(1)", "8:14: error: CODE 'jsn' is not defined"),
        ("def main():\n  return re.sub('a', 'b', 'c')", "8:14: error: CODE 're' is not defined: write 'import re'"),
        (
            "import requests\ndef main():\n  return request.get('x')",
            "9:14: error: CODE 'request' is not defined (did you mean 'requests'?)",
        ),
        ("def main():\n  return 'é', {{ workload.n }}", "8:19: SET"),
        ("def main():\n  n = {{ n }}\n  return n", "8:11: SET"),
        ("def main():\n  return {{ n | default(5) }}", "8:14: SET"),
        ("def main():\n  return {{ a b }}", "error: CODE invalid syntax"),
        (
            "def main():\n  return 'at {{ workload.url }}'",
            "8:14: warning: CODE the text '{{ workload.url }}' stays as it is",
        ),
        ("def main():\n  return 'at {{ n }}'", "8:14: warning: CODE the text '{{ n }}' stays as it is"),
    ],
)
def test_code_that_never_works(text: str, sentence: str) -> None:
    found = code(text)
    sentence = sentence.replace("SET", SET).replace("CODE ", "code of step 'start': ")
    assert sentence in found[0], found
    if "{{" in text:
        assert "code is never a template" in found[0]


def test_an_argument_that_is_taken_for_a_global_is_answered() -> None:
    (found,) = code("def main():\n  return city", "  args: {city: Oslo}\n")
    assert found.endswith("'city' is not defined: args are no globals, take it as a parameter of main")


@pytest.mark.parametrize(
    "text",
    [
        "def main(x=1):\n  return f'{{{x}}}'",
        "def main():\n  return {1, 2}, {'a': {'b': 1}}",
        "def main():\n  return 'a {{ b }}'",
        "import jinja2\ndef main():\n  return jinja2.Template('{{ workload.x }}').render(workload={})",
        "def main():\n  return '{{n}} {}'.format(1)",
        "def main():\n  return {(1, 2), frozenset({3})}",
    ],
)
def test_code_with_braces_that_works_is_no_finding(text: str) -> None:
    assert code(text) == []

"""Expressions of templates at random, over data that is made to be expensive, and a process that renders them.

`python -m tests.support.expressions` reads one JSON text per line, a template, and writes one per line: what came of
it. It renders with a limit of memory, so that what takes too much ends the process and not the machine.
"""

import inspect
import json
import resource
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from noetl.playbook.templates.filter_table import FILTERS as FILTER_TABLE
from noetl.playbook.templates.functions import FUNCTIONS
from noetl.playbook.templates.sandbox import ENVIRONMENT

MEMORY: int = 3 * 1024**3
"""Bytes of address space of the process that renders."""

TWICE = (
    "{% set ns = namespace(a=[1], b=[1], t=(1,), u=(1,)) %}{% for i in range(60) %}"
    "{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% set ns.t = (ns.t, ns.t) %}"
    "{% set ns.u = (ns.u, ns.u) %}{% endfor %}"
)
"""Values of 61 parts that Python compares, hashes and writes in 2 ** 60 steps."""

VALUES = (
    *(
        "ns.a",
        "ns.b",
        "ns.t",
        "ns.u",
        "many",
        "text",
        "comments",
        "mail",
        "dashes",
        "wide",
        "nested",
        "spaces",
        "percent",
    ),
    *(
        "numbers",
        "pairs",
        "big",
        "none",
        "1",
        "-1",
        "0",
        "2.5",
        "1e308",
        "1e400",
        "true",
        "'a'",
        "''",
        "[]",
        "{}",
        "()",
    ),
    *(
        "'%s'",
        "'%(a)s'",
        "'%1000d'",
        "'%999d'",
        "'{'",
        "'['",
        "'<!--'",
        "10 ** 300",
        "100000",
        "[1, 'a', none]",
        "start",
    ),
    *("range(100000)", "missing", "missing.key", "loop", "'a,b'", "'a.b.c'", "'$secret'", "'map'", "'upper'", "'eq'"),
)
"""What an operand can be: names of `data`, the twins, and constants."""

FILTERS = tuple(sorted(FILTER_TABLE))
_LONG_NAMES = {"equalto", "greaterthan", "lessthan"}  # of eq, gt, lt
TESTS = tuple(sorted(name for name in ENVIRONMENT.tests if name.isidentifier() and name not in _LONG_NAMES))


def _parameters() -> set[str]:
    """Return the names of what filters take beside the value in front of them."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    signatures = [inspect.signature(spec.function) for spec in FILTER_TABLE.values()]
    return {one.name for signature in signatures for one in signature.parameters.values() if one.kind in named}


NAMES = tuple(sorted(_parameters() | {"rel", "target"}))  # those of urlize are handed on
OPERATORS = (
    *("+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"),
    *("< 2 <", "== 1 ==", "if true else"),
)
CALLS = tuple(sorted(FUNCTIONS))


def data() -> dict[str, Any]:
    """Return the values that templates read: large ones, deep ones, those that are slow to look through."""
    nested: Any = 1
    for _ in range(150):
        nested = {"a": nested}
    return {
        "many": [[n] for n in range(300_000)],
        "text": "x" * 5_000_000,
        "spaces": "a b " * 1_000_000,
        "comments": "<!--" * 1_000_000,
        "mail": "a@" * 1_000_000,
        "dashes": "a" + "-" * 1_000_000,
        "percent": "%(" * 500_000,
        "big": "b" * 1_000_000,
        "wide": {f"the key number {n}": n for n in range(100_000)},
        "numbers": list(range(300_000)),
        "pairs": [{"a": n % 7, "b": str(n)} for n in range(50_000)],
        "nested": nested,
    }


def _called(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    named = st.tuples(st.sampled_from(NAMES), inner).map("=".join)
    return st.tuples(st.lists(inner, max_size=2), st.lists(named, max_size=1)).map(
        lambda given: f"({', '.join([*given[0], *given[1]])})" if given[0] or given[1] else ""
    )


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = _called(inner)
    return st.one_of(
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map(lambda of: f"({of[0]} {of[1]} {of[2]})"),
        st.tuples(inner, st.sampled_from(FILTERS), arguments).map(lambda of: f"({of[0]} | {of[1]}{of[2]})"),
        st.tuples(inner, st.sampled_from(TESTS), arguments).map(lambda of: f"({of[0]} is {of[1]}{of[2]})"),
        st.tuples(st.sampled_from(CALLS), arguments).map(lambda of: f"{of[0]}{of[1] or '()'}"),
        st.tuples(inner, inner).map(lambda of: f"{of[0]}[{of[1]}]"),
        st.tuples(inner, inner, inner).map(lambda of: f"{of[0]}[{of[1]}:{of[2]}]"),
        st.tuples(inner, inner).map(lambda of: f"[{of[0]}, {of[1]}]"),
        st.tuples(inner, inner).map(lambda of: f"({of[0]}, {of[1]})"),
        st.tuples(inner, inner).map(lambda of: f"{{{of[0]}: {of[1]}}}"),
    )


expressions = st.recursive(st.sampled_from(VALUES), _larger, max_leaves=6)

templates = st.one_of(
    expressions.map(lambda one: f"{TWICE}{{{{ {one} }}}}"),
    expressions.map(lambda one: f"{{{{ {one} }}}}"),
    st.tuples(expressions, expressions).map(
        lambda of: f"{TWICE}{{% for loop_item in {of[0]} %}}{{{{ loop.changed({of[1]}) }}}}{{% endfor %}}"
    ),
    st.tuples(expressions, expressions).map(
        lambda of: f"{TWICE}{{% for i in range(100000) %}}{{% set x = {of[0]} %}}{{{{ {of[1]} }}}}{{% endfor %}}"
    ),
    st.tuples(expressions, expressions).map(
        lambda of: f"{TWICE}{{% macro m(a) %}}{{{{ {of[0]} }}}}{{{{ m(a) }}}}{{% endmacro %}}{{{{ m({of[1]}) }}}}"
    ),
)


class Renderer:
    """A process that renders templates, started again whenever one has ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def render(self, template: str, limit: float) -> dict[str, Any]:
        """Return `{"error": ...}` for a template error, `{"value": kind}`, or `{"fault": why}`: not within `limit`
        seconds, the process ended, or another exception came out."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(template) + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], limit)[0]:
            self.close()
            return {"fault": f"no answer within {limit:g} s"}
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            self.close()
            return {"fault": f"the process ended with {code}"}
        return dict(json.loads(line))

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.expressions"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        return self._process

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def main() -> None:
    """Render what stands on the lines of stdin."""
    from noetl.errors import TemplateError
    from noetl.playbook.templates.template import compile_template

    scope = data()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in sys.stdin:
        try:
            found = compile_template(json.loads(line), playbook="p", step="s", field="f").render(scope)
            answer = {"value": type(found).__name__}
        except TemplateError as error:
            answer = {"error": error.reason}
            if "memory" in error.reason:
                answer = {"fault": error.reason}
            elif len(error.reason) > 2000:
                answer = {"fault": f"an error of {len(error.reason)} characters"}
        except BaseException as error:  # noqa: BLE001 - told, as a fault
            answer = {"fault": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

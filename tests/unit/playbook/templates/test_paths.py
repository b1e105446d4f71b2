"""Dotted paths of templates: looked up without Jinja, and to the same result."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noetl.errors import TemplateError
from noetl.playbook.templates.template import Expression, Path, compile_template, result_view

keys = st.sampled_from(["a", "b", "data", "result", "items", "get", "x"])
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)
parts = st.lists(
    keys.map(lambda key: f".{key}") | keys.map(lambda key: f"['{key}']") | st.integers(0, 2).map(lambda n: f"[{n}]"),
    max_size=4,
)


def outcome(template: Any, scope: dict[str, Any]) -> Any:
    try:
        return ("value", template.render(scope))
    except TemplateError as error:
        return ("error", error.reason)


@given(trees, parts, st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_dotted_path_means_what_jinja_means(tree: Any, path: list[str], view: bool) -> None:
    """The short way for `{{ a.b.c }}` and Jinja give the same value or the same error."""
    text = "{{ s" + "".join(path) + " }}"
    scope = {"s": result_view(tree) if view else tree}
    short = compile_template(text, playbook="", step="", field="")
    assert isinstance(short, Path)
    long = Expression(text, ("", "", ""))
    assert outcome(short, scope) == outcome(long, scope)


@pytest.mark.parametrize(
    "text", ["{{ true }}", "{{ none }}", "{{ False }}", "{{ not }}", "{{ self }}", "{{ loop }}", "{{ in.x }}"]
)
def test_words_of_the_language_are_no_paths(text: str) -> None:
    """They are left to Jinja, which may refuse them."""
    try:
        found = compile_template(text, playbook="", step="", field="")
    except TemplateError:
        return
    assert not isinstance(found, Path)


def test_a_render_costs_microseconds() -> None:
    """Generous bounds, ten times what it takes: no compiling per render."""
    scope = {"a": {"b": {"c": 1}}}
    for text, bound in (("{{ a.b.c }}", 20e-6), ("{{ a.b.c + 1 }}", 100e-6), ("x {{ a.b.c }} y", 100e-6)):
        template = compile_template(text, playbook="", step="", field="")
        template.render(scope)
        best = 1.0
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(200):
                template.render(scope)
            best = min(best, (time.perf_counter() - began) / 200)
        assert best < bound, text

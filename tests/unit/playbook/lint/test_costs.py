"""Lint reads each template once, and looks for places only where there is something to say of them."""

from collections import Counter

import pytest

from noetl.playbook.lint.template_reads import reads_of
from noetl.playbook.load import lint
from noetl.playbook.templates import parse as syntax
from noetl.playbook.templates.sandbox import ENVIRONMENT

TEMPLATES = [
    "{{ workload.costs_a + 1 }}",
    "{{ workload.costs_a | default('x') ~ now() }}",
    "{% for costs in workload.costs_b %}{{ costs }}{% endfor %}",
    "costs {{ range(3) | list }} and {{ workload.costs_a }}",
]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each text has been parsed, and read once more for places (`lex`)."""
    count: Counter[str] = Counter()
    parse, lex = ENVIRONMENT.parse, ENVIRONMENT.lex

    def parsing(text: str) -> object:
        count[text] += 1
        return parse(text)

    def lexing(text: str) -> object:
        count["lex"] += 1
        return lex(text)

    monkeypatch.setattr(ENVIRONMENT, "parse", parsing)
    monkeypatch.setattr(ENVIRONMENT, "lex", lexing)
    return count


def test_each_template_is_parsed_once(counted: Counter[str]) -> None:
    """By whatever asks for it: the loader, names, faults."""
    steps = "".join(
        f"- {{step: s{n}, type: http, endpoint: http://x, params: {{p: {text!r}}}, next: s{n + 1}}}\n".replace(
            "s0,", "start,"
        )
        for n, text in enumerate(value.replace("'", '"') for value in TEMPLATES)
    )
    text = f"metadata: {{path: p}}\nworkload: {{costs_a: 1, costs_b: [1]}}\nworkflow:\n{steps}- {{step: s4}}\n"
    assert lint(text, "f.yaml") == []
    assert counted == dict.fromkeys([value.replace("'", '"') for value in TEMPLATES], 1)


def test_a_template_with_a_finding_is_read_for_the_place(counted: Counter[str]) -> None:
    text = "metadata: {path: p}\nworkload: {a: 1}\nworkflow: [{step: start, result: '{{ 1 + costs_nobody }}'}]\n"
    assert [(found.code, found.column) for found in lint(text, "f.yaml")] == [("unknown-name", 42)]
    assert counted["lex"] == 1


def test_places_of_the_same_name_follow_each_other() -> None:
    """Also when the last is asked for first."""
    text = "{{ costs_x.a + costs_x.b + costs_x.a }}"
    reads = reads_of(text).reads
    assert [read.offsets[0] for read in reversed(reads)] == [27, 15, 3]
    assert syntax.parse(text).names == {"costs_x"}

"""What lint finds of the seeded mistakes, and that it finds nothing where there is nothing."""

import time
from collections import Counter
from pathlib import Path

import yaml

from noetl.playbook.load import lint
from tests.conftest import Tell
from tests.lint.corpus import CREDENTIALS, OPERATORS, Case, bases, cases, correct

LISTED = Path(__file__).with_name("corpus.txt")


def test_the_corpus_is_what_it_was() -> None:
    """Every case stands in corpus.txt with its place, so that an edit of bases or operators shows what it changes."""
    assert [str(case) for case in cases()] == LISTED.read_text().splitlines()


def test_the_corpus_is_large_enough() -> None:
    """Many operators, each of which breaks something, and a third of the cases held out."""
    count = Counter(case.operator for case in cases())
    assert len(OPERATORS) >= 25
    assert set(count) == set(OPERATORS)
    assert len(cases()) >= 150
    assert 0.3 <= sum(case.held_out for case in cases()) / len(cases()) <= 0.4
    assert len(dict(correct())) >= 60


def test_a_case_is_a_document_with_one_edit() -> None:
    """Text is different from its base, and still YAML where the mistake is not one of YAML itself."""
    texts = {base.name: base.text for base in bases()}
    for case in cases():
        assert case.mistake.text != texts[case.base], case
        if case.mistake.code != "yaml":
            assert yaml.compose(case.mistake.text) is not None, case


def caught(case: Case) -> bool:
    """Whether lint reports a case at its line and column under its code."""
    mistake = case.mistake
    return any(
        (problem.line, problem.column, problem.code) == (mistake.line, mistake.column, mistake.code)
        for problem in lint(mistake.text, "f.yaml", CREDENTIALS)
    )


def test_seeded_mistakes_are_found_where_they_are(tell: Tell) -> None:
    """Over all cases, and those apart at which nobody looked while the checks were written."""
    found = [(case, caught(case)) for case in cases()]
    for title, some in (
        ("all", found),
        ("the held-out third", [pair for pair in found if pair[0].held_out]),
    ):
        hits = sum(hit for _, hit in some)
        tell(f"lint finds of {title}: {hits} of {len(some)} seeded mistakes, {100 * hits / len(some):.1f} %")
        assert hits >= 0.95 * len(some), [str(case) for case, hit in some if not hit]


def test_correct_playbooks_have_no_findings(tell: Tell) -> None:
    """Neither errors nor warnings."""
    playbooks = dict(correct())
    noisy = {
        name: found
        for name, text in playbooks.items()
        if (found := [one for one in lint(text, "f.yaml", CREDENTIALS) if one.severity != "hint"])
    }
    tell(f"lint is silent about {len(playbooks) - len(noisy)} of {len(playbooks)} correct playbooks")
    assert noisy == {}


def test_a_large_playbook_is_looked_at_quickly(tell: Tell) -> None:
    """Five hundred steps in forks and joins, every template another. What it takes is told, not judged."""
    rounds = 166
    steps = ["- {step: start, next: j0}"]
    for n in range(rounds):
        before = "workload.x" if n == 0 else f"a{n - 1}.v + b{n - 1}.v + j{n - 1}.v"
        after = f"j{n + 1}" if n + 1 < rounds else "end"
        steps.append(f"- {_python(f'j{n}', before, n)}, next: [a{n}, b{n}]}}")
        steps += [f"- {_python(f'{branch}{n}', f'j{n}.v * {n}', n)}, next: {after}}}" for branch in "ab"]
    text = "metadata: {path: p}\nworkload: {x: 1}\nworkflow:\n" + "\n".join([*steps, "- {step: end}", ""])
    began = time.process_time()
    assert lint(text, "f.yaml") == []
    tell(f"lint looks at {len(steps) + 1} steps in {time.process_time() - began:.2f} s of one processor")


def _python(name: str, expression: str, number: int) -> str:
    """Return a python step but for its end."""
    code = f"def main(p): return {{'v': {number}}}"
    return f'{{step: {name}, type: python, args: {{p: "{{{{ {expression} }}}}"}}, code: "{code}"'

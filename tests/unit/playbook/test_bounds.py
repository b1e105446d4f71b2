"""Hostile documents: what aliases unfold to is charged by its size, and the work of lint grows with the document."""

import pytest

from noetl.playbook.lint.flow import Flow
from noetl.playbook.load import lint, load_playbook

HEAD = "metadata: {path: a}\n"
WAIT = "workflow: [{step: start, type: wait, for: 1}]\n"
CODE = "def main():\\n" + "  x = 1\\n" * 500 + "  return x"


@pytest.mark.parametrize(
    "document",
    [
        f'{HEAD}workload: {{c: &c "{CODE}"}}\nworkflow:\n'
        + "".join(f"- {{step: s{n}, type: python, code: *c}}\n" for n in range(3000)),
        f"{HEAD}workload: {{a: &a x, l: [{','.join(['*a'] * 120_000)}]}}\n{WAIT}",
        f"{HEAD}x: &s {{step: start, type: wait, for: 1}}\nworkflow: [{','.join(['*s'] * 50_000)}]\n",
        f"{HEAD}workload: {{k: &m {{{', '.join(f'k{n}: 1' for n in range(2000))}}}, l: ["
        + ",".join(["{<<: *m}"] * 240)
        + f"]}}\n{WAIT}",
        f"{HEAD}workload:\n  a: &a [x]\n"
        + "".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else '*a'] * 10)}]\n" for n in range(9))
        + WAIT,
    ],
    ids=["code", "scalars", "steps", "merged", "laughs"],
)
def test_what_aliases_repeat_is_charged_by_its_size(document: str) -> None:
    """A file of some hundred kilobytes stands for a hundred times as much: one sentence, and no lint of the rest."""
    (found,) = lint(document, "f.yaml")
    assert (found.severity, found.code) == ("error", "yaml")
    assert "aliases repeat more than 1,000,000 characters, unfolded" in found.message


def test_ordinary_aliases_pass() -> None:
    login = "&db {type: postgres, key: main}"
    steps = "".join(
        f"- {{step: s{n}, type: postgres, auth: *db, command: SELECT {n}, next: s{n + 1}}}\n" for n in range(1, 400)
    )
    document = (
        f"{HEAD}workflow:\n- {{step: start, type: postgres, auth: {login}, command: SELECT 0, next: s1}}\n{steps}"
        "- {step: s400, type: postgres, auth: *db, command: SELECT 1}\n"
    )
    assert len(load_playbook(document, "f.yaml").workflow.steps) == 401


def test_a_chain_of_steps_is_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What each step is repeated by is asked of a chain as long as it is, not of its square."""
    asked = 0
    one = Flow._leads_out_and_back

    def counted(flow: Flow, source: str, name: str) -> bool:
        nonlocal asked
        asked += 1
        return one(flow, source, name)

    monkeypatch.setattr(Flow, "_leads_out_and_back", counted)
    steps = "".join(f"- {{step: s{n}, type: wait, for: 1, next: s{n + 1}}}\n" for n in range(1000))
    document = f"{HEAD}workflow:\n{steps.replace('s0,', 'start,', 1)}- {{step: s1000, type: wait, for: 1}}\n"
    assert [found for found in lint(document, "f.yaml") if found.severity == "error"] == []
    assert 0 < asked <= 1001

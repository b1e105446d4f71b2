"""Words of other systems are answered by how the same is said here, wherever they stand."""

from collections import Counter
from collections.abc import Mapping

import pytest

from noetl.playbook.load import lint
from noetl.playbook.read import foreign_words

CODE = "'def main(): return 1'"


def told(text: str) -> str:
    """Return the one problem of a playbook."""
    (found,) = [one for one in lint(text, "f.yaml") if one.severity != "hint"]
    return f"{found.line}:{found.column}: {found.message}"


def step(keys: str) -> str:
    return told(f"metadata: {{path: p}}\nworkflow:\n- {{step: start, {keys}}}\n")


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        (f"type: python, code: {CODE}, depends_on: [a]", "write 'next: this_step' in the steps before it"),
        (f"type: python, code: {CODE}, needs: a", "write 'next: this_step' in the steps before it"),
        (f"type: python, code: {CODE}, upstream: a", "write 'next: this_step' in the steps before it"),
        (f"type: python, code: {CODE}, schedule: '@daily'", "there are no schedules yet: let cron"),
        (f"type: python, code: {CODE}, env: {{A: b}}", "give values by 'args' and secrets by secret('env:NAME')"),
        (f"type: python, code: {CODE}, retry_delay: 5", "write 'retry: {max_attempts: 3, initial_delay: 5s}'"),
        (f"type: python, code: {CODE}, retries: 5", "write 'retry: {max_attempts: 3, initial_delay: 5s}'"),
        (f"type: python, code: {CODE}, timeout-minutes: 5", "write 'timeout: 10m'"),
        (f"type: python, code: {CODE}, continue-on-error: true", "write 'on_error: continue'"),
        (f"type: python, code: {CODE}, forEach: [1]", "write 'loop: {in: \"{{ items }}\", iterator: item}'"),
        (f"type: python, code: {CODE}, with_items: [1]", "write 'loop: {in: \"{{ items }}\", iterator: item}'"),
        (f"type: python, code: {CODE}, inputs: {{a: 1}}", "write 'args'"),
        (f"type: python, code: {CODE}, outputs: [a]", "nothing is declared: the result is there under the step's name"),
        (f"type: python, code: {CODE}, runIf: true", "write the condition as 'when' of the 'next' that leads"),
        (f"type: python, code: {CODE}, if: true", "write the condition as 'when' of the 'next' that leads"),
        (f"type: python, code: {CODE}, taskQueue: q", "write 'pool'"),
        (f"type: python, code: {CODE}, file: main.py", "write the text itself as 'code'"),
        ("type: http, endpoint: x, body: {a: 1}", "write 'payload', which a mapping makes JSON"),
        ("type: http, endpoint: x, json: {a: 1}", "write 'payload', which a mapping makes JSON"),
        ("type: http, endpoint: x, query: {a: 1}", "write 'params', a mapping"),
        ("run: echo hello", "write 'type: shell' and 'command'"),
        ("uses: actions/checkout@v4", "write 'type' with the name of a tool"),
        ("operator: bash", "write 'type' with the name of a tool"),
        ("type: http, endpoint: x, image: i", "it is a field of type container, the keys are args,"),
        ("type: bash, command: ls", "write 'shell'"),
        ("type: switch", "leave it out: the conditions stand in 'next'"),
        ("type: docker, image: i", "write 'container'"),
        (f"type: python, code: {CODE}, retry: {{retries: 3}}", "write 'max_attempts', which counts the first one"),
        (f"type: python, code: {CODE}, retry: {{maximumInterval: 3}}", "write 'max_delay: 60s'"),
        (f"type: python, code: {CODE}, loop: {{in: [1], as: n}}", "write 'iterator'"),
        (f"type: python, code: {CODE}, loop: {{in: [1], maxConcurrency: 3}}", "write 'mode: async' and 'concurrency'"),
        (f"type: python, code: {CODE}, save: {{columns: {{a: 1}}}}", "write 'data'"),
        ("next: [{if: true, step: start}]", "write 'when: \"{{ condition }}\"'"),
        ("next: [{when: true, then: [{step: start, goto: start}]}]", "write 'step'"),
    ],
)
def test_a_key_of_another_system_on_a_step(keys: str, answer: str) -> None:
    assert answer in step(keys)


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("tasks: []", "write 'workflow', a list of steps"),
        ("jobs: {}", "write 'workflow', a list of steps"),
        ("schedule: '0 6 * * *'", "there are no schedules yet: let cron"),
        ("triggers: []", "there are no schedules yet: let cron"),
        ("on: {push: x}", "there are no schedules yet: let cron"),
        ("id: p", "write 'metadata: {path: ..., name: ...}'"),
        ("parameters: {}", "write 'workload', a mapping of names and defaults"),
        ("onExit: x", "write 'finally', a workflow of its own that runs last"),
        ("secrets: []", "name a credential in the 'auth' of the steps that need it"),
        ("StartAt: a", "the entry is the step 'start', else the first one"),
        ("retries: 3", "write 'retry' on each step that needs it"),
    ],
)
def test_a_key_of_another_system_at_the_top(key: str, answer: str) -> None:
    assert answer in told(f"{key}\nmetadata: {{path: p}}\nworkflow: [{{step: start}}]\n")


def test_what_an_unknown_key_holds_is_not_looked_at() -> None:
    """One mistake is one problem."""
    assert "what it gave is there under its name" in step(
        f"type: python, code: {CODE}, vars: {{a: '{{{{ result.x }}}}'}}"
    )


def test_a_misspelt_key_is_told_as_ever() -> None:
    """A word that no other system has either, with the nearest key or with all of them."""
    assert step(f"type: python, code: {CODE}, retri: 3").endswith("(did you mean 'retry'?)")
    assert "the keys are args, auth," in step(f"type: python, code: {CODE}, zzz: 3")


TABLES = [foreign_words._DOCUMENT, foreign_words._STEP, foreign_words._RETRY_WORDS, foreign_words._LOOP,
          foreign_words._CLAUSE, foreign_words._SAVE]  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_no_word_has_two_answers(table: Mapping[str, str]) -> None:
    """In one place, where the later one would count."""
    words = Counter(word for some in table.values() for word in some.split())
    assert [word for word, count in words.items() if count > 1] == []

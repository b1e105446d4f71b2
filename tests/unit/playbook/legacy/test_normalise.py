"""Each older spelling loads, equals the canonical one, and is pointed out at its place.

A file of `spelling/` has three parts: an older playbook, the same in canonical spelling, and the hints.
"""

from pathlib import Path

import pytest
import yaml

from noetl.errors import PlaybookError
from noetl.playbook.load import document_kind, lint, load_playbook
from tests.support.models import told

FILES = sorted((Path(__file__).parent / "spelling").glob("*.yaml"))


def parts(file: Path) -> tuple[str, str, list[str]]:
    older, canonical, hints = file.read_text().split("\n---\n")
    return older + "\n", canonical + "\n", yaml.safe_load(hints)


def hints(text: str) -> list[str]:
    return [
        f"{found.line}:{found.column}: {found.message}" for found in lint(text, "f.yaml") if found.severity == "hint"
    ]


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_an_older_spelling_is_the_canonical_one(file: Path) -> None:
    """The same model, and the catalog sees the same head."""
    older, canonical, _ = parts(file)
    assert told(load_playbook(older, "f.yaml")) == told(load_playbook(canonical, "f.yaml"))
    assert document_kind(older, "f.yaml") == document_kind(canonical, "f.yaml")


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_each_older_word_is_pointed_out_at_its_place(file: Path) -> None:
    """And none in the canonical spelling."""
    older, canonical, expected = parts(file)
    assert hints(older) == expected
    assert hints(canonical) == []


def steps(body: str) -> str:
    book = "workbook: [{name: t, type: python, code: 'def main(): pass'}]"
    return f"metadata: {{path: p}}\n{book}\nworkflow:\n{body}\n"


def once(step: str) -> str:
    """Return what is wrong with a step, which is one thing."""
    step = step.replace("PYTHON", "type: python, code: 'def main(): pass'")
    step = step.replace("OVER", "type: iterator, collection: []")
    found = errors(steps(f"- {{step: s, {step}}}"))
    assert len(found) == 1, found
    return found[0]


def errors(text: str) -> list[str]:
    return [f"{one.line}:{one.column}: {one.message}" for one in lint(text, "f.yaml") if one.severity == "error"]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("PYTHON, args: {}, with: {}", "4:63: step 's' has both 'args' and 'with': leave"),
        ("PYTHON, with: {}, data: {}", "4:63: step 's' has both 'with' and 'data': leave"),
        ("PYTHON, input: {}, with: {}", "has both 'with' and 'input'"),
        ("desc: x, description: y", "step 's' has both 'desc' and 'description'"),
        ("type: http, endpoint: x, url: y", "step 's' has both 'endpoint' and 'url'"),
        ("type: postgres, command: x, sql: y", "step 's' has both 'command' and 'sql'"),
        ("type: postgres, sql: x, query: y", "step 's' has both 'sql' and 'query'"),
        ("type: postgres, sql: x, commands: y", "step 's' has both 'command' and 'commands'"),
        ("PYTHON, code_b64: ''", "step 's' has both 'code' and 'code_b64'"),
        ("type: workbook, task: t, name: t", "step 's' has both 'task' and 'name'"),
        ("type: playbook, path: x, resource_path: x", "step 's' has both 'path' and 'resource_path'"),
        ("type: http, url: x, auth: a, credential: a", "step 's' has both 'auth' and 'credential'"),
        ("type: postgres, sql: x, auth: a, with: {db_host: h}", "step 's' has both 'auth' and 'db_host'"),
        (
            "type: http, url: x, retry: {when: true, retry_when: true}",
            "retry of step 's' has both 'when' and 'retry_when'",
        ),
        ("type: http, url: x, retry: {backoff: 1, backoff_multiplier: 1}", "retry of step 's' has both 'backoff' and"),
        (
            "type: http, url: x, save: {storage: file, type: file, path: a.csv}",
            "save of step 's' has both 'storage' and",
        ),
        (
            "type: http, url: x, save: {storage: {type: file, path: a.csv}, path: b.csv}",
            "save of step 's' has 'path', and so has",
        ),
        ("type: http, url: x, save: {data: 1, args: {}}", "save of step 's' has both 'data' and 'args'"),
        ("type: http, url: x, loop: {in: [], collection: []}", "loop of step 's' has both 'in' and 'collection'"),
        ("next: {step: s, args: {}, with: {}}", "next of step 's' has both 'args' and 'with'"),
        ("next: {when: true, condition: true, step: s}", "next of step 's' has both 'when' and 'condition'"),
        (
            "on_error: [{then: [{step: s, with: {}, data: {}}]}]",
            "a target in on_error of step 's' has both 'with' and 'data'",
        ),
        ("OVER, task: t, loop: {in: []}", "step 's' has both 'type' and 'loop'"),
        (
            "OVER, retry: 2, task: {type: http, url: x, retry: 3}",
            "step 's' has 'retry', and so has the task of step 's': leave one out",
        ),
    ],
)
def test_two_spellings_of_one_thing_are_one_error_that_names_both(step: str, message: str) -> None:
    """At the second of them."""
    assert message in once(step)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("type: python, code_b64: 'a b c'", "4:37: code_b64 of step 's' is no Base64 ('a b c'): encode"),
        ("type: python, code_b64: gICA", "code_b64 of step 's' is Base64 of something that is no UTF-8 text"),
        ("type: python, code_b64: AGE=", "code_b64 of step 's' contains a NUL character"),
        ("type: python, code_b64: 5", "code_b64 of step 's' is 5, not Base64 text"),
        ("type: python, code_b64: '{{ x }}'", "code_b64 of step 's' is no Base64 ('{{ x }}')"),
        ("type: postgres, commands_b64: [c2VsZWN0IDE=, '*']", "4:58: commands_b64 of step 's' is no Base64 ('*')"),
        ("type: python, code_b64: cGFzcw==", "4:37: code of step 's' has no 'def main(...)': the step calls it"),
        (
            "type: python, code_b64: ZGVmIG1haW4oKToKICAgIHJldHVybiAxICsK",
            "4:37: code of step 's': invalid syntax (line 2 of the decoded text)",
        ),
        ("type: postgres, commands_b64: c2VsZWN0IDEKe3sgYSBiIH19", "4:43: commands: expected token"),
        ("type: iterator, task: t", "4:19: step 's' of type iterator has no 'collection': add what it runs over"),
        ("OVER", "4:19: step 's' of type iterator has no 'task': add what is done per item"),
        ("OVER, task: [t]", "the task of step 's' is a list: it must be"),
        ("OVER, task: u", "step 's' names the task 'u', which does not exist"),
        (
            "type: iterator, colection: [], collection: [], task: t",
            "unknown key 'colection' in step 's' (did you mean 'collection'?)",
        ),
        ("OVER, task: {type: http, url: x, next: s}", "the task of step 's' has 'next': it stands on the step itself"),
        (
            "OVER, task: {type: iterator, collection: [], element: e, save: {storage: file}, task: t}",
            "the task of step 's' is an iterator with 'save': write it into its own",
        ),
        ("OVER, element: 5, task: t", "4:54: iterator in loop of step 's' is 5: it must be text"),
        ("OVER, task: {type: http, url: x, urll: y}", "unknown key 'urll' in step 's' of type http"),
        ("pass: '{{ x }}', PYTHON", "4:13: 'pass' of step 's' is '{{ x }}': write it as 'when' of the ways that lead"),
        ("tool: http, type: http, url: x", "step 's' has both 'type' and 'tool'"),
        ("type: postgres, sql: x, auth: {a: {key: k}, b: {key: k}}", "auth of step 's' has no type: a step of type"),
        ("type: postgres, sql: x, auth: {type: postgres, key: k, source: env}", "auth of step 's' has a key"),
        ("url: x", "4:13: step 's' has 'url' but no type: add 'type: http'"),
        ("code_b64: ''", "step 's' has 'code_b64' but no type: add 'type: python'"),
    ],
)
def test_what_is_wrong_with_an_older_spelling_is_told_once(step: str, message: str) -> None:
    """At its place in the file."""
    assert message in once(step)


def test_hints_are_no_findings() -> None:
    """Neither keep they a playbook out, nor are they told when something else does."""
    load_playbook(steps("- {step: s, with: {}}"), "f.yaml")
    with pytest.raises(PlaybookError) as caught:
        load_playbook(steps("- {step: s, with: {}, nxt: s}"), "f.yaml")
    assert [problem.code for problem in caught.value.problems] == ["unknown-key"]
    with pytest.raises(PlaybookError) as caught:
        document_kind("name: 5\npath: p\nsteps: [{step: s, nxt: s}]", "f.yaml")
    assert {problem.severity for problem in caught.value.problems} == {"error"}


def test_of_documents_of_other_kinds_only_the_head_is_looked_at() -> None:
    text = "kind: Dataset\npath: data/x\nsteps: 5\nworkflow: [{with: 1, args: 2, type: iterator}]\n"
    assert document_kind(text, "f.yaml") == ("Dataset", "data/x", "x", "")


@pytest.mark.parametrize(
    "body",
    ["steps: 5", "steps: [5, [a]]", "workbook: 5\nworkflow: {with: 1}", "metadata: 5\npath: p",
     "workflow: [{step: [a], with: 5, next: [5, {then: 5, with: 5}], save: 5, retry: [1], loop: 7}]",
     "workflow: [{step: {a: 1}, type: iterator, collection: {}, element: [], task: {type: iterator, task: 5}}]",
     "workbook: [{task: {}, type: []}, 5]\nworkflow: [{name: 5, type: {}, input: 1}]"],
)  # fmt: skip
def test_what_is_no_playbook_at_all_is_told_by_its_readers(body: str) -> None:
    assert errors(f"{body}\n")


SAMPLES = sorted((Path(__file__).parents[3] / "playbooks").glob("*/today.yaml"))
GENERATIONS = ("first", "second", "third")


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("today", SAMPLES, ids=[file.parent.name for file in SAMPLES])
def test_a_playbook_of_every_generation_is_the_one_of_today(today: Path, generation: str) -> None:
    """Three playbooks in the manner of each generation: nothing but hints is found, and they are the same."""
    older = today.with_name(f"{generation}.yaml").read_text()
    assert told(load_playbook(older, generation)) == told(load_playbook(today.read_text(), "today"))
    assert {found.severity for found in lint(older, generation)} == {"hint"}
    assert lint(today.read_text(), "today") == []
    assert len(SAMPLES) == 3


def test_a_target_that_there_is_not_is_one_error_that_names_both_steps() -> None:
    assert once("next: [{condition: true, step: sss}]").endswith("step 's' leads to 'sss', which does not exist")

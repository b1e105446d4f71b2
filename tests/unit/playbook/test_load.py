"""A playbook's text becomes the model: every key, every spelling, the hash, the order of edges."""

import cProfile
import pstats
from typing import Any

import pytest

from noetl.errors import PlaybookError
from noetl.playbook.lint.result_shapes import returned
from noetl.playbook.lint.template_reads import reads_of
from noetl.playbook.load import content_hash, document_kind, load_playbook, stored_playbook
from noetl.playbook.model import Playbook, Retry, Step
from noetl.playbook.read.python_code import parsed
from noetl.playbook.templates.template import program
from noetl.words import ROUTER

HEAD = "apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {path: a/b}\n"
SCOPE: dict[str, Any] = {"workload": {"n": 5}, "n": 5, "error": {"retryable": True}}


def load(body: str) -> Playbook:
    return load_playbook(HEAD + body, "f.yaml")


def step(body: str) -> Step:
    """Load one step `s`, followed by `t`, a handler `h`, and an `end`."""
    rest = "- step: t\n  next: end\n- step: h\n  next: end\n- step: end\n"
    lines = "".join(f"  {line}\n" for line in body.strip("\n").splitlines())
    return load(f"workflow:\n- step: start\n  next: [s, t, h]\n- step: s\n{lines}{rest}").step("s")


def test_the_whole_of_a_playbook() -> None:
    """Every key of the document lands in the model."""
    playbook = load_playbook(
        """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: The name, path: some/where, description: What for}
workload: {a: "{{ env.X }}", b: [1, {c: "n {{ job.id }}"}]}
timeout: 1h
pool: heavy
priority: 7
labels: {team: data, year: 2026}
tests: []
workflow:
  - step: first
    next: end
  - step: end
    result: {a: "{{ first }}"}
finally:
  - step: clean
    next: report
  - step: report
""",
        "f.yaml",
    )
    assert (playbook.path, playbook.name, playbook.desc) == ("some/where", "The name", "What for")
    assert (playbook.timeout, playbook.pool, playbook.priority) == (3600.0, "heavy", 7)
    assert playbook.labels == {"team": "data", "year": "2026"}
    assert playbook.workload.render({"env": {"X": 1}, "job": {"id": "9"}}) == {"a": 1, "b": [1, {"c": "n 9"}]}
    assert playbook.workflow.entry == "first"
    assert playbook.finally_ is not None
    assert playbook.finally_.entry == "clean"
    assert playbook.step("report").type == ROUTER
    with pytest.raises(KeyError):
        playbook.step("nope")


def test_defaults() -> None:
    """The least that is a playbook."""
    playbook = load_playbook("metadata: {name: x}\nworkflow: [{step: a}]\n", "f.yaml")
    assert (playbook.path, playbook.name, playbook.priority, playbook.pool) == ("x", "x", 0, None)
    assert playbook.workload.render({}) == {}
    assert playbook.finally_ is None
    only = playbook.step("a")
    assert only.is_router
    assert only == Step(name="a", type=ROUTER, line=2)


def test_the_entry_is_start_wherever_it_stands() -> None:
    """Else the first step."""
    assert load("workflow: [{step: x}, {step: start, next: x}]").workflow.entry == "start"
    assert load("workflow: [{step: x, next: y}, {step: y}]").workflow.entry == "x"


@pytest.mark.parametrize("type_", ["", "type: start", "type: noop", "type: route", "type: end"])
def test_router_types(type_: str) -> None:
    """No type, and four words for it."""
    assert step(f"{type_}\nnext: end\nresult: 5").is_router


def test_fields_of_a_type_are_templates_but_code_is_not() -> None:
    """Braces in python code are python's."""
    code = 'def main(**kw):\n    return {"a": {"b": f"{{x}}"}}\n'
    python = step(
        "type: python\nargs: {x: '{{ n }}'}\ncode: |\n" + "".join(f"  {line}\n" for line in code.splitlines())
    )
    assert python.fields is not None
    assert python.fields.render({}) == {"code": code}
    assert python.args is not None
    assert python.args.render(SCOPE) == {"x": 5}
    http = step(
        'type: http\nurl: "{{ n }}/x"\nmethod: post\nheaders: {a: "{{ n }}"}\nparams: "{{ workload }}"\ndata: [1]'
    )
    assert http.fields is not None
    assert http.fields.render(SCOPE) == {
        "method": "post",
        "endpoint": "5/x",
        "headers": {"a": 5},
        "params": {"n": 5},
        "data": [1],
    }


def test_playbook_wait_and_fail() -> None:
    """The control types."""
    child = step("type: playbook\npath: other/one\nversion: 3\nreturn_step: x\nargs: {a: 1}")
    assert child.fields is not None
    assert child.fields.render({}) == {"path": "other/one", "version": 3, "return_step": "x"}
    wait = step("type: wait\nfor: 10m")
    assert wait.fields is not None
    assert wait.fields.render({}) == {"for": "10m"}
    until = step("type: wait\nuntil: 2026-01-31T08:00:00Z")
    assert until.fields is not None
    assert until.fields.render({}) == {"until": "2026-01-31T08:00:00Z"}
    playbook = load("workflow:\n- {step: start, next: f}\n- {step: f, type: fail, message: 'no {{ n }}'}\n")
    fail = playbook.step("f").fields
    assert fail is not None
    assert fail.render(SCOPE) == {"message": "no 5"}
    fail = load("workflow:\n- {step: start, next: f}\n- {step: f, type: fail}\n").step("f").fields
    assert fail is not None
    assert fail.render({}) == {"message": "step 'f' was reached"}


def test_a_workbook_step_becomes_its_task_with_its_own_fields_over_it() -> None:
    """Fields, timeout and retry of the step win; args stay apart, the step's go over the task's."""
    book = """
workbook:
  - name: ask
    type: http
    desc: Asks
    endpoint: "http://x/{{ n }}"
    headers: {a: b}
    args: {x: 1, y: "{{ n }}"}
    timeout: 5s
    retry: 4
  - {name: unused, type: python, code: "def main(): pass"}
workflow:
  - {step: start, next: [one, two]}
  - {step: one, type: workbook, task: ask, args: {x: 2}}
  - {step: two, type: workbook, name: ask, endpoint: "http://y", timeout: 1m, retry: {max_attempts: 2}}
"""
    playbook = load(book)
    one, two = playbook.step("one"), playbook.step("two")
    assert (one.type, one.task, one.retry.max_attempts) == ("http", "ask", 4)
    assert one.fields is not None
    assert one.fields.render(SCOPE) == {"endpoint": "http://x/5", "headers": {"a": "b"}}
    assert one.args is not None
    assert one.args.render({}) == {"x": 2}
    assert one.task_args is not None
    assert one.task_args.render(SCOPE) == {"x": 1, "y": 5}
    assert one.timeout is not None
    assert one.timeout.render({}) == 5.0
    assert two.fields is not None
    assert two.fields.render(SCOPE) == {"endpoint": "http://y", "headers": {"a": "b"}}
    assert two.timeout is not None
    assert (two.timeout.render({}), two.retry.max_attempts) == (60.0, 2)


@pytest.mark.parametrize(
    ("text", "retry"),
    [
        ("", Retry()),
        ("retry: false", Retry()),
        ("retry: true", Retry(max_attempts=3)),
        ("retry: 5", Retry(max_attempts=5)),
        ("retry: 1", Retry(max_attempts=1)),
        ("retry: {}", Retry(max_attempts=3)),
        (
            "retry: {max_attempts: 7, initial_delay: 250ms, backoff: 1.5, max_delay: 1m, jitter: false}",
            Retry(max_attempts=7, initial_delay=0.25, backoff=1.5, max_delay=60.0, jitter=False),
        ),
    ],
)
def test_retry(text: str, retry: Retry) -> None:
    """true is three attempts, a number is attempts in all, a mapping begins from true."""
    assert step(f"type: http\nendpoint: http://x\n{text}").retry == retry


def test_retry_when() -> None:
    """A condition, or a constant."""
    when = step('type: http\nendpoint: http://x\nretry: {when: "{{ error.retryable }}"}').retry.when
    assert when is not None
    assert when.render(SCOPE) is True
    never = step("type: http\nendpoint: http://x\nretry: {when: false}").retry.when
    assert never is not None
    assert never.render({}) is False


def test_timeout_max_visits_and_pool() -> None:
    """A timeout is constant seconds or a template."""
    found = step("type: http\nendpoint: http://x\ntimeout: 1h30m\nmax_visits: 3\npool: gpu")
    assert found.timeout is not None
    assert (found.timeout.render({}), found.max_visits, found.pool) == (5400.0, 3, "gpu")
    later = step('type: http\nendpoint: http://x\ntimeout: "{{ n }}s"')
    assert later.timeout is not None
    assert later.timeout.render(SCOPE) == "5s"


# ---- clauses ---------------------------------------------------------------------------------------------------------


def clauses(text: str) -> list[tuple[Any, list[tuple[str, Any]]]]:
    """Return what `next` of a step says: per clause the condition's value and the targets with their args."""
    return [
        (
            None if clause.when is None else clause.when.render(SCOPE),
            [(edge.target, None if edge.args is None else edge.args.render(SCOPE)) for edge in clause.edges],
        )
        for clause in step(text).next
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("next: t", [(None, [("t", None)])]),
        ("next: [t, h]", [(None, [("t", None)]), (None, [("h", None)])]),
        ("next: {step: t}", [(None, [("t", None)])]),
        ('next: {step: t, args: {a: "{{ n }}"}}', [(None, [("t", {"a": 5})])]),
        ("next: [{step: t}, h]", [(None, [("t", None)]), (None, [("h", None)])]),
        ('next: {when: "{{ n == 5 }}", step: t}', [(True, [("t", None)])]),
        ('next: [{condition: "{{ n == 6 }}", step: t, args: {a: 1}}]', [(False, [("t", {"a": 1})])]),
        ('next: [{when: "{{ n }}", then: t}, {else: h}]', [(5, [("t", None)]), (None, [("h", None)])]),
        ('next: {when: "{{ n }}", then: [t, {step: h, args: {a: 1}}]}', [(5, [("t", None), ("h", {"a": 1})])]),
        ('next: {when: "{{ n }}", then: t, else: [h]}', [(5, [("t", None)]), (None, [("h", None)])]),
        (
            'next: {condition: "{{ n }}", then: [{step: t}], else: {step: h}}',
            [(5, [("t", None)]), (None, [("h", None)])],
        ),
        ("next: [{then: [{step: t}, {step: h}]}]", [(None, [("t", None), ("h", None)])]),
        ("next: {when: true, step: t}", [(True, [("t", None)])]),
        ('next: {when: "{{ n }}", then: []}', [(5, [])]),
        ('next: {when: " {{ n }} ", step: t}', [(5, [("t", None)])]),
        ("next: {then: [t, {step: h, args: {a: 2}}], args: {a: 1}}", [(None, [("t", {"a": 1}), ("h", {"a": 2})])]),
        ('next: {step: t, args: "{{ workload }}"}', [(None, [("t", {"n": 5})])]),
        ("next:", []),
        ("next: []", []),
    ],
)
def test_every_spelling_of_next(text: str, expected: Any) -> None:
    """All of them give the same clauses."""
    assert clauses(text) == expected


def test_on_error_has_the_same_grammar() -> None:
    """Beside `continue`."""
    found = step(
        'type: http\nendpoint: http://x\nnext: t\non_error: [{when: "{{ error.retryable }}", then: h}, {else: end}]'
    )
    assert [[edge.target for edge in clause.edges] for clause in found.on_error] == [["h"], ["end"]]
    assert not found.on_error_continue
    continuing = step("type: http\nendpoint: http://x\nnext: t\non_error: continue")
    assert continuing.on_error_continue
    assert continuing.on_error == ()


def test_edges_are_numbered_through_the_playbook() -> None:
    """Workflow before finally; of a step, next before on_error; in the order of the file."""
    playbook = load(
        "workflow:\n"
        "- {step: a, on_error: h, next: [b, {when: true, then: [c, end]}]}\n"
        "- {step: b, next: end}\n- {step: c, next: end}\n- {step: h, next: end}\n- {step: end}\n"
        "finally:\n- {step: f, next: g}\n- {step: g}\n"
    )
    assert playbook.finally_ is not None
    edges = [
        edge
        for graph in (playbook.workflow, playbook.finally_)
        for found in graph.steps.values()
        for clause in (*found.next, *found.on_error)
        for edge in clause.edges
    ]
    assert [edge.target for edge in edges] == ["b", "c", "end", "h", "end", "end", "end", "g"]
    numbers = [edge.number for edge in edges]
    assert numbers == sorted(set(numbers))
    assert [edge.source for edge in edges[:4]] == ["a"] * 4


# ---- hash and kind ---------------------------------------------------------------------------------------------------


def test_the_hash_leaves_out_line_ends_and_trailing_space() -> None:
    """Nothing else."""
    text = "a: 1\nb: 2\n"
    for same in ("a: 1\r\nb: 2\r\n", "a: 1  \nb: 2", "\ufeffa: 1\nb: 2\n\n\n", "a: 1\nb: 2\t\n"):
        assert content_hash(same) == content_hash(text)
    for other in ("a: 1\n\nb: 2\n", " a: 1\nb: 2\n", "a: 1\nb: 3\n", "b: 2\na: 1\n", "a:  1\nb: 2\n"):
        assert content_hash(other) != content_hash(text)
    assert load("workflow: [{step: a}]").hash == content_hash(HEAD + "workflow: [{step: a}]")


def test_documents_of_other_kinds() -> None:
    """Their head is read, their body is not looked at."""
    text = "kind: Dataset\nmetadata: {path: data/x, name: X, description: d}\nanything: [goes, {here: '{{'}]\n"
    assert document_kind(text, "f.yaml") == ("Dataset", "data/x", "X", "d")
    assert document_kind("metadata: {name: n}\n", "f.yaml") == ("Playbook", "n", "n", "")
    assert document_kind(HEAD, "f.yaml") == ("Playbook", "a/b", "b", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Dataset\n", "there is no metadata"),
        ("kind: Dataset\nmetadata: {description: x}\n", "metadata has no path"),
        ("kind: Dataset\nmetadata: {path: null}\n", "metadata has no path"),
        ("kind: Dataset\nmetadata: {path: a//b}\n", "not usable"),
        ("kind: playbook\nmetadata: {path: a}\n", "did you mean 'Playbook'?"),
        ("kind: 5\nmetadata: {path: a}\n", "kind is 5: it must be text"),
        ("- a\n", "the document is a list: it must be a mapping"),
        ("a: [\n", "invalid YAML"),
    ],
)
def test_a_document_without_a_usable_head(text: str, message: str) -> None:
    """Every kind needs a path in the catalog."""
    with pytest.raises(PlaybookError, match=r"^f\.yaml:") as caught:
        document_kind(text, "f.yaml")
    assert message in str(caught.value)


def test_the_head_of_a_broken_playbook_tells_all_problems() -> None:
    """Registration asks for the kind first; a mistake in the head hides none behind it."""
    text = "kind: Playbook\nmetadata: {pth: a}\nworkflow: [{step: a, nxt: b, next: c}]\n"
    with pytest.raises(PlaybookError) as caught:
        document_kind(text, "f.yaml")
    assert [problem.code for problem in caught.value.problems] == ["missing", "unknown-key", "unknown-key", "dangling"]
    with pytest.raises(PlaybookError) as caught:
        document_kind("kind: Dataset\nmetadata: {pth: a}\nworkflow: 5\n", "f.yaml")
    assert [problem.code for problem in caught.value.problems] == ["missing"]


def large(count: int) -> str:
    """Return a workflow of so many steps with code, conditions and args of their own."""
    steps = "".join(
        f"- step: s{n}\n  type: python\n"
        f"  args: {{a: '{{{{ s{max(n - 1, 0)}.x | default(0) }}}}', b: 'is {{{{ n{n} | default({n}) }}}}'}}\n"
        f"  code: |\n    def main(a, b):\n        return {{'x': {n}}}\n"
        f"  next:\n  - when: '{{{{ s{n}.x > {n} }}}}'\n"
        f"    then: [{{step: s{min(n + 1, count - 1)}, args: {{k: '{{{{ s{n}.x + 1 }}}}'}}}}]\n"
        f"  - else: s{min(n + 2, count - 1)}\n"
        for n in range(count)
    )
    return f"workload: {{n: {count}}}\nworkflow:\n{steps}"


def calls_to_load(count: int) -> int:
    """Return how many function calls it takes to load a playbook of so many steps."""
    for remembered in (program, reads_of, parsed, returned):
        remembered.cache_clear()
    profile = cProfile.Profile()
    playbook = profile.runcall(stored_playbook, HEAD + large(count), "f.yaml")
    assert len(playbook.workflow.steps) == count
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def test_the_work_of_loading_grows_with_the_number_of_steps_and_no_faster() -> None:
    """Counted in function calls: five hundred steps, four times as many as before, take four times the work. What lint
    asks beside that is another matter."""
    assert calls_to_load(500) < 4.4 * calls_to_load(125)

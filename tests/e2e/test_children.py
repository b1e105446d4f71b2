"""A playbook as a step: the child is an execution of its own, and the parent waits for it without a slot."""

from collections.abc import Iterator

import pytest

from noetl.database.connection.connect import Database
from noetl.settings import Settings
from tests.support.playbooks import Lab
from tests.support.working import working


@pytest.fixture(scope="module")
def shared_worker(shared_settings: Settings, shared_database: Database) -> Iterator[Lab]:
    """One slot for all of them: whoever waited in it would wait for ever."""
    with working(shared_settings, slots=1):
        yield Lab(shared_database, shared_settings)


ONE_STEP = '- {step: start, type: python, code: "def main(): return 1"}'


def children(lab: Lab, execution: int) -> list[int]:
    rows = lab.rows(
        "SELECT execution_id FROM execution WHERE parent_execution_id = %s ORDER BY execution_id", execution
    )
    return [row[0] for row in rows]


def test_three_levels_of_children_need_no_more_than_one_slot(lab: Lab) -> None:
    leaf = lab.put("- {step: start, type: python, args: {n: '{{ n }}'}, code: 'def main(n): return {\"n\": n * 2}'}")
    for _ in range(3):
        leaf = lab.put(
            f"""
            - {{step: start, next: [left, right]}}
            - {{step: left, type: playbook, path: {leaf}, args: {{n: "{{{{ n + 1 }}}}"}}, next: end}}
            - {{step: right, type: playbook, path: {leaf}.yaml, args: {{n: "{{{{ n }}}}"}}, next: end}}
            - {{step: end, result: {{n: "{{{{ left.n + right.n }}}}"}}}}
            """
        )
    ended = lab.end(lab.start(leaf, payload={"n": 1}))
    assert (ended.status, ended.result) == ("completed", {"n": 40})
    tree = lab.rows(
        "SELECT status, root_execution_id, parent_node_id FROM execution WHERE root_execution_id = %s",
        ended.execution_id,
    )
    assert len(tree) == 1 + 2 + 4 + 8
    assert {row[0] for row in tree} == {"completed"}
    assert sorted({row[2] or "" for row in tree}) == ["", "left", "right"]


def test_a_child_is_started_by_its_parent_with_its_args_laid_over_the_workload(lab: Lab) -> None:
    child = lab.put(
        """
        workload: {a: child, b: child, c: {x: child}}
        labels: {team: blue}
        workflow:
          - {step: start, next: end}
          - {step: end, result: "{{ workload }}"}
        """
    )
    lab.put("- {step: start, type: fail, message: the newer version}", child)
    ended = lab.run(
        f"""
        - {{step: start, next: {{step: call, args: {{b: way, path_: "{child}"}}}}}}
        - {{step: call, type: playbook, path: "{{{{ path_ }}}}", version: 1, args: {{b: step, c: {{y: 1}}}}}}
        """
    )
    assert ended.status == "completed", ended.error
    assert ended.result == {"a": "child", "b": "way", "c": {"y": 1}}
    (only,) = children(lab, ended.execution_id)
    assert lab.rows("SELECT started_by, labels, version FROM execution WHERE execution_id = %s", only) == [
        (f"execution {ended.execution_id}", {"team": "blue"}, 1)
    ]
    assert lab.facts(only, "context", "event_id = 1")[0]["context"]["parent"] == str(ended.execution_id)


def test_return_step_takes_the_result_of_one_of_the_childs_steps(lab: Lab) -> None:
    child = lab.put(
        """
        - {step: start, type: python, code: "def main(): return {'of': 'start'}", next: [other, end]}
        - {step: other, type: python, code: "def main(): return None", next: end}
        - {step: end, result: {of: end}}
        """
    )
    bodies = [
        f"- {{step: start, type: playbook, path: {child}, return_step: {step}}}" for step in ("start", "other", "none")
    ]
    first, second, third = [lab.end(execution) for execution in [lab.begin(body) for body in bodies]]
    assert (first.status, first.result) == ("completed", {"of": "start"})
    assert (second.status, second.result) == ("completed", None)
    assert third.status == "failed"
    assert third.error["message"] == f"return_step: {child} has no step 'none' that has completed"


def test_a_child_that_fails_fails_the_parents_step_and_another_attempt_starts_another_child(lab: Lab) -> None:
    child = lab.put("- {step: start, type: python, code: 'def main(): raise ValueError(\"deep\")'}")
    ended = lab.run(
        f"""
        - step: start
          type: playbook
          path: {child}
          retry: {{max_attempts: 2, initial_delay: 1ms}}
          on_error: {{step: note, args: {{error: "{{{{ error }}}}"}}}}
        - {{step: note, type: python, code: "def main(error): return error"}}
        """
    )
    assert ended.status == "completed", ended.error
    first, second = children(lab, ended.execution_id)
    error = ended.result
    assert (error["type"], error["attempt"], error["step"]) == ("playbook", 2, "start")
    assert error["message"].startswith(f"child execution {second} of {child} failed: ")
    assert "deep" in error["message"]
    assert error["detail"]["execution_id"] == str(second)
    assert error["detail"]["error"]["type"] == "python"
    assert [row[2] for row in lab.errors(ended.execution_id)] == [1, 2]
    assert lab.status(first) == "failed"


def test_what_cannot_be_started_fails_the_step_with_one_sentence(lab: Lab) -> None:
    known = lab.put("- {step: start}")
    other = lab.register(f"apiVersion: noetl.io/v1\nkind: Credential\nmetadata: {{path: {known}_credential}}\n")
    cases = {
        "path: no/such": "there is no playbook no/such in the catalog: register it first",
        f"path: {known}, version: 7": f"there is no playbook {known} version 7 in the catalog: register it first",
        f"path: {known}, version: '{{{{ [1] }}}}'": "version: [1] is no version: write a number like 3",
        f"path: {known}, version: 99999999999": (
            f"there is no playbook {known!r} version 99999999999 in the catalog: register it first"
        ),
        f"path: {other}": f"{other} is a Credential, and only a Playbook can be executed",
        f"path: {known}, return_step: '{{{{ [1] }}}}'": (
            "return_step: [1] is no step: write the name of one of the child's steps"
        ),
        f'path: {known}, return_step: "a\\nb"': (
            "return_step: 'a\\nb' is no step: write the name of one of the child's steps"
        ),
        "path: '{{ none }}'": "path: None is no path: write the path of a playbook in the catalog",
    }
    started = [lab.begin(f"- {{step: start, type: playbook, {fields}}}") for fields in cases]
    ended = [lab.end(execution) for execution in started]
    assert [one.status for one in ended] == ["failed"] * len(cases)
    assert [one.error["message"] for one in ended] == list(cases.values())
    assert [children(lab, execution) for execution in started] == [[]] * len(cases)


def test_a_playbook_that_calls_itself_without_end_fails_and_says_so(lab: Lab) -> None:
    path = "test/endless"
    lab.put(f"- {{step: start, type: playbook, path: {path}}}", path)
    ended = lab.end(lab.start(path), limit=60.0)
    assert ended.status == "failed"
    assert "playbooks call each other 50 deep: does test/endless call itself?" in ended.error["message"]
    assert len(ended.error["message"]) < 1000
    counted = lab.rows(
        "SELECT status, count(*) FROM execution WHERE root_execution_id = %s GROUP BY status", ended.execution_id
    )
    assert counted == [("failed", 51)]


SLOW_CHILD = """
    workflow:
      - {step: start, type: wait, for: 1h}
    finally:
      - {step: tidy, type: python, code: "def main(): return 'tidied'"}
"""


def test_a_cancelled_parent_cancels_its_children_and_theirs(lab: Lab) -> None:
    grandchild = lab.put(SLOW_CHILD)
    child = lab.put(f"- {{step: start, type: playbook, path: {grandchild}}}")
    parent = lab.begin(f"- {{step: start, type: playbook, path: {child}}}")
    lab.until(lambda: children(lab, parent) and children(lab, children(lab, parent)[0]))
    (middle,) = children(lab, parent)
    (lowest,) = children(lab, middle)
    lab.orchestrator.cancel(parent, by="a test")
    top, *below = [lab.end(execution, limit=2.0) for execution in (parent, middle, lowest)]
    assert (top.status, top.error["message"]) == ("cancelled", "cancelled by a test")
    assert [one.status for one in below] == ["cancelled", "cancelled"]
    assert [one.error["message"] for one in below] == ["cancelled by parent: the parent execution was cancelled"] * 2
    assert "step_completed tidy" in below[1].events


def test_a_child_that_takes_longer_than_the_steps_timeout_is_cancelled(lab: Lab) -> None:
    slow, quick = lab.put(SLOW_CHILD), lab.put(ONE_STEP)
    late = lab.begin(
        f"""
        - step: start
          type: playbook
          path: {slow}
          timeout: 50ms
          retry: {{max_attempts: 2, initial_delay: 1ms}}
        """
    )
    soon = lab.run(f"- {{step: start, type: playbook, path: {quick}, timeout: 1h}}")
    assert (soon.status, soon.result) == ("completed", 1)
    ended = lab.end(late)
    assert (ended.status, ended.error["type"], ended.error["attempt"]) == ("failed", "timeout", 2)
    assert [lab.end(child, limit=5.0).status for child in children(lab, late)] == ["cancelled", "cancelled"]


def test_a_failing_parent_cancels_its_children_too(lab: Lab) -> None:
    child = lab.put(SLOW_CHILD)
    parent = lab.run(
        f"""
        - {{step: start, next: [call, breaks]}}
        - {{step: call, type: playbook, path: {child}}}
        - {{step: breaks, type: wait, for: 300ms, next: stop}}
        - {{step: stop, type: fail, message: enough}}
        """
    )
    assert (parent.status, parent.error["message"]) == ("failed", "enough")
    (only,) = children(lab, parent.execution_id)
    assert lab.end(only, limit=2.0).status == "cancelled"


def test_a_child_never_starts_where_a_sibling_fails_in_the_same_moment(lab: Lab) -> None:
    child = lab.put(SLOW_CHILD)
    path = lab.put(
        f"""
        - {{step: start, next: [call, breaks]}}
        - {{step: call, type: playbook, path: {child}}}
        - {{step: breaks, type: python, args: {{a: "{{{{ workload.missing }}}}"}}, code: "def main(a): return a"}}
        """
    )
    started = [lab.start(path) for _ in range(10)]
    ended = [lab.end(execution) for execution in started]
    assert {one.status for one in ended} == {"failed"}
    for execution in started:
        for one in children(lab, execution):
            assert lab.end(one).status == "cancelled"
    orphans = lab.rows("SELECT node_id FROM queue LEFT JOIN execution USING (execution_id) WHERE path IS NULL")
    assert orphans == []


def test_a_child_that_has_ended_before_its_parent_waits_wakes_it_at_once(lab: Lab) -> None:
    child = lab.put("- {step: start, next: end}\n- {step: end, result: at once}")
    ended = lab.run(f"- {{step: start, type: playbook, path: {child}}}")
    assert (ended.status, ended.result) == ("completed", "at once")
    broken = lab.put("- {step: start, type: fail, message: at once}")
    ended = lab.run(f"- {{step: start, type: playbook, path: {broken}}}")
    assert ended.error["message"].endswith("failed: at once")


def test_a_child_that_ends_late_does_not_shorten_the_pause_before_the_next_attempt(lab: Lab) -> None:
    """It was given up and cancelled: its end is none of the business of a job that waits for something else."""
    parent = lab.begin(
        f"""
        - step: start
          type: playbook
          path: {lab.put(SLOW_CHILD)}
          timeout: 50ms
          retry: {{max_attempts: 2, initial_delay: 1h, max_delay: 1h, jitter: false}}
        """
    )
    lab.until(lambda: children(lab, parent))
    (child,) = children(lab, parent)
    assert lab.end(child).status == "cancelled"
    late = "SELECT status, available_at > clock_timestamp() + interval '50 min' FROM queue WHERE execution_id = %s"
    assert lab.rows(late, parent) == [("waiting", True)]
    assert lab.orchestrator.cancel(parent) == "cancelled"

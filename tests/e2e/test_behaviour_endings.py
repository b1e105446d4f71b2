"""How executions end: `finally`, cancel, and failures beside them. All of it runs with and without notifications."""

import pytest

from tests.support.playbooks import Lab


@pytest.fixture(scope="module", params=[True, False], ids=["notified", "polling"])
def notified(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


FINALLY = """
    workload: {do: complete}
    workflow:
      - step: start
        next:
          - {when: "{{ workload.do == 'fail' }}", then: [breaks]}
          - {when: "{{ workload.do == 'cancel' }}", then: [waits]}
          - {else: [works]}
      - {step: breaks, type: fail, message: as asked}
      - {step: waits, type: wait, for: 1h}
      - {step: works, type: python, code: "def main(): return {'made': 7}", next: end}
      - {step: end, result: "{{ works.made }}"}
    finally:
      - step: tidy
        type: python
        args:
          status: "{{ status }}"
          error: "{{ error.type if error else none }}"
          result: "{{ result }}"
          made: "{{ works.made | default(none) }}"
        code: "def main(**told): return told"
        next: [after]
      - {step: after, type: python, args: {got: "{{ tidy }}"}, code: "def main(got): return got"}
"""


def test_finally_runs_after_success_failure_and_cancel_and_the_terminal_event_is_last(lab: Lab) -> None:
    path = lab.put(FINALLY)
    started = {do: lab.start(path, payload={"do": do}) for do in ("complete", "fail", "cancel")}
    lab.orchestrator.cancel(started["cancel"], by="a test", reason="enough")
    ended = {do: lab.end(execution) for do, execution in started.items()}
    told = {
        do: lab.facts(execution, "result", "event_type = 'step_completed' AND node_id = 'after'")[0]["result"]
        for do, execution in started.items()
    }
    assert told == {
        "complete": {"status": "completed", "error": None, "result": 7, "made": 7},
        "fail": {"status": "failed", "error": "fail", "result": None, "made": None},
        "cancel": {"status": "cancelled", "error": "cancelled", "result": None, "made": None},
    }
    assert {do: (one.status, one.result) for do, one in ended.items()} == {
        "complete": ("completed", 7),
        "fail": ("failed", None),
        "cancel": ("cancelled", None),
    }
    assert ended["cancel"].error["message"] == "cancelled by a test: enough"
    for one in ended.values():
        assert one.events.count("execution_finishing") == 1
        assert one.events[-1] in ("execution_complete", "execution_failed", "execution_cancelled")


def test_a_failing_finally_fails_what_had_completed_and_is_recorded_otherwise(lab: Lab) -> None:
    body = """
        workload: {fail: false}
        workflow:
          - {step: start, next: [{when: "{{ workload.fail }}", then: [stop]}, {else: [end]}]}
          - {step: stop, type: fail, message: first}
          - {step: end, result: 1}
        finally:
          - {step: tidy, type: python, code: "def main(): raise OSError('disk')"}
        """
    path = lab.put(body)
    whole, broken = (lab.end(lab.start(path, payload={"fail": fail})) for fail in (False, True))
    assert (whole.status, whole.error["step"], whole.result) == ("failed", "tidy", None)
    assert (broken.status, broken.error["message"]) == ("failed", "first")
    for one in (whole, broken):
        terminal = lab.facts(one.execution_id, "meta", "event_type = 'execution_failed'")[0]
        failed = lab.facts(one.execution_id, "event_id", "event_type = 'step_failed' AND node_id = 'tidy'")[0]
        assert terminal["meta"] == {"finally_failed": failed["event_id"]}


def test_a_second_cancel_ends_finally(lab: Lab) -> None:
    execution = lab.begin(
        """
        workflow:
          - {step: start, type: wait, for: 1h}
        finally:
          - {step: tidy, type: wait, for: 1h, next: more}
          - {step: more, type: fail, message: reached}
        """
    )
    lab.orchestrator.cancel(execution, by="one")
    lab.until(lambda: "step_queued tidy" in lab.events(execution))
    assert lab.status(execution) == "finishing"
    lab.orchestrator.cancel(execution, by="two")
    ended = lab.end(execution, limit=2.0)
    assert ended.status == "cancelled"
    assert ended.error["message"] == "cancelled by one"
    assert ended.events[-3:] == ["execution_cancel_requested", "step_skipped tidy", "execution_cancelled"]
    assert lab.orchestrator.cancel(execution, by="three") == "cancelled", "what has ended stays as it is"


FOREVER = r'"import time\ndef main(): time.sleep(3600)"'


def test_a_cancel_of_what_is_failing_or_finishing_kills_what_still_runs(lab: Lab) -> None:
    failing = lab.begin(
        f"""
        - {{step: start, next: [breaks, runs]}}
        - {{step: breaks, type: wait, for: 1ms, next: stop}}
        - {{step: stop, type: fail, message: first}}
        - {{step: runs, type: python, code: {FOREVER}}}
        """
    )
    finishing = lab.begin(
        f"""
        workflow:
          - {{step: start}}
        finally:
          - {{step: runs, type: python, code: {FOREVER}}}
        """
    )
    lab.until(lambda: lab.status(failing) == "failing" and "step_queued runs" in lab.events(finishing))
    lab.orchestrator.cancel(failing, by="one")
    lab.orchestrator.cancel(finishing, by="one")
    lab.orchestrator.cancel(finishing, by="two")
    ended = [lab.end(failing, limit=2.0), lab.end(finishing, limit=2.0)]
    assert [(one.status, one.error["message"]) for one in ended] == [
        ("failed", "first"),
        ("cancelled", "cancelled by two"),
    ]
    assert all("step_cancelled runs" in one.events for one in ended)


def test_cancel_reaches_queued_waiting_and_running_work_within_two_seconds(lab: Lab) -> None:
    execution = lab.begin(
        f"""
        - {{step: start, next: [waits, retries, runs]}}
        - {{step: waits, type: wait, for: 1h}}
        - step: retries
          type: python
          code: "def main(): raise ValueError()"
          retry: {{max_attempts: 2, initial_delay: 1h}}
        - {{step: runs, type: python, code: {FOREVER}}}
        """
    )
    queued = lab.begin("- {step: start, type: python, pool: nobody, code: 'def main(): return 1'}")
    lab.until(
        lambda: (
            "attempt_failed retries" in lab.events(execution)
            and lab.one("SELECT count(*) FROM queue WHERE execution_id = %s AND status = 'leased'", execution) == 1
        )
    )
    lab.orchestrator.cancel(queued, by="a test")
    lab.orchestrator.cancel(execution, by="a test")
    ended, other = lab.end(execution, limit=2.0), lab.end(queued, limit=0.1)
    assert (ended.status, other.status) == ("cancelled", "cancelled")
    assert sorted(ended.events[-4:]) == [
        "execution_cancelled",
        "step_cancelled runs",
        "step_skipped retries",
        "step_skipped waits",
    ]
    assert ended.events[-2:] == ["step_cancelled runs", "execution_cancelled"]


def test_finally_is_a_workflow_of_its_own_with_branches_handlers_and_a_join(lab: Lab) -> None:
    ended = lab.run(
        """
        workflow:
          - {step: start, next: end}
          - {step: end, result: {whole: true}}
        finally:
          - {step: first, next: [left, right]}
          - {step: left, type: python, code: "def main(): raise OSError('left')", on_error: mend, next: last}
          - {step: mend, type: python, args: {e: "{{ error.message }}"}, code: "def main(e): return e", next: last}
          - {step: right, type: wait, for: 10ms, next: last}
          - step: last
            type: python
            args: {mended: "{{ mend }}", whole: "{{ result.whole }}"}
            code: "def main(mended, whole): return [mended, whole]"
        """
    )
    assert (ended.status, ended.result) == ("completed", {"whole": True}), ended.error
    assert ended.visits("last") == 1
    told = lab.facts(ended.execution_id, "result", "node_id = 'last' AND result IS NOT NULL")
    assert told == [{"result": ["OSError: left", True]}]


def test_a_failure_in_finally_skips_what_has_not_begun_of_it(lab: Lab) -> None:
    ended = lab.run(
        """
        workflow:
          - {step: start}
        finally:
          - {step: first, next: [breaks, waits]}
          - {step: breaks, type: python, code: "def main(): raise OSError('x')"}
          - {step: waits, type: wait, for: 1h, next: never}
          - {step: never, type: fail, message: reached}
        """
    )
    assert (ended.status, ended.error["step"]) == ("failed", "breaks")
    skipped = lab.facts(ended.execution_id, "node_id, meta", "event_type = 'step_skipped'")
    assert skipped == [{"node_id": "waits", "meta": {"reason": "the finally workflow had failed"}}]


def test_a_cancel_meets_a_chain_of_routers_that_goes_on_for_ever(lab: Lab) -> None:
    execution = lab.begin(
        """
        - {step: start, next: turn}
        - {step: turn, max_visits: 100000000, next: [{when: "{{ true }}", then: [turn]}]}
        """
    )
    lab.until(lambda: "step_queued $continue" in lab.events(execution))
    lab.orchestrator.cancel(execution, by="a test")
    assert lab.end(execution, limit=5.0).status == "cancelled"

"""How playbooks run: routing, joins, handlers, endings. Everything here runs with and without notifications."""

import pytest

from tests.support.playbooks import Lab
from tests.support.stub import serving


@pytest.fixture(scope="module", params=[True, False], ids=["notified", "polling"])
def notified(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_diamond_joins_once_with_the_args_of_both_branches(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, next: [left, right]}
        - {step: left, type: python, code: "def main(): return 1", next: {step: both, args: {a: "{{ left }}", c: 1}}}
        - {step: right, type: python, code: "def main(): return 2", next: {step: both, args: {b: "{{ right }}", c: 2}}}
        - {step: both, type: python, code: "def main(a, b, c): return [a, b, c]", next: end}
        - {step: end}
        """
    )
    assert (ended.status, ended.result) == ("completed", [1, 2, 2])
    assert ended.visits("both") == ended.visits("end") == 1


def test_a_join_waits_for_the_longer_branch_and_end_for_all(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, next: [quick, slow_one]}
        - {step: quick, type: python, code: "def main(): return 'q'", next: [both, end]}
        - {step: slow_one, type: wait, for: 50ms, next: slow_two}
        - {step: slow_two, type: python, code: "def main(): return 's'", next: both}
        - {step: both, type: python, args: {got: ["{{ quick }}", "{{ slow_two }}"]}, code: "def main(got): return got",
           next: end}
        - {step: end, result: "{{ both }}"}
        """
    )
    assert (ended.status, ended.result) == ("completed", ["q", "s"])
    assert ended.events[-2:] == ["step_completed end", "execution_complete"]


def test_an_exclusive_choice_takes_one_way_and_its_join_does_not_wait_for_the_other(lab: Lab) -> None:
    body = """
        workload: {n: 0}
        workflow:
          - step: start
            next:
              - {when: "{{ workload.n > 10 }}", then: [{step: high, args: {said: high}}]}
              - {when: "{{ workload.n < 0 }}", step: low}
              - {else: [middle]}
          - {step: high, type: python, code: "def main(said): return said", next: after}
          - {step: low, type: python, code: "def main(): return 'low'", next: after}
          - {step: middle, type: python, code: "def main(): return 'middle'", next: after}
          - step: after
            type: python
            args: {got: "{{ high | default(low) | default(middle) }}"}
            code: "def main(got): return got"
            next: end
          - {step: end}
        """
    path = lab.put(body)
    started = [lab.start(path, payload={"n": n}) for n in (11, -1, 5)]
    ended = [lab.end(execution) for execution in started]
    assert [(one.status, one.result) for one in ended] == [
        ("completed", "high"),
        ("completed", "low"),
        ("completed", "middle"),
    ]
    assert [len(one.events) for one in ended] == [8, 8, 8]


def test_every_true_clause_is_followed_and_two_ways_to_one_step_are_one_arrival(lab: Lab) -> None:
    ended = lab.run(
        """
        - step: start
          next:
            - {when: "{{ true }}", then: [{step: a, args: {from_: first}}, b]}
            - {when: "{{ 1 == 1 }}", then: [{step: a, args: {from_: second}}]}
            - {when: "{{ [] }}", then: [never]}
            - {else: [never]}
        - {step: a, type: python, code: "def main(from_): return from_"}
        - {step: b, type: python, code: "def main(): return 2"}
        - {step: never, type: fail, message: reached}
        """
    )
    assert ended.status == "completed"
    assert (ended.visits("a"), ended.visits("b")) == (1, 1)
    assert ended.result == 2, "the last leaf in the playbook's order"
    assert lab.facts(ended.execution_id, "meta", "node_id = 'start'")[0]["meta"]["next"] == [
        {
            "clause": 0,
            "when": True,
            "to": [{"edge": 1, "step": "a", "args": {"from_": "first"}}, {"edge": 2, "step": "b"}],
        },
        {"clause": 1, "when": True},
        {"clause": 2, "when": False},
        {"clause": 3},
    ]


def test_paging_by_name_stores_every_page_and_ends_once(lab: Lab) -> None:
    with serving({"/pages": lambda asked: _page(int(dict(asked["query"])["page"]))}) as stub:
        ended = lab.run(
            """
            workload: {url: ""}
            workflow:
              - {step: start, next: {step: fetch, args: {page: 1}}}
              - step: fetch
                type: http
                url: "{{ workload.url }}/pages"
                params: {page: "{{ page }}"}
                next:
                  - when: "{{ fetch.data.next }}"
                    then:
                      - {step: fetch, args: {page: "{{ fetch.data.next }}"}}
                      - {step: store, args: {got: "{{ fetch.data.items }}"}}
                  - else: [{step: store, args: {got: "{{ fetch.data.items }}"}}]
              - step: store
                type: python
                args: {before: "{{ store | default([]) }}"}
                code: "def main(got, before): return before + got"
                next: end
              - {step: end, result: "{{ store }}"}
            """,
            payload={"url": stub.url},
        )
    assert ended.status == "completed", ended.error
    assert ended.result == [f"{page}.{n}" for page in range(1, 6) for n in range(2)]
    assert (ended.visits("fetch"), ended.visits("store"), ended.visits("end")) == (5, 5, 1)
    keys = [asked["headers"].get("idempotency-key") for asked in stub.asked]
    assert keys == [None] * 5, "GET needs none"


def _page(page: int) -> dict[str, object]:
    return {"items": [f"{page}.{n}" for n in range(2)], "next": page + 1 if page < 5 else None}


def test_polling_comes_back_to_itself_until_it_is_done(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, next: {step: look, args: {seen: 0}}}
        - step: look
          type: python
          code: "def main(seen): return seen + 1"
          next:
            - {when: "{{ look < 4 }}", then: [{step: rest, args: {seen: "{{ look }}"}}]}
            - {else: [end]}
        - {step: rest, type: wait, for: 1ms, next: {step: look, args: {seen: "{{ seen }}"}}}
        - {step: end, result: "{{ look }}"}
        """
    )
    assert (ended.status, ended.result, ended.visits("look")) == ("completed", 4, 4)


def test_a_handler_runs_once_for_each_failure_and_waits_for_nobody(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, next: [one, two, slow]}
        - {step: one, type: python, code: "def main(): raise ValueError('first')", on_error: note, next: end}
        - {step: two, type: python, code: "def main(): raise KeyError('second')", on_error: note, next: end}
        - {step: slow, type: wait, for: 300ms, next: end}
        - step: note
          type: python
          args: {error: "{{ error }}", before: "{{ note | default([]) }}"}
          code: "def main(error, before): return before + [[error['step'], error['type'], error['attempt']]]"
          next: end
        - {step: end, result: "{{ note }}"}
        """
    )
    assert ended.status == "completed", ended.error
    assert sorted(ended.result) == [["one", "python", 1], ["two", "python", 1]]
    assert ended.events.index("step_completed slow") > max(
        place for place, event in enumerate(ended.events) if event == "step_completed note"
    )
    assert len(lab.errors(ended.execution_id)) == 2, "a failure is logged, handled or not"


def test_on_error_continue_goes_on_with_next(lab: Lab) -> None:
    ended = lab.run(
        """
        - step: start
          type: python
          code: "def main(): raise ValueError('so be it')"
          on_error: continue
          next:
            - {when: "{{ error is defined }}", then: [{step: end, args: {why: "{{ error.message }}"}}]}
            - {else: [{step: end, args: {why: none}}]}
        - {step: end, result: {why: "{{ why }}", has_result: "{{ start is defined }}"}}
        """
    )
    assert ended.status == "completed", ended.error
    assert "so be it" in ended.result["why"]
    assert ended.result["has_result"] is False
    assert "step_failed start" in ended.events


def test_fail_makes_the_execution_fail_after_its_handler_chain(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, type: python, code: "def main(): raise ValueError('broken')", on_error: tell, next: end}
        - {step: tell, type: python, args: {what: "{{ error.message }}"}, code: "def main(what): return what.upper()",
           next: stop}
        - {step: stop, type: fail, message: "{{ error.step }} said {{ tell }}"}
        - {step: end}
        """
    )
    assert ended.status == "failed"
    assert ended.error["type"] == "fail"
    assert ended.error["step"] == "stop"
    assert ended.error["message"].startswith("start said ")
    assert "BROKEN" in ended.error["message"]
    assert ended.events[-3:] == ["step_failed stop", "execution_failing", "execution_failed"]


def test_an_unhandled_failure_lets_running_attempts_finish_and_skips_what_has_not_begun(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, next: [breaks, works, waits]}
        - {step: breaks, type: wait, for: 100ms, next: raises}
        - {step: raises, type: python, code: "def main(): raise ValueError('no')"}
        - step: works
          type: python
          code: |
            import time
            def main():
                time.sleep(1.0)
                return "done"
          next: never
        - {step: waits, type: wait, for: 1h, next: never}
        - {step: never, type: fail, message: reached}
        """
    )
    assert ended.status == "failed"
    assert (ended.error["type"], ended.error["step"]) == ("python", "raises")
    for event in ("step_completed works", "step_skipped waits"):
        assert event in ended.events
    assert "step_queued never" not in ended.events
    skipped = lab.facts(ended.execution_id, "meta", "node_id = 'waits' AND event_type = 'step_skipped'")
    assert skipped[0]["meta"]["reason"] == "the execution was failing"


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


def test_max_visits_ends_an_endless_cycle_with_the_steps_name(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, next: again}
        - step: again
          type: python
          code: "def main(): return 1"
          max_visits: 3
          on_error: continue
          next: [{when: "{{ true }}", then: [again]}]
        """
    )
    assert ended.status == "failed"
    assert ended.visits("again") == 3
    assert ended.error["type"] == "max_visits"
    assert ended.error["message"] == "step 'again' would begin visit 4, its max_visits is 3"


def test_a_chain_of_more_than_a_thousand_routers_goes_on_through_the_queue(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, next: {step: turn, args: {n: 0}}}
        - step: turn
          next:
            - {when: "{{ n < 2300 }}", then: [{step: turn, args: {n: "{{ n + 1 }}"}}]}
            - {else: [{step: end, args: {n: "{{ n }}"}}]}
        - {step: end, result: "{{ n }}"}
        """
    )
    assert (ended.status, ended.result, ended.visits("turn")) == ("completed", 2300, 2301)
    assert ended.visits("$continue") == 2


def test_a_cycle_with_a_join_in_it_goes_round_and_joins_each_time(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, next: {step: fork, args: {n: 0}}}
        - {step: fork, next: [{step: a, args: {n: "{{ n }}"}}, {step: b, args: {n: "{{ n }}"}}]}
        - {step: a, type: python, code: "def main(n): return n + 1", next: {step: both, args: {a: "{{ a }}"}}}
        - {step: b, type: wait, for: 1ms, next: both}
        - step: both
          type: python
          code: "def main(a): return a"
          next: [{when: "{{ both < 3 }}", then: [{step: fork, args: {n: "{{ both }}"}}]}, {else: [end]}]
        - {step: end, result: "{{ both }}"}
        """
    )
    assert (ended.status, ended.result) == ("completed", 3), ended.error
    assert [ended.visits(step) for step in ("fork", "a", "b", "both", "end")] == [3, 3, 3, 3, 1]


def test_a_handler_may_lead_back_and_try_again(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, next: {step: work, args: {n: 0}}}
        - step: work
          type: python
          code: |
            def main(n):
                if n < 2:
                    raise RuntimeError(f"not with {n}")
                return n
          on_error: {step: mend, args: {n: "{{ n }}"}}
          next: end
        - {step: mend, type: python, code: "def main(n): return n + 1", next: {step: work, args: {n: "{{ mend }}"}}}
        - {step: end, result: "{{ work }}"}
        """
    )
    assert (ended.status, ended.result) == ("completed", 2), ended.error
    assert ended.events.count("step_failed work") == ended.visits("mend") == 2


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


def test_an_execution_that_ends_at_its_start_is_whole(lab: Lab) -> None:
    done = lab.begin("- {step: start, next: end}\n- {step: end, result: '{{ a }}'}", payload={"a": 1})
    broken = lab.start(lab.put("- {step: start, type: fail, message: at once}"))
    tidied = lab.run(
        """
        workflow: [{step: start, type: fail, message: at once}]
        finally: [{step: tidy, type: python, code: "def main(): return 1"}]
        """
    )
    assert (lab.status(done), lab.result(done)) == ("completed", 1)
    assert (lab.status(broken), lab.error(broken)["message"]) == ("failed", "at once")
    assert (tidied.status, tidied.visits("tidy")) == ("failed", 1)


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


def test_a_workbook_task_is_reused_with_precedence_transition_step_task(lab: Lab) -> None:
    ended = lab.run(
        """
        workbook:
          - name: tell
            type: python
            args: {a: task, b: task, c: task}
            code: "def main(a, b, c): return [a, b, c]"
        workflow:
          - {step: start, next: {step: first, args: {a: way}}}
          - {step: first, type: workbook, task: tell, args: {a: step, b: step}, next: second}
          - {step: second, type: workbook, task: tell, args: {b: "{{ first[0] }}"}, next: end}
          - {step: end, result: ["{{ first }}", "{{ second }}"]}
        """
    )
    assert ended.status == "completed", ended.error
    assert ended.result == [["way", "step", "task"], ["task", "way", "task"]]
    assert lab.facts(ended.execution_id, "node_type", "event_type = 'step_completed' AND node_id = 'first'") == [
        {"node_type": "python"}
    ]


ROUTING_ERROR = """
    - step: start
      type: python
      code: "def main(): return dict(n=1)"
      retry: 3
      next: [{when: "{{ start.m > 1 }}", then: [note]}]
      on_error: ON_ERROR
    - step: note
      type: python
      args: {phase: "{{ error.phase | default(none) }}", kept: "{{ start.n }}"}
      code: "def main(**told): return told"
"""


def test_an_error_in_a_condition_fails_the_source_with_its_result_kept(lab: Lab) -> None:
    unhandled = lab.run(ROUTING_ERROR.replace("ON_ERROR", "[]"))
    handled = lab.run(ROUTING_ERROR.replace("ON_ERROR", "note"))
    assert unhandled.status == "failed"
    assert (unhandled.error["type"], unhandled.error["phase"]) == ("template", "routing")
    assert "attempt_failed start" not in unhandled.events, "another attempt would only meet it again"
    for word in ("start", "next.when", "{{ start.m > 1 }}", "'m'"):
        assert word in unhandled.error["message"]
    assert (handled.status, handled.result) == ("completed", {"phase": "routing", "kept": 1})

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

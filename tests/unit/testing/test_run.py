"""Tests of playbooks run on the real engine: stubs, real code, virtual time, children, cancel, `finally`."""

from datetime import UTC, datetime

import pytest

from tests.support.trials import Trials, result_of
from tests.unit.testing.playbooks import ASK, CHILD

PAGES = """
- step: start
  type: http
  endpoint: http://127.0.0.1:1/
  args: {page: "{{ start.next | default(1) }}"}
  next:
    - when: "{{ start.next }}"
      then: start
    - else: end
- step: end
  result: "{{ start.next }}"
"""
WAIT = """
- step: start
  type: wait
  for: 30d
  next: end
- step: end
  result: {until: "{{ start.until }}", now: "{{ now() }}"}
"""
PARENT = """
- step: start
  type: playbook
  path: test/child
  args: {name: Ada}
  next: end
- step: end
  result: "{{ start }}"
"""

# ---- stubs -----------------------------------------------------------------------------------------------------------


def test_a_stub_answers_every_call_of_its_step_or_of_its_type(trials: Trials) -> None:
    assert result_of(trials.passes(ASK, "stubs: {start: {result: 7}}")) == 7
    assert result_of(trials.passes(ASK, "stubs: {http: {result: 8}}")) == 8


def test_the_stub_of_a_step_stands_before_that_of_its_type(trials: Trials) -> None:
    assert result_of(trials.passes(ASK, "stubs: {http: {result: 8}, start: {result: 7}}")) == 7


def test_a_list_answers_one_call_after_the_other(trials: Trials) -> None:
    stub = "stubs: {start: [{result: {next: 2}}, {result: {next: 3}, times: 2}, {result: {next: null}}]}"
    tested = trials.passes(PAGES, stub)
    assert [call.args["page"] for call in tested.run.calls] == [1, 2, 3, 3]


def test_a_list_that_is_used_up_says_so(trials: Trials) -> None:
    why = trials.fails(PAGES, "stubs: {start: [{result: {next: 2}}]}")
    assert "the stub of step 'start' (type http, visit 2) has no answer left for a call with args {'page': 2}" in why
    assert "when: true" in why


def test_when_looks_at_args_and_fields_and_answers_as_often_as_it_holds(trials: Trials) -> None:
    stub = """
        stubs:
          start:
            - when: "{{ args.page < 3 and fields.endpoint }}"
              render: {next: "{{ args.page + 1 }}", page: "{{ visit }}"}
            - when: true
              result: {next: null}
    """
    tested = trials.passes(PAGES, stub)
    assert [taken.result for taken in tested.run.path[:3]] == [
        {"next": 2, "page": 1},
        {"next": 3, "page": 2},
        {"next": None},
    ]


def test_a_template_of_a_stub_that_cannot_be_rendered_is_told_with_its_line(trials: Trials) -> None:
    tested = trials.one(ASK, "stubs:\n  start: {render: '{{ args.missing }}'}")
    assert "missing" in tested.failures[0].lines[0]
    assert tested.failures[0].line == 14


def test_what_a_stub_gives_is_data_and_no_template(trials: Trials) -> None:
    assert result_of(trials.passes(ASK, "stubs: {start: {result: '{{ workload }}'}}")) == "{{ workload }}"


def test_an_effect_without_a_stub_fails_by_name_and_shows_the_stub_to_write(trials: Trials) -> None:
    why = trials.fails(ASK, "merge: false")
    assert "step 'start' (type http) has effects outside, and the test has no stub for it" in why
    assert "stubs:\n  start:\n    result: {status_code: 200" in why


def test_nothing_outside_is_reached(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stubbed http step opens no connection: whoever tries to, finds out."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    trials.passes(ASK, "stubs: {start: {result: 1}}")


# ---- retry, timeout, time --------------------------------------------------------------------------------------------

RETRY = ASK.replace(
    "endpoint", "retry: {max_attempts: 4, initial_delay: 1h, max_delay: 30d}\n  timeout: 10s\n  endpoint"
)


def test_attempts_get_one_answer_each_and_delays_take_no_time(trials: Trials) -> None:
    stub = (
        "stubs: {start: [{error: no, times: 3}, {result: yes}]}\nexpect: {result: yes, calls: {start: 4}, duration: 7h}"
    )
    tested = trials.passes(RETRY, stub)
    assert tested.run.seconds == 7 * 3600
    assert [call.at for call in tested.run.calls] == [0, 3600, 3 * 3600, 7 * 3600]


def test_an_error_says_itself_that_it_is_not_worth_a_retry(trials: Trials) -> None:
    stub = "stubs: {start: {error: {type: http, message: no, retryable: false}}}"
    trials.passes(RETRY, stub + "\nexpect: {error: {type: http, message: no, step: start}, calls: {start: 1}}")


def test_a_call_that_takes_longer_than_its_timeout_fails_by_it(trials: Trials) -> None:
    stub = "stubs: {start: [{result: 1, takes: 11s}, {result: 2, takes: 10s}]}"
    tested = trials.passes(RETRY, stub + "\nexpect: {result: 2, calls: {start: 2}}")
    assert tested.run.seconds == 10 + 3600 + 10
    (failed,) = [moment.event for moment in tested.run.timeline if moment.event.event_type == "attempt_failed"]
    assert failed.error is not None
    assert failed.error["type"] == "timeout"


def test_python_has_an_hour_where_it_names_no_timeout(trials: Trials) -> None:
    body = "- {step: start, type: python, code: 'def main(): return 1'}"
    trials.passes(body, "stubs: {start: {result: 1, takes: 1h}}")
    trials.passes(body, "stubs: {start: {result: 1, takes: 61m}}\nexpect: {error: {type: timeout}, duration: 1h}")


def test_a_wait_of_thirty_days_takes_no_time_and_now_goes_along(trials: Trials) -> None:
    tested = trials.passes(WAIT, "now: 2026-03-01T08:00:00+01:00\nexpect: {duration: 30d}")
    moment = datetime(2026, 3, 31, 7, tzinfo=UTC).isoformat()
    assert result_of(tested) == {"until": moment, "now": moment}
    assert tested.run.seconds == 30 * 86400


def test_the_clock_of_templates_is_the_real_one_again_afterwards(trials: Trials) -> None:
    from noetl.playbook.templates.functions import now

    trials.passes(WAIT, "now: 2001-01-01T00:00:00Z")
    assert abs((datetime.fromisoformat(now()) - datetime.now(UTC)).total_seconds()) < 60


def test_a_wait_until_a_moment_counts_from_now(trials: Trials) -> None:
    body = WAIT.replace("for: 30d", "until: 2026-01-01T00:01:00Z")
    assert trials.passes(body, "expect: {status: completed}").run.seconds == 60
    assert trials.passes(body, "now: 2026-02-01T00:00:00Z").run.seconds == 0


def test_a_wait_past_its_timeout_fails(trials: Trials) -> None:
    body = WAIT.replace("for: 30d", "for: 30d\n  timeout: 1d")
    trials.passes(body, "expect: {error: {type: timeout, step: start}, duration: 1d}")


def test_an_execution_past_its_timeout_ends_failed_and_runs_its_finally(trials: Trials) -> None:
    body = "timeout: 1h\nworkflow:" + WAIT.replace("\n", "\n  ") + "\nfinally:\n  - {step: after, type: wait, for: 5m}"
    test = "expect: {error: {type: timeout}, steps: [start, after], duration: 65m}"
    why = trials.fails(body, test)
    assert why == "steps: at the beginning expected 'start', got 'after'", "a wait that is withdrawn was not taken"
    trials.passes(body, test.replace("start, after", "after"))


def test_branches_run_beside_each_other(trials: Trials) -> None:
    """The slower of two calls says how long it takes; the order of what they lead to is that of their ends."""
    body = """
    - {step: start, next: [slow, fast]}
    - {step: slow, type: http, endpoint: x, next: after_slow}
    - {step: fast, type: http, endpoint: x, next: after_fast}
    - {step: after_slow, next: end}
    - {step: after_fast, next: end}
    - {step: end}
    """
    test = """
    stubs: {slow: {result: 1, takes: 2h}, fast: {result: 2, takes: 1h}}
    expect: {steps: [start, slow, fast, after_fast, after_slow, end], duration: 2h}
    """
    assert trials.passes(body, test).run.seconds == 7200


def test_the_same_test_runs_the_same_way_every_time(trials: Trials) -> None:
    body = "- {step: start, next: [" + ", ".join(f"s{n}" for n in range(8)) + "]}\n"
    body += "".join(f"- {{step: s{n}, type: http, endpoint: x, retry: true, next: end}}\n" for n in range(8))
    test = "stubs: {http: [{error: a, times: 5}, {result: 1, takes: 1s, times: 6}, {result: 2, when: true}]}"
    runs = [trials.passes(body + "- {step: end}", test) for _ in range(3)]
    told = [[(m.at, m.event.event_type, m.event.node_id) for m in tested.run.timeline] for tested in runs]
    assert told[0] == told[1] == told[2]


def test_what_never_ends_is_stopped(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noetl.testing.attempts.MOST_CALLS", 50)
    body = "- {step: start, type: http, endpoint: x, next: start}"
    assert "after 50 calls it has not ended, the last is of step 'start'" in trials.fails(
        body, "stubs: {http: {result: 1}}"
    )


def test_a_long_chain_of_routers_continues(trials: Trials) -> None:
    body = """
    - {step: start, max_visits: 3000, next: [{when: "{{ job.uuid.endswith is defined }}", then: start}, {else: again}]}
    - {step: again, max_visits: 3000, next: [{when: false, then: end}, {else: start}]}
    - {step: end}
    """
    why = trials.fails(body, "merge: false")
    assert "max_visits is 3000" in why


# ---- real code -------------------------------------------------------------------------------------------------------


def test_python_really_runs_and_sees_context_and_prints(trials: Trials) -> None:
    body = """
    workload: {word: hi}
    workflow:
      - step: start
        type: python
        code: |
          def main(): return {"a": 1}
        next: second
      - step: second
        type: python
        code: |
          def main():
              print("printed")
              return [context["workload"]["word"], context.get("start", {}).get("data"), context["step"]["name"]]
    """
    tested = trials.passes(body, "payload: {word: ho}")
    assert result_of(tested) == ["ho", {"a": 1}, "second"]
    assert tested.output == (("second", "printed\n"),)


def test_python_that_raises_fails_its_step(trials: Trials) -> None:
    body = "- {step: start, type: python, code: 'def main(): return 1 / 0'}"
    trials.passes(body, "expect: {error: {type: python, message: ZeroDivisionError, step: start}}")


def test_python_can_be_stubbed_and_run_all_the_same_where_its_type_is(trials: Trials) -> None:
    body = """
    - {step: start, type: python, code: 'def main(): return 1', next: second}
    - {step: second, type: python, code: 'def main(): return 2', next: end}
    - {step: end, result: ["{{ start }}", "{{ second }}"]}
    """
    assert result_of(trials.passes(body, "stubs: {python: {result: 7}, second: run}")) == [7, 2]


def test_a_task_of_the_workbook_runs_as_its_type(trials: Trials) -> None:
    body = """
    workbook: [{name: ask, type: http, endpoint: x}]
    workflow: [{step: start, type: workbook, task: ask, args: {a: 1}}]
    """
    test = "stubs: {http: {result: 3}}\nexpect: {result: 3, calls: {start: [{args: {a: 1}, fields: {endpoint: x}}]}}"
    trials.passes(body, test)


# ---- failure, cancel, finally ----------------------------------------------------------------------------------------

TWO = """
workflow:
  - {step: start, next: [left, right]}
  - {step: left, type: http, endpoint: x, next: end}
  - {step: right, type: http, endpoint: x, next: end}
  - {step: end}
finally:
  - {step: last, type: http, endpoint: x, args: {status: "{{ status }}"}}
"""


def test_cancel_kills_what_runs_and_runs_finally(trials: Trials) -> None:
    test = """
    stubs: {left: {result: 1}, right: {result: 2, takes: 1h}, last: {result: 3, takes: 1m}}
    cancel_at: 5m
    expect: {status: cancelled, steps: [start, left, right, last], duration: 6m,
             calls: {last: [{args: {status: cancelled}}]}}
    """
    tested = trials.passes(TWO, test)
    assert [taken.ended for taken in tested.run.path] == ["completed", "completed", "cancelled", "completed"]


def test_a_second_cancel_ends_finally(trials: Trials) -> None:
    test = """
    stubs: {left: {result: 1}, right: {result: 2, takes: 1h}, last: {result: 3, takes: 10m}}
    cancel_at: [5m, 6m]
    expect: {status: cancelled, duration: 6m}
    """
    assert trials.passes(TWO, test).run.seconds == 360


def test_a_failure_lets_what_runs_finish(trials: Trials) -> None:
    test = """
    stubs: {left: {error: broken, takes: 1m}, right: {result: 2, takes: 1h}, last: {result: 3}}
    expect: {error: {message: broken, step: left}, steps: [start, left, right, last], duration: 1h}
    """
    tested = trials.passes(TWO, test)
    assert [taken.ended for taken in tested.run.path] == ["completed", "failed", "completed", "completed"]


def test_a_cancel_after_the_end_changes_nothing(trials: Trials) -> None:
    trials.passes(ASK, "stubs: {start: {result: 1}}\ncancel_at: 1h\nexpect: {result: 1, duration: 0}")


# ---- children --------------------------------------------------------------------------------------------------------


def test_a_child_really_runs_with_stubs_of_its_own(trials: Trials) -> None:
    stubs = "children: {test/child: {stubs: {start: {result: 5}}}}"
    test = stubs + "\nexpect: {result: {name: Ada, got: 5}, calls: {start: 1}}"
    tested = trials.passes(PARENT, test, {"test/child": CHILD})
    assert [call.type for call in tested.run.calls] == ["playbook"], "calls are those of the playbook itself"


def test_stubs_by_type_hold_in_children_too(trials: Trials) -> None:
    test = "stubs: {http: {result: 6}}"
    assert result_of(trials.passes(PARENT, test, {"test/child": CHILD})) == {"name": "Ada", "got": 6}


def test_a_child_stands_in_the_file_that_the_test_names(trials: Trials) -> None:
    test = "children: {test/child: other}\nstubs: {http: {result: 1}}\nexpect: {result: {contains: {got: 1}}}"
    trials.passes(PARENT, test, {"other": CHILD})


def test_a_child_that_there_is_not_can_be_given_or_stubbed(trials: Trials) -> None:
    why = trials.fails(PARENT, "merge: false")
    assert "step 'start' (type playbook) calls the playbook 'test/child', which the test does not have" in why
    assert "children:\n  test/child: FILE.yaml\nor\nstubs:\n  start:" in why
    assert result_of(trials.passes(PARENT, "stubs: {start: {result: 9}}")) == 9


def test_stubs_of_a_child_that_name_nothing_of_it_are_told(trials: Trials) -> None:
    test = "children: {test/child: {stubs: {strat: {result: 5}}}}"
    why = trials.fails(PARENT, test, {"test/child": CHILD})
    assert why == "stubs of the child 'test/child': 'strat' is neither a step nor a type (did you mean 'start'?)"


def test_a_child_that_fails_fails_its_parent(trials: Trials) -> None:
    test = """
    stubs: {http: {error: broken}}
    expect: {error: {type: playbook, message: "of test/child failed: broken", step: start}}
    """
    trials.passes(PARENT, test, {"test/child": CHILD})


def test_a_parent_waits_for_its_child_in_virtual_time_and_cancels_it(trials: Trials) -> None:
    child = CHILD + "finally:\n  - {step: last, type: http, endpoint: x}\n"
    stubs = "children: {test/child: {stubs: {start: {result: 1, takes: 1h}, last: {result: 1}}}}\n"
    assert trials.passes(PARENT, stubs, {"test/child": child}).run.seconds == 3600
    tested = trials.passes(PARENT, stubs + "cancel_at: 5m\nexpect: {status: cancelled}", {"test/child": child})
    assert tested.run.seconds == 300
    inner = [(m.at, m.event.event_type) for m in tested.run.timeline if m.path == "test/child"]
    assert inner[-1] == (300, "execution_cancelled")


def test_a_child_past_the_timeout_of_its_step_is_cancelled(trials: Trials) -> None:
    body = PARENT.replace("path:", "timeout: 1m\n  path:")
    stubs = "children: {test/child: {stubs: {start: {result: 1, takes: 1h}}}}"
    test = stubs + "\nexpect: {error: {type: timeout}, duration: 1m}"
    tested = trials.passes(body, test, {"test/child": CHILD})
    assert tested.run.timeline[-1].event.event_type == "execution_cancelled"


def test_return_step_is_the_result_of_one_of_the_childs_steps(trials: Trials) -> None:
    body = PARENT.replace("path:", "return_step: start\n  path:")
    assert result_of(trials.passes(body, "stubs: {http: {result: 4}}", {"test/child": CHILD})) == 4
    wrong = PARENT.replace("path:", "return_step: nowhere\n  path:")
    test = "stubs: {http: {result: 4}}\nexpect: {error: {message: has no step 'nowhere' that has completed}}"
    trials.passes(wrong, test, {"test/child": CHILD})


def test_playbooks_that_call_themselves_end(trials: Trials) -> None:
    tested = trials.one(PARENT, "merge: false", {"test/child": PARENT})
    assert "playbooks call each other 50 deep" in tested.failures[0].lines[0]


# ---- what needs no stub ----------------------------------------------------------------------------------------------


def test_a_save_is_recorded_and_needs_no_stub(trials: Trials) -> None:
    body = "- {step: start, type: save, storage: postgres, table: t, data: [{a: 1}, {a: 2}], mode: insert}"
    test = (
        "expect: {result: {contains: {table: t, row_count: 2}}, calls: {start: [{fields: {data: [{a: 1}, {a: 2}]}}]}}"
    )
    trials.passes(body, test)


def test_a_save_to_the_log_gives_its_data(trials: Trials) -> None:
    body = "- {step: start, type: save, data: {a: 1}}"
    trials.passes(body, "expect: {result: {saved: event_log, data: {a: 1}, row_count: 1}}")


def test_secrets_come_from_the_test(trials: Trials) -> None:
    body = "- {step: start, type: secrets, provider: env, name: api_key}"
    trials.passes(body, "secrets: {api_key: s3}\nexpect: {result: {contains: {secret_value: s3, provider: env}}}")
    why = trials.fails(body, "secrets: {other: s3}")
    assert "step 'start' (type secrets) asks for the secret 'api_key', and the test gives none" in why


CALLS_SECRETS = """
- step: start
  type: http
  endpoint: x
  args: {key: "{{ secret('env:API_KEY') }}"}
  headers: {one: "Bearer {{ secret('shop.token') }}", two: "{{ secret('single') }}", three: "{{ secret('lost') }}"}
  payload: "{{ {'a': secret('quoted')} | tojson }}"
  auth: {type: basic, username: ada, password: "{{ secret('shop.password') }}"}
"""


def test_secrets_in_calls_are_those_of_the_test(trials: Trials) -> None:
    test = """
    secrets: {"env:API_KEY": k1, quoted: 'a"b'}
    credentials: {shop: {type: bearer, token: t1, password: p1}, single: {type: bearer, token: t2}}
    stubs: {start: {result: 1}}
    expect:
      calls:
        start:
          - args: {key: k1}
            fields: {headers: {one: Bearer t1, two: t2, three: secret(lost)}, payload: '{"a": "a\\"b"}'}
            auth: {password: p1}
    """
    trials.passes(CALLS_SECRETS, test)


def test_no_secret_is_read_from_where_the_real_ones_are(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "real")
    test = "stubs: {start: {result: 1}}\nexpect: {calls: {start: [{args: {key: 'secret(env:API_KEY)'}}]}}"
    tested = trials.passes(CALLS_SECRETS, test)
    assert "real" not in repr(tested.run)


def test_env_and_payload_come_from_the_test(trials: Trials) -> None:
    body = """
    workload: {a: {b: 1, c: 2}, home: "{{ env.PLACE }}"}
    workflow: [{step: end, result: "{{ workload }}"}]
    """
    shallow = trials.passes(body, "env: {PLACE: here}\npayload: {a: {b: 3}}")
    assert result_of(shallow) == {"a": {"b": 3}, "home": "here"}
    deep = trials.passes(body, "env: {PLACE: here}\npayload: {a: {b: 3}}\nmerge: true")
    assert result_of(deep) == {"a": {"b": 3, "c": 2}, "home": "here"}
    assert "the execution cannot start" in trials.fails(body, "payload: {a: 1}")


def test_the_id_of_the_execution_can_be_given(trials: Trials) -> None:
    body = '- {step: end, result: "{{ execution_id }}"}'
    assert result_of(trials.passes(body, "execution_id: '77'")) == "77"

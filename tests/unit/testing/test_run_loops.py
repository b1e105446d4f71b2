"""Loops and blocks `save` in tests of playbooks: items with stubs of their own, order, failures."""

from noetl.playbook.load import lint
from tests.support.trials import Trials, document, result_of
from tests.unit.testing.playbooks import ASK, CHILD

# ---- loops -----------------------------------------------------------------------------------------------------------

LOOP = """
workload: {cities: [Rome, Oslo, Bern]}
workflow:
  - step: start
    type: http
    loop: {in: "{{ workload.cities }}", iterator: city, mode: async, concurrency: 2}
    endpoint: "x/{{ city }}"
    retry: {max_attempts: 2, initial_delay: 1m}
    next: end
  - step: end
    result: {all: "{{ start }}", errors: "{{ start.errors }}"}
"""


def test_items_of_a_loop_have_stubs_of_their_own(trials: Trials) -> None:
    test = """
    stubs:
      start:
        items: {0: {result: a}, 2: [{error: no}, {result: c}]}
        render: "{{ fields.endpoint }}#{{ index }}"
    expect:
      result: {all: [a, "x/Oslo#1", c], errors: []}
      steps: [start, end]
      calls:
        start:
          - {item: 0, fields: {endpoint: x/Rome}}
          - {item: 1, attempt: 1}
          - {item: 2, attempt: 1}
          - {item: 2, attempt: 2}
      duration: 1m
    """
    tested = trials.passes(LOOP, test)
    assert tested.run.path[0].result == ["a", "x/Oslo#1", "c"]


def test_an_item_without_an_answer_is_told(trials: Trials) -> None:
    why = trials.fails(LOOP, "stubs: {start: {items: [{result: a}]}}")
    assert "the stub of step 'start' (type http, item 1) has no answer left" in why


def test_an_item_that_fails_fails_its_loop_or_not(trials: Trials) -> None:
    stubs = "stubs: {start: {items: {1: {error: no}}, result: 1}}\n"
    trials.passes(LOOP, stubs + "expect: {error: {message: 'item 1: no', step: start}, calls: {start: 4}}")
    body = LOOP.replace("concurrency: 2", "on_error: continue")
    trials.passes(body, stubs + "expect: {result: {contains: {all: [1, null, 1]}}}")


def test_items_run_beside_each_other_as_many_as_may(trials: Trials) -> None:
    stubs = "stubs: {start: {result: 1, takes: 1h}}\n"
    assert trials.passes(LOOP, stubs).run.seconds == 2 * 3600
    assert trials.passes(LOOP.replace("mode: async, ", ""), stubs).run.seconds == 3 * 3600


def test_cancel_ends_the_items_of_a_loop(trials: Trials) -> None:
    stubs = "stubs: {start: {result: 1, takes: 1h}}\n"
    trials.passes(LOOP, stubs + "cancel_at: 5m\nexpect: {status: cancelled, calls: {start: 2}, duration: 5m}")


def test_items_of_loops_within_loops_are_named_from_the_outermost_on(trials: Trials) -> None:
    body = """
    - step: start
      type: python
      loop: [{in: [1, 2], iterator: a}, {in: "{{ range(a) | list }}", iterator: b}]
      args: {a: "{{ a }}", b: "{{ b }}"}
      code: "def main(a, b): return a * 10 + b"
    """
    test = """
    stubs: {start: {items: {1/1: {result: 99}}, run: true}}
    expect:
      result: [[10], [20, 99]]
      calls: {start: [{item: 0/0, args: {a: 1, b: 0}}, {item: 1/0}, {item: 1/1}]}
    """
    trials.passes(body, test)


def test_a_loop_over_nothing_needs_no_stub(trials: Trials) -> None:
    trials.passes(LOOP, "payload: {cities: []}\nexpect: {result: {all: [], errors: []}}")


def test_a_loop_over_many_items(trials: Trials) -> None:
    body = LOOP.replace("workload.cities", "range(1200) | list").replace("city", "number")
    tested = trials.passes(body, "stubs: {start: {render: '{{ index }}'}}\nexpect: {calls: {start: 1200}}")
    assert result_of(tested)["all"] == list(range(1200))


def test_children_of_a_loop_run_one_per_item(trials: Trials) -> None:
    body = """
    - {step: start, type: playbook, path: test/child, args: {name: "{{ item }}"}, loop: {in: [Ada, Bob]}}
    """
    tested = trials.passes(body, "stubs: {http: {result: 1}}", {"test/child": CHILD})
    assert result_of(tested) == [{"name": "Ada", "got": 1}, {"name": "Bob", "got": 1}]


# ---- save blocks -----------------------------------------------------------------------------------------------------

SAVE = """
- step: start
  type: http
  endpoint: x
  loop: {in: [1, 2], save: {storage: postgres, table: t, data: {n: "{{ item }}", got: "{{ result.a }}"}}}
  save: {storage: file, path: all.json, data: "{{ result }}"}
  retry: {max_attempts: 2, initial_delay: 1m}
"""


def test_what_is_saved_stands_among_the_calls(trials: Trials) -> None:
    test = """
    stubs: {start: {render: {a: "{{ index }}"}}}
    expect:
      calls:
        start: 2
        start.save:
          - {item: 0, fields: {table: t, data: {n: 1, got: 0}}}
          - {item: 1, fields: {table: t, data: {n: 2, got: 1}}}
          - {fields: {path: all.json, data: [{a: 0}, {a: 1}]}}
    """
    trials.passes(SAVE, test)


def test_what_the_log_has_anyway_is_no_call(trials: Trials) -> None:
    body = "- {step: start, type: http, endpoint: x, save: {storage: event_log, data: '{{ result }}'}}"
    trials.passes(body, "stubs: {http: {result: 1}}\nexpect: {result: 1, calls: {start: 1, start.save: 0}}")


def test_a_save_that_fails_fails_the_attempt(trials: Trials) -> None:
    test = """
    stubs:
      start: {result: {a: 1}}
      start.save: {items: {0: [{error: full}, {result: {}}]}, result: {}, takes: 1s}
    expect: {calls: {start: 3, start.save: 4}}
    """
    assert trials.passes(SAVE, test).run.seconds == 60 + 2
    twice = test.replace("{result: {}}]", "{error: full}]")
    trials.passes(SAVE, twice.replace("{calls: {start: 3, start.save: 4}}", "{error: full}"))


def test_stubs_of_saves_by_type_and_none_where_there_is_no_save(trials: Trials) -> None:
    trials.passes(SAVE, "stubs: {start: {result: {a: 1}}, save: {error: full}}\nexpect: {error: {message: full}}")
    problems = lint(document(ASK, "- {name: t, stubs: {start.save: {result: 1}}}"), "x")
    assert ["'start.save' is neither a step nor a type" in problem.message for problem in problems] == [True]


def test_a_save_whose_template_cannot_be_rendered_fails_the_step(trials: Trials) -> None:
    test = "stubs: {start: {result: {b: 1}}}\nexpect: {error: {type: template, step: start}}"
    trials.passes(SAVE, test)

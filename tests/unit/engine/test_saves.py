"""The names of a block `save`: the result at hand, and what a loop that is over gave and ran over."""

from typing import Any

import pytest

from noetl.testing.python import PythonChild
from tests.support.trials import Trials
from tests.unit.engine.model import Execution, flow, playbook, py, router


def loop(in_: Any, **more: Any) -> dict[str, Any]:
    return {"in": in_, "iterator": "x", **more}


def each(levels: Any, **more: Any) -> dict[str, Any]:
    """The step `start`, which runs once per item."""
    return py("start", loop=levels, **more)


def test_the_save_of_a_loop_knows_what_the_loop_gave_and_ran_over() -> None:
    """`results` is the loop's list there; by a step's name it still gives that step's result."""
    data = {
        "results": "{{ results }}",
        "first": "{{ results[0] }}",
        "many": "{{ results | length }} of {{ count }}",
        "errors": "{{ errors | length }}",
        "items": "{{ items }}",
        "data": "{{ data }}",
        "other": "{{ results.start.n }}{{ results['start'].n }}",
    }
    over = loop([4, 5, 6], where="{{ x > 4 }}", on_error="continue")
    each_one = py("each", save={"storage": "file", "path": "/x.json", "data": data}) | {"loop": over}
    execution = flow(py("start", "each"), each_one)
    execution.done("start", {"n": 1})
    execution.begin_loop("each")
    execution.done("each", 25)
    execution.fail("each")
    whole = execution.loop_result(execution.now.loops["each"]["first"])
    assert execution.saving("each", whole).fields["data"] == {
        "results": [25, None],
        "first": 25,
        "many": "2 of 2",
        "errors": 1,
        "items": [5, 6],
        "data": [25, None],
        "other": "11",
    }


def test_more_items_than_one_chunk_are_all_there_in_the_save_of_a_loop() -> None:
    save = {"storage": "file", "path": "/x.json", "data": {"n": "{{ items | length }}", "last": "{{ items[-1] }}"}}
    execution = flow(each(loop("{{ range(1200) | list }}"), save=save))
    execution.begin_loop("start")
    for _ in range(1200):
        execution.done("start", 1)
    whole = execution.loop_result(execution.now.loops["start"]["first"])
    assert execution.saving("start", whole).fields["data"] == {"n": 1200, "last": 1199}


@pytest.mark.parametrize(
    ("result", "data"), [({"data": {"id": 7}, "url": "x"}, {"id": 7}), ({"id": 7}, {"id": 7}), ([1], [1]), (None, None)]
)
def test_data_in_a_save_is_the_results_data_else_the_result(result: Any, data: Any) -> None:
    save = {"storage": "file", "path": "/x.json", "data": {"d": "{{ data }}"}}
    assert flow(py("start", save=save)).saving("start", result).fields["data"] == {"d": data}


def test_an_argument_a_key_of_the_workload_and_a_step_keep_their_names_in_a_save() -> None:
    save = {"storage": "file", "path": "/x.json", "data": {"d": "{{ data }}"}}
    assert flow(py("start", save=save, args={"data": 1})).saving("start", 5).fields["data"] == {"d": 1}
    document = {"workload": {"data": 2}, "workflow": [py("start", save=save)]}
    assert Execution(playbook(document), {"data": 2}).saving("start", 5).fields["data"] == {"d": 2}
    execution = flow(router("start", "data"), py("data", "store"), py("store", save=save))
    execution.done("data", 3)
    assert execution.saving("store", 5).fields["data"] == {"d": 3}


# ---- the event log as storage ----------------------------------------------------------------------------------------

KEPT = """
- step: start
  type: python
  code: |
    def main(): return {"n": 7, "rows": [1, 2]}
  save: { storage: event_log, data: { n: "{{ result.n }}", day: "2026-01-01" } }
  next: many
- step: many
  type: python
  loop: { in: [4, 5], iterator: x, save: { data: { x: "{{ x }}" } } }
  code: |
    def main(x): return x * x
  save: { data: "{{ results }}" }
  next: end
- step: end
  result: [ "{{ start.n }}", "{{ many }}" ]
"""


def test_data_for_the_event_log_is_kept_with_the_event_beside_the_result() -> None:
    """Not dropped; and where it is the result itself, it is not kept twice."""
    with PythonChild({}) as python:
        verdict = Trials(python).passes(KEPT, "expect: {status: completed, result: [7, [16, 25]]}")
    events = [moment.event for moment in verdict.run.timeline]
    saved = [(event.node_id, event.item_index, (event.meta or {}).get("saved")) for event in events]
    assert [one for one in saved if one[2] is not None] == [
        ("start", -1, {"n": 7, "day": "2026-01-01"}),
        ("many", 0, {"x": 4}),
        ("many", 1, {"x": 5}),
    ]


def test_too_much_for_the_log_fails_the_step() -> None:
    large = KEPT.replace('day: "2026-01-01"', "day: \"{{ 'x' * 300000 }}\"")
    with PythonChild({}) as python:
        Trials(python).passes(large, "expect: {status: failed, error: {type: validation, step: start}}")

"""Loops in the engine: what they run over, how their items begin and end, what becomes of failures and nesting."""

from typing import Any

import orjson
import pytest

from noetl.engine.inputs import Collected
from noetl.engine.loops import collect as collecting
from noetl.errors import InputError, TemplateError, TooLarge
from tests.unit.engine.model import flow, py

Json = Any


def loop(in_: Json, **more: Any) -> dict[str, Any]:
    return {"in": in_, "iterator": "x", **more}


def each(levels: Json, *targets: str, **more: Any) -> dict[str, Any]:
    """The step `start`, which runs once per item."""
    return py("start", *targets, loop=levels, **more)


def run_over(in_: Json, workload: Json = None, **more: Any) -> Collected:
    """What a loop with these keys would run over."""
    return flow(each(loop(in_, **more)), workload=workload or {}).collected("start")


def items_of(found: Collected) -> list[Json]:
    return [item for chunk in found.chunks for item in orjson.loads(chunk)]


# ---- what it runs over ----------------------------------------------------------------------------------------------


def test_where_order_by_limit_and_batch_are_applied_in_this_order() -> None:
    numbers = [5, 1, 4, 2, 3, 6, 8, 7]
    found = run_over(
        "{{ workload.numbers }}",
        {"numbers": numbers},
        where="{{ x > 1 and index < 7 }}",
        order_by="{{ -x }}",
        limit=5,
        batch="{{ workload.numbers[3] }}",
    )
    assert items_of(found) == [[8, 6], [5, 4], [3]]
    assert (found.count, found.concurrency) == (3, 1)


def test_items_are_stored_in_chunks_of_500() -> None:
    found = run_over("{{ range(1001) | list }}", mode="async")
    assert (found.count, found.concurrency, len(found.chunks)) == (1001, 100, 3)
    assert items_of(found) == list(range(1001))


def test_concurrency_is_a_number_or_a_template_of_one() -> None:
    assert run_over([1], mode="async", concurrency="{{ workload.n }}", workload={"n": 7}).concurrency == 7
    assert run_over([1], concurrency=7).concurrency == 1, "sequential is sequential"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "in of the loop of step 'start' is empty (null): it must be a list"),
        ("abc", "in of the loop of step 'start' is text: it must be a list"),
        (5, "in of the loop of step 'start' is a number: it must be a list"),
        (True, "in of the loop of step 'start' is a truth value: it must be a list"),
        (
            {"a": 1},
            "in of the loop of step 'start' is a mapping: it must be a list: '| list' makes one of its keys,"
            " '.items()' of its pairs",
        ),
    ],
)
def test_what_is_no_list_is_refused_with_a_sentence(value: Json, said: str) -> None:
    with pytest.raises(InputError) as caught:
        run_over("{{ workload.value }}", {"value": value})
    assert str(caught.value) == said


def test_a_million_items_are_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    assert collecting.MAX_LOOP_ITEMS == 1_000_000
    monkeypatch.setattr(collecting, "MAX_LOOP_ITEMS", 3)
    assert run_over([1, 2, 3]).count == 3
    with pytest.raises(InputError, match="has 4 items, at most 3 can be"):
        run_over([1, 2, 3, 4])


def test_the_size_of_a_collection_is_bounded() -> None:
    execution = flow(each(loop("{{ workload.list }}")), workload={"list": ["x" * 10] * 1000})
    with pytest.raises(TooLarge, match="more than 10,000 bytes as JSON"):
        execution.collected("start", limit=10_000)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"limit": "{{ 'many' }}"},
            "limit of the loop of step 'start' is 'many': it must be a whole number, 0 or more",
        ),
        ({"batch": "{{ 0 }}"}, "batch of the loop of step 'start' is 0: it must be a whole number, 1 or more"),
        (
            {"mode": "async", "concurrency": "{{ true }}"},
            "concurrency of the loop of step 'start' is True: it must be a whole number, 1 or more",
        ),
        (
            {"order_by": "name"},
            "order_by of the loop of step 'start' is the same for every item: write a template, as '{{ item.name }}'",
        ),
        (
            {"order_by": "{{ [none, 'a', 1][x] }}"},
            "order_by of the loop of step 'start' gives a number and null and text, which have no order:"
            " make them alike",
        ),
    ],
)
def test_numbers_and_orders_that_are_none_are_refused(keys: dict[str, Json], said: str) -> None:
    with pytest.raises(InputError) as caught:
        run_over([0, 1, 2], **keys)
    assert str(caught.value) == said


def test_in_knows_the_args_of_the_transition_and_the_results_before_it() -> None:
    execution = flow(
        {**py("start"), "next": [{"step": "each", "args": {"cities": "{{ start.cities }}"}}]},
        py("each", loop=loop("{{ cities + start.data.more }}")),
    )
    execution.done("start", {"cities": ["London"], "more": ["Paris"]})
    assert items_of(execution.collected("each")) == ["London", "Paris"]


# ---- items ----------------------------------------------------------------------------------------------------------


def test_a_loop_costs_a_job_and_an_event_per_item_and_ends_with_a_job_of_its_own() -> None:
    execution = flow(each(loop([10, 20])))
    execution.begin_loop("start")
    assert execution.items("start") == [0], "sequential: one at a time"
    execution.done("start", "a")
    assert execution.items("start") == [1]
    execution.done("start", "b")
    assert execution.items("start") == [-1], "the last job"
    assert execution.row("start").job.context == {"arrivals": [[1, -1]], "end": True}
    execution.done("start")
    assert execution.types() == [
        "execution_start",
        "step_queued",
        "loop_started",
        "item_completed",
        "item_completed",
        "step_completed",
        "execution_complete",
    ]
    assert execution.events("loop_started")[0].context == {"count": 2, "concurrency": 1}
    end = execution.events("step_completed")[0]
    assert end.result == b'{"count":2,"failed":0}'
    assert end.meta == {"queued": 0.001, "loop": {"first": 3, "count": 2}}
    assert execution.now.results == {"start": 3}, "the loop's value is asked for by the event that began it"
    assert execution.result == ["a", "b"]
    assert execution.jobs_made == 4


def test_results_stand_in_the_order_of_the_input() -> None:
    execution = flow(each(loop([1, 2, 3, 4], mode="async", concurrency=3)))
    execution.begin_loop("start")
    assert execution.items("start") == [0, 1, 2]
    execution.done("start", "c", item=2)
    assert execution.items("start") == [0, 1, 3]
    for item in (3, 1, 0):
        execution.done("start", f"r{item}", item=item)
    execution.done("start")
    assert execution.result == ["r0", "r1", "c", "r3"]


def test_a_loop_without_items_gives_an_empty_list_and_leads_on() -> None:
    execution = flow(each(loop([]), "end"), {"step": "end", "result": "{{ start }}"})
    execution.begin_loop("start")
    execution.done("start")
    assert (execution.status, execution.result) == ("completed", [])


def test_an_item_knows_its_place() -> None:
    text = "{{ x }} {{ index }} {{ _loop.index }}/{{ _loop.count }} {{ _loop.first }} {{ _loop.last }}"
    text += " {{ start.result_index }}"
    execution = flow(each(loop(["a", "b"]), args={"told": text}))
    execution.begin_loop("start")
    assert execution.args("start")["told"] == "a 0 0/2 true false 0"
    execution.done("start")
    assert execution.args("start")["told"] == "b 1 1/2 false true 1"


def test_the_iterator_is_nearest_and_args_come_before_results_and_workload() -> None:
    execution = flow(
        {**py("start"), "next": [{"step": "each", "args": {"x": "transition", "y": "transition"}}]},
        py("each", loop=loop(["item"]), args={"seen": "{{ x }} {{ y }} {{ z }}"}),
        workload={"x": "workload", "y": "workload", "z": "workload"},
    )
    execution.done("start")
    execution.begin_loop("each")
    assert execution.args("each")["seen"] == "item transition workload"


def test_python_is_handed_the_item_below_its_args() -> None:
    execution = flow(each(loop(["a"], enumerate=True)))
    execution.begin_loop("start")
    assert execution.args("start") == {"x": "a", "value": "a", "index": 0}
    named = flow(each(loop(["a"]), args={"value": "mine"}))
    named.begin_loop("start")
    assert named.args("start") == {"x": "a", "value": "mine"}
    batched = flow(each(loop([1, 2, 3], batch=2)))
    batched.begin_loop("start")
    assert batched.args("start") == {"x": [1, 2], "value": [1, 2], "batch": [1, 2]}


def test_other_tools_are_handed_their_args_only() -> None:
    execution = flow({"step": "start", "type": "http", "loop": loop(["a"]), "params": {"q": "{{ x }}"}})
    execution.begin_loop("start")
    assert execution.args("start") == {}
    assert execution.rendered("start").fields["params"] == {"q": "a"}


def test_an_item_has_an_idempotency_key_of_its_own() -> None:
    execution = flow(each([loop([0, 1]), {"in": [5], "iterator": "y"}], args={"key": "{{ job.uuid }}"}))
    execution.begin_loop("start")
    execution.begin_loop("start", 0)
    assert execution.args("start/0")["key"] == "77:start/0:1:0"


# ---- failures -------------------------------------------------------------------------------------------------------


def test_a_failed_item_fails_the_step_with_its_index() -> None:
    execution = flow(each(loop([1, 2, 3, 4, 5], mode="async", concurrency=3)))
    execution.begin_loop("start")
    execution.lease("start", 2)
    execution.fail("start", item=1)
    assert execution.items("start") == [2], "what runs goes on, what has not begun is withdrawn, nothing begins"
    assert [event.item_index for event in execution.events("item_skipped")] == [0]
    assert execution.status == "running"
    execution.done("start", "recorded", item=2)
    assert execution.status == "failed"
    error = execution.events("step_failed")[0].error or {}
    assert (error["index"], error["type"], error["message"]) == (1, "python", "item 1: start broke")
    assert execution.errors == ["python"], "the error log has the attempt's failure, once"


def test_on_error_of_the_step_handles_the_failure_of_its_loop() -> None:
    told = {"step": "told", "args": {"which": "{{ error.index }}"}}
    execution = flow(each(loop([1, 2]), on_error=[told]), py("told"))
    execution.begin_loop("start")
    execution.fail("start")
    assert execution.args("told") == {"which": 0}
    execution.done("told")
    assert execution.status == "completed"


def test_continue_gives_null_and_tells_the_errors() -> None:
    result = "{{ {'list': start, 'count': start.count, 'errors': start.errors, 'results': start.results} }}"
    execution = flow(each(loop([1, 2, 3], on_error="continue"), "end"), {"step": "end", "result": result})
    execution.begin_loop("start")
    execution.done("start", "a")
    execution.fail("start")
    execution.done("start", {"n": 3})
    execution.done("start")
    assert execution.status == "completed"
    found = execution.result
    assert found["list"] == found["results"] == ["a", None, {"n": 3}]
    assert found["count"] == 3
    assert [(error["index"], error["message"]) for error in found["errors"]] == [(1, "start broke")]
    assert execution.events("step_completed", "start")[0].result == b'{"count":3,"failed":1}'


def test_items_are_retried_one_by_one() -> None:
    when = "{{ error.type == 'http' and x == 20 and index == 1 }}"
    execution = flow(each(loop([10, 20], on_error="continue"), retry={"max_attempts": 3, "when": when}))
    execution.begin_loop("start")
    execution.fail("start", "http")
    assert execution.items("start") == [1], "its `when` does not want the first item again"
    execution.fail("start", "http")
    assert execution.row("start").status == "waiting"
    retried = execution.events("attempt_failed")[0]
    assert (retried.node_id, retried.item_index, retried.attempt) == ("start", 1, 1)
    execution.done("start", "at last")
    execution.done("start")
    assert execution.result == [None, "at last"]


def test_a_retry_is_not_begun_in_a_loop_that_fails() -> None:
    execution = flow(each(loop([1, 2, 3], mode="async"), retry={"max_attempts": 5}))
    execution.begin_loop("start")
    for item in (0, 1, 2):
        execution.lease("start", item)
    execution.fail("start", item=0)
    execution.fail("start", "validation", item=1)
    assert execution.items("start") == [2], "the attempt that waited is withdrawn"
    execution.fail("start", item=2)
    assert execution.status == "failed"
    assert (execution.events("step_failed")[0].error or {})["index"] == 1
    assert [event.item_index for event in execution.events("item_failed")] == [1, 2]


def test_a_bad_collection_fails_the_step() -> None:
    execution = flow(each(loop("{{ workload.nothing }}")), workload={"nothing": None})
    with pytest.raises(InputError):
        execution.begin_loop("start")
    execution.fail("start", "validation")
    assert execution.status == "failed"


def test_a_lost_item_is_run_again() -> None:
    execution = flow(each(loop([1])))
    execution.begin_loop("start")
    execution.expire("start", 0)
    assert execution.row("start", 0).job.lost == 1
    assert execution.events("lease_expired")[0].item_index == 0
    execution.expire("start", 0)
    execution.expire("start", 0)
    assert execution.error["type"] == "worker_lost"


def test_cancelling_skips_the_items_that_have_not_begun_and_ends_the_run() -> None:
    execution = flow(each(loop([1, 2, 3, 4], mode="async", concurrency=3)))
    execution.begin_loop("start")
    execution.lease("start", 0)
    execution.cancel()
    assert execution.items("start") == [0]
    assert [event.meta for event in execution.events("item_skipped")] == [{"reason": "the execution was cancelled"}] * 2
    execution.fail("start", "cancelled", item=0)
    assert execution.types()[-3:] == ["item_skipped", "step_cancelled", "execution_cancelled"]


def test_the_last_job_of_a_loop_is_not_begun_while_the_execution_drains() -> None:
    execution = flow(each(loop([1])))
    execution.begin_loop("start")
    execution.lease("start", 0)
    execution.cancel()
    execution.done("start", "recorded", item=0)
    assert execution.types()[-3:] == ["item_completed", "step_cancelled", "execution_cancelled"]


def test_the_collection_of_a_cancelled_execution_begins_nothing() -> None:
    execution = flow(each(loop([1, 2])))
    execution.lease("start")
    execution.cancel()
    execution.begin_loop("start")
    assert execution.types()[-2:] == ["step_cancelled", "execution_cancelled"]
    assert not execution.chunks


# ---- save -----------------------------------------------------------------------------------------------------------


def test_a_save_block_knows_the_result_and_this_falls_through_to_it() -> None:
    save = {
        "storage": "postgres",
        "table": "t",
        "auth": "db",
        "params": {"id": "{{ this.id }}", "of": "{{ result.of }}{{ k }}"},
    }
    execution = flow(py("start", save=save, args={"k": "!"}))
    found = execution.saving("start", {"id": 7, "of": "me"})
    assert found.type == "save"
    assert found.fields == {
        "storage": "postgres",
        "table": "t",
        "params": {"id": 7, "of": "me!"},
        "data": {"id": 7, "of": "me"},
    }
    assert found.auth == "db"


def test_a_save_in_a_loop_knows_the_item_and_that_of_the_step_the_whole_list() -> None:
    inner = {"storage": "file", "path": "{{ x }}.json", "data": "{{ result }}"}
    execution = flow(each(loop(["a"], save=inner), save={"storage": "file", "path": "{{ result | length }}.json"}))
    execution.begin_loop("start")
    assert execution.saving("start", {"n": 1}).fields == {"storage": "file", "path": "a.json", "data": {"n": 1}}
    execution.done("start", {"n": 1})
    whole = execution.loop_result(execution.now.loops["start"]["first"])
    assert execution.saving("start", whole).fields == {"storage": "file", "path": "1.json", "data": [{"n": 1}]}


def test_a_template_that_asks_for_an_item_of_nothing_is_an_error() -> None:
    execution = flow(each(loop([1]), args={"told": "{{ y }}"}))
    execution.begin_loop("start")
    with pytest.raises(TemplateError, match="'y' is not defined"):
        execution.args("start")

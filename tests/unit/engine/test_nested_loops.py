"""Loops within loops in the engine: items that are loops, failures inside, loops that are stopped."""

from typing import Any

from tests.unit.engine.model import Execution, flow, py

Json = Any


def loop(in_: Json, **more: Any) -> dict[str, Any]:
    return {"in": in_, "iterator": "x", **more}


def each(levels: Json, *targets: str, **more: Any) -> dict[str, Any]:
    """The step `start`, which runs once per item."""
    return py("start", *targets, loop=levels, **more)


def nested(**outer: Any) -> Execution:
    inner = {"in": "{{ range(x) | list }}", "iterator": "y"}
    return flow(each([loop([2, 0, 1], **outer), inner], args={"told": "{{ x }}{{ y }}{{ _loop.parent.index }}"}))


def test_an_item_of_an_outer_loop_is_a_loop() -> None:
    execution = nested()
    execution.begin_loop("start")
    execution.begin_loop("start", 0)
    assert execution.events("loop_started")[1].node_id == "start/0"
    assert execution.args("start/0") == {"x": 2, "y": 0, "value": 0, "told": "200"}
    execution.done("start/0", "00")
    execution.done("start/0", "01")
    ended = execution.events("item_completed", "start")[0]
    assert (ended.item_index, ended.result, ended.meta) == (
        0,
        b'{"count":2,"failed":0}',
        {"loop": {"first": 4, "count": 2}},
    )
    execution.begin_loop("start", 1)
    execution.begin_loop("start", 2)
    execution.done("start/2", "20")
    execution.done("start")
    assert execution.result == [["00", "01"], [], ["20"]]


def test_three_levels_know_each_other() -> None:
    levels = [
        {"in": ["a"], "iterator": "x"},
        {"in": ["{{ x }}b"], "iterator": "y"},
        {"in": ["{{ y }}c"], "iterator": "z"},
    ]
    execution = flow(each(levels, args={"told": "{{ x }} {{ y }} {{ z }}"}))
    execution.begin_loop("start")
    execution.begin_loop("start", 0)
    execution.begin_loop("start/0", 0)
    assert execution.args("start/0/0")["told"] == "a ab abc"
    execution.done("start/0/0", 1)
    execution.done("start")
    assert execution.result == [[[1]]]


def test_a_failure_inside_stops_what_is_around_it() -> None:
    execution = nested(mode="async", concurrency=3)
    execution.begin_loop("start")
    execution.begin_loop("start", 0)
    execution.begin_loop("start", 2)
    execution.lease("start/2", 0)
    execution.lease("start", 1)
    execution.fail("start/0", item=0)
    assert [event.item_index for event in execution.events("item_failed", "start")] == [0]
    assert sorted(execution.waiting()) == ["start", "start/2"], "both run"
    execution.begin_loop("start", 1)
    assert execution.events("item_skipped", "start")[0].item_index == 1, "its loop does not begin"
    execution.done("start/2", "recorded")
    assert execution.status == "failed"
    error = execution.events("step_failed")[0].error or {}
    assert (error["index"], error["indexes"]) == (0, [0, 0])
    assert error["message"] == "item 0: item 0: start/0 broke"


def test_nothing_begins_in_the_loops_within_a_loop_that_fails() -> None:
    inner = {"in": [1, 2, 3], "iterator": "y"}
    execution = flow(each([loop([0, 1], mode="async"), inner]))
    execution.begin_loop("start")
    execution.begin_loop("start", 0)
    execution.begin_loop("start", 1)
    execution.lease("start/1", 0)
    execution.fail("start/0", item=0)
    execution.done("start/1", "recorded", item=0)
    assert execution.status == "failed"
    assert [event.node_id for event in execution.events("item_completed")] == ["start/1"]
    assert [(event.node_id, event.item_index) for event in execution.events("item_skipped")] == [("start", 1)]


def test_a_loop_that_fails_within_one_that_was_stopped_has_not_completed() -> None:
    execution = flow(each([loop([0, 1], mode="async"), {"in": [1], "iterator": "y"}]))
    execution.begin_loop("start")
    execution.begin_loop("start", 0)
    execution.begin_loop("start", 1)
    execution.lease("start/1", 0)
    execution.fail("start/0", item=0)
    execution.fail("start/1", item=0)
    assert execution.status == "failed"
    assert not execution.events("item_completed")
    assert [(e.node_id, e.item_index) for e in execution.events("item_failed")] == [
        ("start/0", 0),
        ("start", 0),
        ("start/1", 0),
        ("start", 1),
    ]


def test_a_loop_whose_items_were_skipped_has_not_completed() -> None:
    execution = flow(each([loop([0]), {"in": [1, 2], "iterator": "y", "mode": "async"}]))
    execution.begin_loop("start")
    execution.begin_loop("start", 0)
    execution.lease("start/0", 0)
    execution.cancel()
    execution.done("start/0", "recorded", item=0)
    assert [event.node_id for event in execution.events("item_completed")] == ["start/0"]
    assert [(event.node_id, event.item_index) for event in execution.events("item_skipped")] == [
        ("start/0", 1),
        ("start", 0),
    ]


def test_the_outer_loop_may_continue_where_the_inner_fails() -> None:
    execution = nested(on_error="continue")
    execution.begin_loop("start")
    execution.begin_loop("start", 0)
    execution.fail("start/0", item=0)
    execution.begin_loop("start", 1)
    execution.begin_loop("start", 2)
    execution.done("start/2", "last")
    execution.done("start")
    assert execution.result == [None, [], ["last"]]

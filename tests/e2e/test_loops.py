"""Loops as the language promises them, with a real worker."""

import itertools
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.playbooks import Lab
from tests.support.waiting import wait_for

DOUBLE = """
- step: start
  type: python
  loop: {in: "{{ workload.numbers }}", iterator: n, mode: async, concurrency: %d}
  args: {n: "{{ n }}"}
  code: "def main(n): return n * 2"
  next: [end]
- step: end
  result: {list: "{{ start }}", count: "{{ start.count }}", sum: "{{ start.results | sum }}"}
"""


def events_of(lab: Lab, execution_id: int, *types: str) -> list[Any]:
    return lab.rows(
        "SELECT node_id, item_index, attempt, worker_id IS NOT NULL, duration IS NOT NULL FROM event_log"
        " WHERE execution_id = %s AND event_type = ANY (%s) ORDER BY event_id",
        execution_id,
        list(types),
    )


@pytest.mark.parametrize("concurrency", [1, 7, 100])
def test_results_come_in_the_order_of_the_input(lab: Lab, concurrency: int) -> None:
    ended = lab.end(lab.begin(DOUBLE % concurrency, payload={"numbers": list(range(50))}))
    doubles = [2 * n for n in range(50)]
    assert (ended.status, ended.result) == ("completed", {"list": doubles, "count": 50, "sum": sum(doubles)})
    items = events_of(lab, ended.execution_id, "item_completed")
    assert sorted(items) == [("start", index, 1, True, True) for index in range(50)]
    assert ended.events[:3] == ["execution_start", "step_queued start", "loop_started start"]
    assert len(ended.events) == 2 + 1 + 50 + 3, "an item costs one event"


def test_the_list_goes_to_the_next_step_as_a_plain_one(lab: Lab) -> None:
    ended = lab.run("""
        - step: start
          type: python
          loop: {in: ["a", "b"]}
          code: "def main(item, index=None): return {'name': item}"
          next:
            - when: "{{ result.count == 2 and this[0].name == 'a' and not start.errors }}"
              then: [{step: told, args: {list: "{{ start }}", first: "{{ start[0].name }}"}}]
        - step: told
          type: python
          code: |
            def main(list, first):
                return [first, list, context["results"]["start"]]
        """)
    assert ended.status == "completed", ended.error
    assert ended.result == ["a", [{"name": "a"}, {"name": "b"}], [{"name": "a"}, {"name": "b"}]]


def test_sequential_items_follow_each_other(lab: Lab) -> None:
    ended = lab.run("""
        - step: start
          type: python
          loop: {in: [3, 1, 2]}
          code: |
            import time
            def main(value):
                began = time.monotonic()
                time.sleep(0.02)
                return [began, time.monotonic()]
        """)
    spans = ended.result
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_where_order_by_limit_and_batch(lab: Lab) -> None:
    ended = lab.run("""
        - step: start
          next: [{step: each, args: {people: [{n: a, age: 3}, {n: b, age: 1}, {n: c, age: 9}, {n: d, age: 2}]}}]
        - step: each
          type: python
          loop: {in: "{{ people }}", iterator: p, where: "{{ p.age < 9 }}", order_by: "{{ p.age }}", limit: 3, batch: 2}
          code: "def main(batch, value, p): return [batch == value == p, [one['n'] for one in p]]"
        """)
    assert ended.result == [[True, ["b", "d"]], [True, ["a"]]]


def test_an_item_that_fails_ends_the_loop_with_its_index(lab: Lab) -> None:
    ended = lab.run("""
        - step: start
          type: python
          loop: {in: [1, 0, 2], iterator: n}
          args: {n: "{{ n }}"}
          code: "def main(n): return 1 / n"
        """)
    assert ended.status == "failed"
    assert (ended.error["index"], ended.error["type"]) == (1, "python")
    assert ended.error["message"].startswith("item 1: ")
    assert "ZeroDivisionError" in ended.error["message"]
    assert ended.events[3:6] == ["item_completed start", "item_failed start", "step_failed start"]


def test_continue_gives_null_and_the_errors(lab: Lab) -> None:
    ended = lab.run("""
        - step: start
          type: python
          loop: {in: [1, 0, 2], iterator: n, mode: async, on_error: continue}
          args: {n: "{{ n }}"}
          code: "def main(n): return 2 / n"
          next: [end]
        - step: end
          result: {list: "{{ start }}", failed: "{{ start.errors | map(attribute='index') | list }}"}
        """)
    assert (ended.status, ended.result) == ("completed", {"list": [2.0, None, 1.0], "failed": [1]})


def test_items_are_retried_and_timed_out_one_by_one(lab: Lab) -> None:
    ended = lab.run("""
        - step: start
          type: python
          loop: {in: [0, 5], iterator: seconds, mode: async, on_error: continue}
          timeout: 300ms
          retry: {max_attempts: 2, initial_delay: 1ms}
          code: |
            import time
            def main(seconds):
                time.sleep(seconds)
                return "slept"
          next: [end]
        - step: end
          result: {list: "{{ start }}", errors: "{{ start.errors }}"}
        """)
    assert ended.result["list"] == ["slept", None]
    (error,) = ended.result["errors"]
    assert (error["type"], error["index"], error["attempt"]) == ("timeout", 1, 2)
    assert [row[:3] for row in events_of(lab, ended.execution_id, "attempt_failed")] == [("start", 1, 1)]


def test_loops_within_loops_give_lists_in_lists(lab: Lab) -> None:
    ended = lab.run("""
        - step: start
          type: python
          loop:
            - {in: [1, 2, 3], iterator: x, mode: async, concurrency: 2}
            - {in: "{{ range(x) | list }}", iterator: y, mode: async}
            - {in: ["{{ x }}", "{{ y }}"], iterator: z}
          code: "def main(x, y, z, value): return [x, y, z, z == value]"
          next: [end]
        - step: end
          result: "{{ start }}"
        """)
    assert ended.status == "completed", ended.error
    assert ended.result == [[[[x, y, z, True] for z in (x, y)] for y in range(x)] for x in (1, 2, 3)]


def test_a_result_of_the_whole_execution_that_is_a_loops_is_its_list(lab: Lab) -> None:
    ended = lab.run("""
        - step: start
          type: python
          loop: [{in: [1, 2], iterator: x}, {in: [3], iterator: y}]
          code: "def main(x, y): return x * y"
        """)
    assert ended.result == [[3], [6]]


def test_one_child_per_item_and_a_parent_that_gets_a_list(lab: Lab) -> None:
    child = lab.put("""
        - step: start
          type: python
          loop: {in: "{{ workload.up_to }}", iterator: n, mode: async}
          code: "def main(n): return n"
        """)
    ended = lab.run(f"""
        - step: start
          type: playbook
          path: {child}
          loop: {{in: [[1], [2, 3]], iterator: numbers, mode: async}}
          args: {{up_to: "{{{{ numbers }}}}"}}
          next: [named]
        - step: named
          type: playbook
          path: {child}
          return_step: start
          args: {{up_to: [7]}}
          next: [end]
        - step: end
          result: ["{{{{ start }}}}", "{{{{ named }}}}"]
        """)
    assert ended.status == "completed", ended.error
    assert ended.result == [[[1], [2, 3]], [7]]
    children = lab.rows(
        "SELECT parent_node_id, parent_item_index FROM execution WHERE parent_execution_id = %s ORDER BY 1, 2",
        ended.execution_id,
    )
    assert children == [("named", -1), ("start", 0), ("start", 1)]


def test_items_that_wait_hold_no_worker(lab: Lab) -> None:
    ended = lab.run("""
        - step: start
          type: wait
          for: 100ms
          loop: {in: "{{ range(20) | list }}", mode: async, concurrency: 20}
        """)
    assert ended.status == "completed"
    assert len(ended.result) == 20


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "in of the loop of step 'start' is empty (null): it must be a list"),
        ("abc", "in of the loop of step 'start' is text: it must be a list"),
        ({"a": 1}, "in of the loop of step 'start' is a mapping: it must be a list"),
    ],
)
def test_a_collection_that_is_no_list_fails_the_step_in_one_clear_sentence(lab: Lab, given: Any, said: str) -> None:
    ended = lab.end(lab.begin(DOUBLE % 1, payload={"numbers": given}))
    assert (ended.status, ended.error["type"]) == ("failed", "validation")
    assert ended.error["message"].startswith(said)


def test_large_results_of_items_are_stored_by_reference_and_come_back(lab: Lab) -> None:
    ended = lab.run("""
        - step: start
          type: python
          loop: {in: [1, 2, 3], mode: async}
          code: "def main(value): return 'x' * 400_000 + str(value)"
        """)
    assert [(len(one), one[-1]) for one in ended.result] == [(400_001, "1"), (400_001, "2"), (400_001, "3")]
    assert lab.one("SELECT count(*) FROM payload WHERE execution_id = %s", ended.execution_id) == 3


def test_a_cancelled_loop_begins_no_more_items(lab: Lab) -> None:
    execution = lab.begin("""
        - step: start
          type: python
          loop: {in: "{{ range(1000) | list }}", mode: async, concurrency: 50}
          code: |
            import time
            def main(value):
                time.sleep(0.02)
        """)
    wait_for(lambda: len(events_of(lab, execution, "item_completed")) >= 20)
    lab.orchestrator.cancel(execution)
    ended = lab.end(execution)
    assert ended.status == "cancelled"
    assert ended.events[-2:] == ["step_cancelled start", "execution_cancelled"]
    ended_items = [event for event in ended.events if event.startswith("item_")]
    assert len(ended_items) < 1000
    assert ended_items.count("item_skipped start") > 20, "those that were queued"


def test_a_loop_that_fails_withdraws_its_items_and_no_other_steps_jobs(lab: Lab) -> None:
    ended = lab.run("""
        - step: start
          next: [each, beside]
        - step: each
          type: python
          loop: {in: "{{ range(100) | list }}", mode: async, concurrency: 100}
          code: |
            import time
            def main(value):
                time.sleep(0.02)
                assert value != 3
          on_error: [{step: end}]
        - step: beside
          type: wait
          for: 300ms
          next: [end]
        - step: end
          result: done
        """)
    assert (ended.status, ended.result) == ("completed", "done")
    assert "step_completed beside" in ended.events
    counts = dict(
        lab.rows(
            "SELECT event_type, count(*) FROM event_log WHERE execution_id = %s AND item_index >= 0 GROUP BY 1",
            ended.execution_id,
        )
    )
    assert counts["item_failed"] == 1
    assert counts["item_skipped"] > 50
    assert sum(counts.values()) == 100


def test_children_of_a_loop_that_fails_are_cancelled_with_their_items(lab: Lab) -> None:
    """An item that waits for its child has begun and holds nothing: it is withdrawn."""
    child = lab.put("""
        - step: start
          next:
            - {when: "{{ workload.bad }}", then: [{step: broken}]}
            - else: [{step: slow}]
        - {step: broken, type: fail, message: on purpose}
        - {step: slow, type: wait, for: 1h}
        """)
    ended = lab.run(f"""
        - step: start
          type: playbook
          path: {child}
          loop: {{in: [false, false, true], iterator: bad, mode: async}}
          args: {{bad: "{{{{ bad }}}}"}}
        """)
    assert (ended.status, ended.error["index"]) == ("failed", 2)
    assert "on purpose" in ended.error["message"]
    children = "SELECT parent_item_index, status FROM execution WHERE parent_execution_id = %s ORDER BY 1"
    wait_for(lambda: all(status != "running" for _, status in lab.rows(children, ended.execution_id)))
    assert lab.rows(children, ended.execution_id) == [(0, "cancelled"), (1, "cancelled"), (2, "failed")]
    skipped = events_of(lab, ended.execution_id, "item_skipped")
    assert sorted(row[1] for row in skipped) == [0, 1]


def test_items_and_the_whole_are_saved_where_the_playbook_says(lab: Lab, tmp_path: Path) -> None:
    """With the real tool: a file per item, a table for all."""
    ended = lab.end(
        lab.begin(
            """
            - step: start
              type: duckdb
              database: "{{ workload.folder }}/all.db"
              command: CREATE TABLE people (id BIGINT, upper VARCHAR)
              next: [each]
            - step: each
              type: python
              loop:
                in: [{id: 1, name: Ada}, {id: 2, name: Grace}]
                iterator: person
                mode: async
                save: {storage: file, path: "{{ workload.folder }}/{{ person.id }}.json", format: json}
              code: "def main(person): return {'id': person['id'], 'upper': person['name'].upper()}"
              save: {storage: duckdb, database: "{{ workload.folder }}/all.db", table: people}
              next: [read]
            - step: read
              type: duckdb
              database: "{{ workload.folder }}/all.db"
              command: SELECT id, upper FROM people ORDER BY id
              next: [end]
            - step: end
              result: ["{{ each }}", "{{ read.command_0.rows }}"]
            """,
            payload={"folder": str(tmp_path)},
        )
    )
    people = [{"id": 1, "upper": "ADA"}, {"id": 2, "upper": "GRACE"}]
    assert (ended.status, ended.result) == ("completed", [people, people]), ended.error
    assert [orjson.loads((tmp_path / f"{n}.json").read_bytes()) for n in (1, 2)] == [[one] for one in people]

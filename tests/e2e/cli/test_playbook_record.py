"""A test written from an execution that really ran passes; `noetl playbook test` needs neither database nor server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.home import Home, a_home
from tests.support.postgres import TestServer
from tests.support.stub import serving
from tests.support.waiting import wait_for

EXAMPLES = Path(__file__).parents[3] / "examples"

FLOW = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {path: flows/record}
workload: {base_url: "", greeting: hello, uncommon: "{{ uuid() }}"}
workflow:
  - {step: start, next: [ask, count, pause]}
  - step: ask
    type: http
    endpoint: "{{ workload.base_url }}/unsteady"
    retry: {max_attempts: 3, initial_delay: 50ms, jitter: true}
    next: end
  - step: count
    type: python
    args: {n: "{{ count.n | default(0) }}"}
    code: |
      import time
      def main(n):
          return {"n": n + 1, "at": time.time()}
    next: [{when: "{{ count.n < 3 }}", then: count}, {else: greet}]
  - {step: greet, type: playbook, path: flows/greeting, args: {id: "{{ execution_id }}"}, next: end}
  - {step: pause, type: wait, for: 100ms, next: refuse}
  - step: refuse
    type: python
    args: {word: "{{ uuid() }}"}
    code: |
      def main(word):
          raise ValueError(word)
    on_error: note
  - {step: note, type: python, args: {m: "{{ error.message }}"}, code: "def main(m): return m", next: end}
  - step: end
    result: {asked: "{{ ask.data }}", at: "{{ count.at }}", child: "{{ greet }}", note: "{{ note }}",
             until: "{{ pause.until }}", word: "{{ workload.uncommon }}", count: "{{ count.n }}"}
finally:
  - {step: last, type: python, args: {status: "{{ status }}"}, code: "def main(status): return status"}
"""

GREETING = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {path: flows/greeting}
workload: {id: ""}
workflow:
  - {step: start, type: python, args: {id: "{{ workload.id }}"}, code: "def main(id): return 'hello ' + id"}
"""

LOOPS = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {path: flows/loops}
workflow:
  - step: start
    type: python
    loop: [{in: [1, 2, 3], iterator: a, mode: async, on_error: continue}, {in: "{{ range(a) | list }}", iterator: b}]
    args: {a: "{{ a }}", b: "{{ b }}"}
    retry: {max_attempts: 2, initial_delay: 20ms}
    code: |
      import uuid
      def main(a, b):
          if a == 3 and b == 1:
              raise ValueError("no")
          return {"large": "x" * 300_000} if (a, b) == (2, 1) else uuid.uuid4().hex
    next: large
  - {step: large, type: python, args: {all: "{{ start }}"}, next: end, code: "def main(all): return all[1][1]"}
  - step: end
    result: {first: "{{ start[0] }}", failed: "{{ start[2] }}", large: "{{ large.large | length }}",
             errors: "{{ start.errors | length }}"}
"""

WAITING = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {path: flows/waiting}
workflow:
  - {step: start, next: [long, short]}
  - {step: long, type: wait, for: 10d}
  - {step: short, type: python, code: "def main(): return 1"}
finally:
  - {step: last, type: python, code: "def main(): return 2"}
"""


@pytest.fixture(scope="module")
def home(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(server, tmp_path_factory.mktemp("record")) as home:
        home.write("flows/record", FLOW)
        home.write("flows/greeting", GREETING)
        home.write("flows/waiting", WAITING)
        home.write("flows/loops", LOOPS)
        for name in ("errors/compensate", "retry/unsteady", "wait/pause"):
            home.write(f"examples/{name}", (EXAMPLES / f"{name}.yaml").read_text())
        home.run("server", "start")
        home.run("worker", "start")
        yield home


class Unsteady:
    """An API that is not there for the first that asks."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, asked: dict[str, Any]) -> Any:
        self.asked += 1
        return (503, {"why": "not yet"}) if self.asked < 2 else {"value": 7}


def record(home: Home, path: str, execution_id: str) -> list[dict[str, Any]]:
    """Write the test of an execution beside its playbook, run it there, and return what came of all tests."""
    beside = home.work / f"{path}.test.yaml"
    beside.unlink(missing_ok=True)
    told = home.run("playbook", "test", "--record", execution_id, "--output", str(beside))
    assert "the test passes" in told.stderr
    rows: list[dict[str, Any]] = home.json("playbook", "test", path)
    assert all(row["ok"] for row in rows)
    return [row for row in rows if row["name"] == f"execution {execution_id}"]


def execute(home: Home, path: str, payload: dict[str, Any], expect: int = 0) -> dict[str, Any]:
    done = home.run("execute", "playbook", path, "--payload", json.dumps(payload), "--json", expect=expect)
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def test_an_execution_with_a_bit_of_everything(home: Home) -> None:
    """Retries, a cycle, a child, a wait, a handler, `finally`; times, ids and random texts among the results."""
    with serving({"/unsteady": Unsteady()}) as stub:
        done = execute(home, "flows/record", {"base_url": stub.url})
    assert done["result"]["asked"] == {"value": 7}
    (row,) = record(home, "flows/record", done["execution_id"])
    assert row["result"] == done["result"]
    again = home.run("playbook", "test", "--record", done["execution_id"])
    assert again.stdout == (home.work / "flows/record.test.yaml").read_text()
    assert [step["step"] for step in row["steps"]].count("count") == 3
    assert [call["attempt"] for call in row["calls"] if call["step"] == "ask"] == [1, 2]


def test_loops_with_failures_and_results_by_reference(home: Home) -> None:
    done = execute(home, "flows/loops", {})
    assert done["result"]["large"] == 300_000
    assert (done["result"]["failed"], done["result"]["errors"]) == (None, 1)
    (row,) = record(home, "flows/loops", done["execution_id"])
    assert row["result"] == done["result"]
    assert [(call["item"], call["attempt"]) for call in row["calls"] if call.get("item") == "2/1"] == [
        ("2/1", 1),
        ("2/1", 2),
    ]


@pytest.mark.parametrize(
    ("path", "payload", "status"),
    [
        ("examples/errors/compensate", {"amount": 50}, "completed"),
        ("examples/errors/compensate", {"amount": 500}, "failed"),
        ("examples/wait/pause", {"pause": "200ms"}, "completed"),
    ],
)
def test_examples(home: Home, path: str, payload: dict[str, Any], status: str) -> None:
    done = execute(home, path, payload, expect=0 if status == "completed" else 1)
    (row,) = record(home, path, done["execution_id"])
    assert (row["status"], row["result"]) == (status, done["result"])


def test_an_execution_that_was_cancelled(home: Home) -> None:
    number = home.run("execute", "playbook", "flows/waiting", "--no-wait").stdout.strip()
    wait_for(lambda: _long_is_left(home, number), limit=60)
    home.run("playbook", "test", "--record", number, expect=2)  # it has not ended
    home.run("execute", "cancel", number)
    home.run("execute", "watch", number, expect=1)
    (row,) = record(home, "flows/waiting", number)
    assert row["status"] == "cancelled"
    assert {step["step"] for step in row["steps"]} == {"start", "short", "last"}


def _long_is_left(home: Home, number: str) -> bool:
    """Whether only the long wait is left."""
    jobs = home.json("execute", "status", number)["jobs"]
    return [job["node_id"] for job in jobs] == ["long"]


def test_a_file_that_is_there_is_not_written_over(home: Home) -> None:
    file = home.work / "there.yaml"
    file.write_text("mine")
    told = home.run("playbook", "test", "--record", "1", "--output", str(file), expect=2)
    assert "there.yaml exists: name another file" in told.stderr
    assert file.read_text() == "mine"
    assert "there is no execution" in home.run("playbook", "test", "--record", "1", expect=2).stderr


def test_tests_need_no_database_and_no_server(tmp_path: Path, home: Home) -> None:
    """The settings name a database that is not there, and a home that nobody has made."""
    nowhere = {"NOETL_HOME": str(tmp_path / "none"), "NOETL_DATABASE_URL": "postgresql://127.0.0.1:1/none"}
    done = home.run("playbook", "test", str(EXAMPLES / "http"), env=nowhere)
    assert "3 tests passed" in done.stdout
    assert not (tmp_path / "none").exists()

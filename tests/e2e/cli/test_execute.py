"""`noetl execute` and its relatives, with a real server and a real worker."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from noetl.cli.background import Background
from tests.support.home import Home, a_home
from tests.support.postgres import TestServer
from tests.support.process import Process

GREET = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: greet, path: flows/greet}
workload: {message: hi, deep: {a: 1, b: 2}}
workflow:
  - step: start
    next: [{step: greet}]
  - step: greet
    type: python
    args: {message: "{{ workload.message }}"}
    code: |
      def main(message):
          print("greeting", message)
          return {"greeting": "Hello " + message}
    next: [{step: end}]
  - step: end
    result: {greeting: "{{ greet.greeting }}", deep: "{{ workload.deep }}"}
"""

RAISES = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: raises, path: flows/raises}
workflow:
  - step: start
    type: python
    code: |
      def main():
          raise ValueError("that went wrong")
"""

WAITS = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: waits, path: flows/waits}
workload: {file: ""}
workflow:
  - step: start
    type: python
    args: {file: "{{ workload.file }}"}
    code: |
      import os, time
      def main(file):
          open(file + ".begun", "a").write("x")
          while not os.path.exists(file):
              time.sleep(0.02)
          return "seen"
    next: [{step: end}]
  - step: end
    result: "{{ start }}"
"""

PARENT = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: parent, path: flows/parent}
workflow:
  - step: start
    type: playbook
    path: flows/greet
    args: {message: child}
    next: [{step: end}]
  - step: end
    result: "{{ start.greeting }}"
"""

FAST = {"NOETL_LEASE_SECONDS": "2"}


@pytest.fixture(scope="module")
def home(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose server and worker run as long as this file's tests."""
    with a_home(server, tmp_path_factory.mktemp("execute"), FAST) as home:
        for path, text in (("greet", GREET), ("raises", RAISES), ("waits", WAITS), ("parent", PARENT)):
            home.write(f"flows/{path}", text)
        home.run("server", "start")
        home.run("worker", "start")
        yield home


@pytest.fixture(autouse=True)
def verified(home: Home) -> Iterator[None]:
    """The invariants hold after each test, not only when the home is given up."""
    yield
    home.verify()


def wait_for(condition: Callable[[], bool], what: str, limit: float = 30.0) -> None:
    """Look until it is so."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about in {limit} s"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Tell whether a process lives; the row of one that was killed says so only after a while."""
    return Path(f"/proc/{pid}").exists()


def start_waiting(home: Home, file: Path) -> str:
    """Start the playbook that waits for a file, and return its id once its step runs."""
    payload = json.dumps({"file": str(file)})
    number = home.run("execute", "playbook", "flows/waits", "--payload", payload, "--no-wait").stdout.strip()
    wait_for(Path(f"{file}.begun").exists, "the begin of the step")
    return number


def test_a_file_is_registered_executed_and_shown(home: Home) -> None:
    done = home.run("execute", "playbook", "flows/greet", "--json")
    outcome = json.loads(done.stdout)
    assert isinstance(outcome["execution_id"], str)
    assert (outcome["status"], outcome["path"]) == ("completed", "flows/greet")
    assert outcome["result"] == {"greeting": "Hello hi", "deep": {"a": 1, "b": 2}}
    assert "✓ greet" in done.stderr
    again = home.run("execute", "playbook", "flows/greet.yaml")
    assert json.loads(again.stdout) == outcome["result"]
    assert "registered" not in again.stderr


def test_payload_merge_and_set(home: Home) -> None:
    def deep(*flags: str) -> object:
        return home.json("execute", "playbook", "flows/greet", *flags)["result"]["deep"]

    assert deep("--payload", '{"deep": {"c": 3}}') == {"c": 3}
    assert deep("--payload", '{"deep": {"c": 3}}', "--merge") == {"a": 1, "b": 2, "c": 3}
    assert deep("--set", "deep.a=text", "--set", "deep.c=[1]") == {"a": "text", "b": 2, "c": [1]}
    stdin = home.json("execute", "playbook", "flows/greet", "--input", "-", stdin='{"message": "you"}')
    assert stdin["result"]["greeting"] == "Hello you"
    for flags in (("--set", "mesage=you"), ("--payload", '{"mesage": "you"}')):
        refused = home.run("execute", "playbook", "flows/greet", *flags, expect=2)
        assert "flows/greet has nothing called 'mesage' (did you mean 'message'?) in its workload" in refused.stderr


def test_a_failed_execution_exits_with_1(home: Home) -> None:
    done = home.run("execute", "playbook", "flows/raises", "--json", expect=1)
    outcome = json.loads(done.stdout)
    assert outcome["status"] == "failed"
    assert "that went wrong" in outcome["error"]["message"]
    assert "✗ start failed" in done.stderr
    number = outcome["execution_id"]
    home.run("execute", "status", number, expect=1)
    home.run("execute", "watch", number, expect=1)


def test_an_execution_is_looked_at_from_outside(home: Home) -> None:
    number = home.run("execute", "playbook", "flows/greet", "--no-wait", "--label", "n=1").stdout.strip()
    watched = home.json("execute", "watch", number)
    assert watched["status"] == "completed"
    shown = home.json("execute", "status", number)
    assert shown["labels"] == {"n": "1"}
    assert shown["started_by"].count("@") == 1
    assert home.run("execute", "logs", number).stdout == "greeting hi\n"
    assert home.json("execute", "logs", number)[0]["text"] == "greeting hi\n"
    assert json.loads(home.run("execute", "result", number).stdout) == shown["result"]
    assert json.loads(home.run("execute", "result", number, "greet").stdout) == {"greeting": "Hello hi"}
    assert "no step 'gret' that has ended" in home.run("execute", "result", number, "gret", expect=2).stderr
    assert "give its name, too" in home.run("execute", "result", number, "--item", "3", expect=2).stderr
    listed = home.json("execute", "list", "--label", "n=1", "--status", "completed", "--path", "flows/greet.yaml")
    assert [row["execution_id"] for row in listed] == [number]
    assert number in home.run("execute", "list").stdout
    assert home.run("execute", "cancel", number).stderr == f"execution {number} is completed\n"


def test_children_are_registered_with_their_parent(home: Home) -> None:
    done = home.run("execute", "playbook", "flows/parent")
    assert json.loads(done.stdout) == "Hello child"


def test_a_key_starts_once(home: Home) -> None:
    first = home.json("execute", "playbook", "flows/greet", "--key", "k")
    second = home.run("execute", "playbook", "flows/greet", "--key", "k", "--json")
    assert json.loads(second.stdout)["execution_id"] == first["execution_id"]
    assert "started before with this key" in second.stderr


def test_what_runs_is_cancelled(home: Home, tmp_path: Path) -> None:
    with home.start("execute", "playbook", "flows/waits", "--json", "--set", f"file={tmp_path / 'never'}") as process:
        wait_for((tmp_path / "never.begun").exists, "the begin of the step")
        number = home.json("execute", "list", "--status", "running")[0]["execution_id"]
        assert home.json("execute", "cancel", number, "--reason", "enough")["status"] in ("cancelling", "cancelled")
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert json.loads(out)["status"] == "cancelled"


def test_ctrl_c_stops_watching_only(home: Home, tmp_path: Path) -> None:
    with home.start("execute", "playbook", "flows/waits", "--set", f"file={tmp_path / 'go'}") as process:
        wait_for((tmp_path / "go.begun").exists, "the begin of the step")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "goes on" in err
    assert "Traceback" not in err
    (tmp_path / "go").touch()
    number = home.json("execute", "list", "--path", "flows/waits", "--limit", "1")[0]["execution_id"]
    assert home.json("execute", "watch", number)["result"] == "seen"


def test_wrong_input_is_a_sentence_and_exit_code_2(home: Home) -> None:
    home.write("flows/broken", "metadata: {path: x}\nworkflow: [\n")
    home.write("flows/wrong", GREET.replace("step: end}", "step: edn}").replace("flows/greet", "flows/wrong"))
    for arguments, says in (
        (["execute", "playbook", "flows/nothing"], "flows/nothing"),
        (["execute", "playbook", "flows/broken"], "flows/broken.yaml:"),
        (["execute", "playbook", "flows/wrong"], "flows/wrong.yaml:16:19: error: dangling"),
        (["execute", "playbook", "flows/greet", "--payload", "[1]"], "must be a JSON object"),
        (["execute", "playbook", "flows/greet", "--version", "1"], "is a file and has no versions"),
        (["execute", "status", "12"], "there is no execution 12"),
        (["execute", "watch", "x"], "there is no execution 'x'"),
        (["execute", "cancel", "12"], "there is no execution 12"),
        (["execute", "list", "--status", "odd"], "status"),
        (["catalog", "show", "flows/nothing"], "the catalog has nothing at 'flows/nothing'"),
        (["catalog", "register", "nothing"], "there is no file nothing"),
        (["export", "12"], "there is no execution 12"),
        (["export", "12", "--only", "secrets"], "--only 'secrets'"),
        (["execute", "playbook", "flows"], "flows is a folder, and there is no playbook flows in the catalog"),
        (["run", "flows/nothing"], "there is no file flows/nothing"),
        (["worker", "start"], "runs already"),
        (["worker", "start", "--name", "a/b"], "name is 'a/b'"),
        (["execute"], "Usage"),
        (["odd"], "No such command"),
    ):
        told = home.run(*arguments, expect=2)
        assert says in told.stderr + told.stdout, arguments
        assert told.stdout == "" or arguments == ["execute"], arguments


def test_the_catalog_from_the_command_line(home: Home) -> None:
    done = home.run("catalog", "register", "flows/greet", "flows/parent.yaml", "--json")
    assert [entry["path"] for entry in json.loads(done.stdout)] == ["flows/greet", "flows/parent"]
    assert home.run("catalog", "show", "flows/greet@1").stdout == GREET
    assert home.json("catalog", "show", "flows/greet")["version"] == 1
    assert {"flows/greet", "flows/parent"} <= {row["path"] for row in home.json("catalog", "list")}
    (home.work / "some").mkdir()
    home.write("some/one", GREET.replace("flows/greet", "some/one"))
    home.write("some/bad", GREET.replace("flows/greet", "some/bad").replace("type: python", "type: pyhton"))
    partly = home.run("catalog", "register", "some", expect=2)
    assert "some/one" in partly.stdout
    assert "some/bad.yaml:" in partly.stderr


def test_an_export_holds_what_is_known(home: Home) -> None:
    number = home.json("execute", "playbook", "flows/greet")["execution_id"]
    home.run("export", number, "--dir", "out")
    found = {file.stem: json.loads(file.read_text()) for file in (home.work / "out").iterdir()}
    assert set(found) == {
        "event_log",
        "queue",
        "workload",
        "workflow",
        "transition",
        "workbook",
        "runtime",
        "error_log",
    }
    log = found["event_log"]
    times = [event["timestamp"] for event in log]
    assert None not in times
    assert times == sorted(set(times))
    assert [event["event_type"] for event in log].count("execution_complete") == 1
    assert {event["execution_id"] for event in log} == {number}
    assert found["workload"][0]["payload"]["message"] == "hi"
    assert {row["kind"] for row in found["runtime"]} == {"server", "worker"}
    assert len(found["workflow"]) == 3
    assert len(found["transition"]) == 2
    home.run("export", number, "--dir", "one", "--only", "output")
    assert [file.name for file in (home.work / "one").iterdir()] == ["output.json"]


def test_a_server_killed_in_the_middle_is_waited_for(home: Home, tmp_path: Path) -> None:
    with home.start("execute", "playbook", "flows/waits", "--json", "--set", f"file={tmp_path / 'go'}") as process:
        wait_for((tmp_path / "go.begun").exists, "the begin of the step")
        pid = Background(home.settings.home, "server").pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        home.run("server", "start")
        (tmp_path / "go").touch()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["result"] == "seen"
    assert "the server went away" in err


def test_a_worker_killed_in_the_middle_is_replaced_and_its_work_done_again(home: Home, tmp_path: Path) -> None:
    number = start_waiting(home, tmp_path / "go")
    worker = home.json("worker", "list")[0]
    os.kill(worker["pid"], signal.SIGKILL)
    (tmp_path / "go").touch()
    assert home.json("execute", "watch", number)["result"] == "seen"
    assert (tmp_path / "go.begun").read_text() == "xx"
    wait_for(lambda: home.json("worker", "list")[0]["pid"] != worker["pid"], "the worker that replaces it")


def test_a_worker_drains(home: Home, tmp_path: Path) -> None:
    number = start_waiting(home, tmp_path / "go")
    with home.start("worker", "stop") as process:
        wait_for(lambda: "draining" in home.logs(), "the drain")
        (tmp_path / "go").touch()
        process.communicate(timeout=60)
    events = home.json("execute", "status", number)
    home.run("worker", "start", "--processes", "2", "--slots", "2")
    assert home.json("execute", "watch", number)["result"] == "seen"
    assert (tmp_path / "go.begun").read_text() == "x", events
    wait_for(lambda: sum(lives(row["pid"]) for row in home.json("worker", "list")) == 2, "two workers")


def test_run_needs_neither_server_nor_worker(home: Home) -> None:
    done = home.json("run", "flows/parent")
    assert (done["status"], done["result"]) == ("completed", "Hello child")
    assert home.json("run", "flows/raises", expect=1)["status"] == "failed"
    assert home.json("run", "flows/greet", "--set", "deep.a=5")["result"]["deep"] == {"a": 5, "b": 2}


def interrupted_run(home: Home, file: Path, times: int) -> tuple[Process, str, str]:
    """Run the playbook that waits for a file, and interrupt it."""
    with home.start("run", "flows/waits", "--json", "--set", f"file={file}") as process:
        wait_for(Path(f"{file}.begun").exists, "the begin of the step")
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)  # two signals at once are one
        out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process, out, err


def test_the_first_ctrl_c_cancels_a_run(home: Home, tmp_path: Path) -> None:
    home.run("worker", "stop")
    process, out, err = interrupted_run(home, tmp_path / "never", 1)
    assert process.returncode == 1, err
    assert json.loads(out)["status"] == "cancelled"
    assert "cancelling" in err
    home.run("worker", "start")


def test_a_run_that_is_left_goes_on_with_a_worker(home: Home, tmp_path: Path) -> None:
    home.run("worker", "stop")
    process, out, err = interrupted_run(home, tmp_path / "go", 2)
    assert (process.returncode, out) == (130, ""), err
    number = err.partition("execution ")[2].split()[0]
    assert number in home.json("execute", "status", number, expect=None)["execution_id"]
    home.run("worker", "start")
    (tmp_path / "go").touch()
    home.run("execute", "watch", number, expect=None)


def test_start_starts_what_is_missing_once(home: Home) -> None:
    home.stop()
    processes = [home.start("execute", "playbook", "flows/greet", "--start", "--json") for _ in range(2)]
    for process in processes:
        with process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert json.loads(out)["status"] == "completed"
    assert len(home.json("worker", "list")) == 1
    told = home.run("execute", "playbook", "flows/greet", "--start", "--port", "1", expect=2)
    assert "leave --host and --port out" in told.stderr


def test_two_servers_and_three_workers_share_one_database(home: Home, tmp_path: Path) -> None:
    """Each home has a server and workers of its own; what one accepts, any may do, and both see it."""
    home.run("worker", "stop")
    home.run("worker", "start", "--processes", "2")
    other = Home(replace(home.settings, home=tmp_path / "other"), home.work, FAST)
    try:
        other.run("server", "start")
        other.run("worker", "start", "--name", "third")
        assert other.address != home.address
        numbers = [each.run("execute", "playbook", "flows/greet", "--no-wait").stdout.strip() for each in (home, other)]
        for number in numbers:
            for each in (home, other):
                assert each.json("execute", "watch", number)["status"] == "completed"
        assert sum(lives(row["pid"]) for row in other.json("worker", "list")) == 3
    finally:
        other.stop()

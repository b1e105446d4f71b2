"""Nobody is left without a word: no worker, a failure's reason, no server to read from, what steps print."""

import json
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.home import Home, a_home
from tests.support.postgres import TestServer
from tests.support.process import Process

HELLO = """\
apiVersion: noetl.io/v1
kind: Playbook
metadata: {path: hello}
workflow:
  - step: start
    type: python
    code: |
      def main():
          print("printed \\x1b[2J")
          return "hi"
"""
BREAKS = """\
apiVersion: noetl.io/v1
kind: Playbook
metadata: {path: breaks}
workflow:
  - {step: start, next: call}
  - step: call
    type: playbook
    path: broken
"""
BROKEN = """\
apiVersion: noetl.io/v1
kind: Playbook
metadata: {path: broken}
workflow:
  - step: start
    type: python
    code: |
      def main():
          return 1 / 0
"""


@pytest.fixture(scope="module")
def home(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home with a database and nothing that runs."""
    with a_home(server, tmp_path_factory.mktemp("people")) as home:
        for path, text in (("hello", HELLO), ("breaks", BREAKS), ("broken", BROKEN)):
            home.write(path, text)
        yield home


def read_until(process: Process, wanted: Callable[[str], bool], limit: float = 60.0) -> str:
    """Read a process's stderr until a line is the wanted one; return all that was read."""
    assert process.stderr is not None
    seen, end = "", time.monotonic() + limit
    while time.monotonic() < end:
        line = process.stderr.readline()
        seen += line
        if wanted(line) or not line:
            break
    assert wanted(line), seen
    return seen


def test_a_worker_that_is_missing_is_named_while_one_waits(home: Home) -> None:
    home.run("server", "start")
    with home.start("execute", "playbook", "hello", "--prints") as process:
        read_until(process, lambda line: "no worker serves pool 'default': start one with `noetl worker start`" in line)
        home.run("worker", "start")
        out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)) == (0, "hi"), err
    assert "| start: printed" in err
    home.run("worker", "stop", "--timeout", "5")
    number = home.run("execute", "playbook", "hello", "--no-wait").stdout.strip()
    shown = home.json("execute", "status", number)
    assert [(wait["kind"], wait["step"]) for wait in shown["waits"]] == [("worker", "start")]
    assert "start one with `noetl worker start`" in home.run("execute", "status", number).stdout
    with home.start("execute", "watch", number) as process:
        read_until(process, lambda line: "no worker serves pool 'default'" in line)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    home.run("execute", "cancel", number)
    home.run("server", "stop")


def test_the_reason_of_a_failure_is_printed_where_it_happens_and_asked_for(home: Home) -> None:
    """With file and line; that of a child stands below its parent's. All of it is read without a server, too."""
    done = home.run("run", "breaks", "--json", expect=1)
    number = json.loads(done.stdout)["execution_id"]
    home.run("server", "stop")
    outcome = home.run("execute", "status", number, expect=1)
    assert "no server of this home answers: read from the database" in outcome.stderr
    for line in (
        "call failed: child execution",
        "of broken: start failed: ZeroDivisionError: division by zero",
        '    File "broken@1", line 9, in main',
    ):
        assert line in outcome.stdout
    failures = json.loads(done.stdout)["failures"]
    assert [failure["step"] for failure in failures] == ["call", "start"]
    alone = home.run("run", "broken", expect=1)
    assert f'File "{home.work / "broken.yaml"}", line 9, in main' in alone.stderr.replace(
        'File "broken.yaml"', f'File "{home.work / "broken.yaml"}"'
    )


def test_reading_needs_no_server(home: Home) -> None:
    done = home.run("run", "hello", "--label", "n=1")
    assert "| start: printed \x1b[2J" in done.stderr  # no terminal: nothing is obeyed there
    (row,) = home.json("execute", "list", "--label", "n=1", "--since", "1h")
    number = row["execution_id"]
    assert home.json("execute", "list", "--since", "2100-01-01") == []
    assert home.run("execute", "logs", number, "--follow").stdout == "printed \x1b[2J\n"
    assert json.loads(home.run("execute", "result", number).stdout) == "hi"
    assert home.json("execute", "watch", number)["status"] == "completed"
    assert "hello" in home.run("catalog", "list").stdout
    assert "def main" in home.run("catalog", "show", "hello").stdout
    wrong = home.run("execute", "list", "--status", "bogus", expect=2).stderr
    assert "there are running, paused, failing" in wrong
    assert "write an age as 90m" in home.run("execute", "list", "--since", "soon", expect=2).stderr
    refused = home.run("execute", "status", number, "--port", "9", expect=2).stderr
    assert "no server can be reached at http://127.0.0.1:9" in refused

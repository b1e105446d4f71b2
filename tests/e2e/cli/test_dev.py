"""`noetl dev`: playbooks are registered on each save, their executions are shown, and Ctrl-C leaves what ran before."""

import json
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from noetl.cli.background import Background
from noetl.cli.dev.files import Folder
from noetl.cli.dev.screen import Screen
from noetl.orchestrator.commands import Registered
from tests.support.home import Home, a_home
from tests.support.postgres import TestServer
from tests.support.process import Process

HELLO = """\
apiVersion: noetl.io/v1
kind: Playbook
metadata: {path: dev/hello}
workload: {name: you}
workflow:
  - step: start
    type: python
    args: {name: "{{ workload.name }}"}
    code: |
      def main(name):
          print("greeting")
          return "hello " + name
"""


@pytest.fixture
def home(server: TestServer, tmp_path: Path) -> Iterator[Home]:
    with a_home(server, tmp_path) as home:
        yield home


class Lines:
    """The JSON lines of a process, read by a thread."""

    def __init__(self, process: Process) -> None:
        self.seen: list[dict[str, Any]] = []
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: Process) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._queue.put(json.loads(line))

    def until(self, wanted: Callable[[dict[str, Any]], bool], limit: float = 90.0) -> dict[str, Any]:
        """Return the next line that is wanted."""
        end = time.monotonic() + limit
        while True:
            try:
                found = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"it did not come: {self.seen}") from None
            self.seen.append(found)
            if wanted(found):
                return found


def what(word: str) -> Callable[[dict[str, Any]], bool]:
    return lambda line: line["what"] == word


def test_playbooks_are_registered_on_save_and_their_executions_shown(home: Home) -> None:
    home.run("server", "start")
    file = home.work / f"{home.write('books/hello', HELLO)}.yaml"
    with home.start("dev", "books", "--json", "--run", "books/hello", "--set", "name=dev") as process:
        lines = Lines(process)
        assert lines.until(what("registered"))["version"] == 1
        assert lines.until(what("printed"))["text"] == "greeting\n"
        assert lines.until(what("ended"))["result"] == "hello dev"
        file.write_text(HELLO.replace("python", "pyhton"))
        problem = lines.until(what("problem"))
        assert (problem["file"], problem["line"], problem["severity"]) == ("books/hello.yaml", 7, "error")
        assert "version 1 of dev/hello stays" in lines.until(what("note"))["text"]
        file.write_text(HELLO.replace("hello ", "hi "))
        assert lines.until(what("registered"))["version"] == 2
        assert lines.until(what("ended"))["result"] == "hi dev"
        second = home.json("execute", "playbook", "dev/hello")
        assert second["result"] == "hi you"
        assert lines.until(what("ended"))["execution_id"] == second["execution_id"]
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        err = process.stderr.read()  # stdout has a reader already
        process.wait(60)
    assert process.returncode == 0, err
    assert Background(home.settings.home, "server").pid() is not None, "it ran before"
    assert Background(home.settings.home, "worker-default").pid() is None, "it was started by dev"


def test_wrong_use_is_told(home: Home, tmp_path: Path) -> None:
    assert "there is no folder none" in home.run("dev", "none", expect=2).stderr
    file = tmp_path / "x.yaml"
    file.write_text("kind: Playbook\n")
    assert f"{file} is a file: noetl dev takes the folder" in home.run("dev", str(file), expect=2).stderr
    assert "--set is for the playbook of --run" in home.run("dev", "--set", "a=1", expect=2).stderr


def test_a_folder_is_looked_at_without_what_is_no_playbook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hidden folders, tests beside playbooks and other YAML files are left out; a saved helper counts for all."""
    versions: dict[str, list[str]] = {}

    def register(content: str, filename: str) -> Registered:
        known = versions.setdefault("dev/hello", [])
        if created := (not known or known[-1] != content):
            known.append(content)
        return Registered("dev/hello", len(known), "Playbook", created)

    for name, text in (
        ("a.yaml", HELLO),
        (".git/b.yaml", HELLO),
        ("hello.test.yaml", HELLO),
        ("compose.yaml", "services: {}\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    folder = Folder(tmp_path, register, Screen(as_json=False))
    assert folder.look() == ["dev/hello"]
    assert folder.paths == {"dev/hello": tmp_path / "a.yaml"}
    assert folder.look() == []
    (tmp_path / "helper.py").write_text("x = 1\n")
    versions["dev/hello"] = []  # as though the helper were part of it
    assert folder.look() == ["dev/hello"]
    (tmp_path / "a.yaml").write_bytes(b"\xff")
    assert folder.look() == []
    (tmp_path / "a.yaml").unlink()
    assert folder.look() == []
    assert folder.paths == {}
    told = capsys.readouterr().err
    assert "a.yaml is not UTF-8 text" in told
    assert "a.yaml is gone; version 1 of dev/hello stays in the catalog" in told

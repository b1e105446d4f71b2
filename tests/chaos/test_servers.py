"""Two servers and three workers on one database, and a server that is killed in the middle."""

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from noetl.cli.background import Background
from noetl.database.connection.connect import Database
from noetl.settings import Settings
from tests.support.chaos import FORK, living
from tests.support.crew import a_crew
from tests.support.home import Home
from tests.support.waiting import wait_for
from tests.support.working import Engine

KEYS = 60
TOKEN = "known-to-all"


@contextmanager
def a_server(settings: Settings, folder: Path) -> Iterator[Home]:
    """Run a server with a home of its own."""
    folder.mkdir()
    home = Home(replace(settings, home=folder / "home"), folder, {"NOETL_API_TOKEN": TOKEN})
    home.run("server", "start")
    try:
        yield home
    finally:
        home.run("server", "stop")


def start(address: str, key: str) -> tuple[int, str] | None:
    """Ask one server to start an execution; None where it does not answer."""
    request = urllib.request.Request(
        f"{address}/api/executions",
        data=json.dumps({"path": "fork", "key": key}).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())["execution_id"]
    except urllib.error.HTTPError:
        raise
    except OSError:
        return None


def test_two_servers_and_three_workers_at_once(database: Database, settings: Settings, tmp_path: Path) -> None:
    """Every key is asked for at both servers at the same time, again where one was killed: one execution each."""
    engine = Engine(database, settings)
    engine.register(FORK)
    with a_crew(settings, tmp_path, 3, lease=5.0), ExitStack() as stack:
        homes = [stack.enter_context(a_server(settings, tmp_path / name)) for name in ("one", "two")]
        addresses = [home.address for home in homes]
        victim = Background(homes[1].settings.home, "server").pid()
        assert victim is not None

        def ask(number: int) -> set[str]:
            answers = [start(address, f"key {number}") for address in addresses]
            if number == KEYS // 3:
                os.kill(victim, signal.SIGKILL)
            if None in answers:  # a client that got no answer asks again, somewhere
                answers.append(start(addresses[0], f"key {number}"))
            given = [answer for answer in answers if answer is not None]
            assert given
            assert [status for status, _ in given].count(201) <= 1
            return {execution for _, execution in given}

        with ThreadPoolExecutor(8) as threads:
            executions = list(threads.map(ask, range(KEYS)))
        assert all(len(each) == 1 for each in executions), "the same key, the same execution"
        assert len(set.union(*executions)) == KEYS == engine.one("SELECT count(*) FROM execution")
        wait_for(lambda: living(engine) == 0, limit=60)
        assert {engine.result(int(execution)) for each in executions for execution in each} == {14}
        homes[1].run("server", "start")
        assert homes[1].json("execute", "status", *executions[-1])["status"] == "completed"

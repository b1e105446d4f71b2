"""Connections of the postgres tool: whose they are, what is left in them, how they are refused, and how calls end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from noetl.calls import Call
from noetl.database.connection.connect import Connection, Database
from noetl.outcomes import Done, Failed
from noetl.settings import Settings
from noetl.tools.postgres import pool as postgres_pool
from noetl.tools.registry import make_tools
from noetl.worker.executor import Executor
from tests.support.calls import collect
from tests.support.postgres import TestServer
from tests.support.sql import Steps, sql_steps
from tests.support.waiting import wait_for

SESSIONS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = 'noetl_playbook'"
SLEEPING = f"{SESSIONS} AND wait_event = 'PgSleep'"


@pytest.fixture
def steps(settings: Settings) -> Iterator[Steps]:
    with sql_steps(settings) as steps:
        yield steps


@pytest.fixture
def observer(admin: Database) -> Iterator[Connection]:
    with admin.connect() as conn:
        yield conn


def pids(conn: Connection, query: str = SESSIONS) -> set[int]:
    return {row[0] for row in conn.execute(query.encode())}


# ---- the pool --------------------------------------------------------------------------------------------------------


def test_calls_one_after_the_other_share_a_connection(steps: Steps) -> None:
    assert len({steps.one("SELECT pg_backend_pid()") for _ in range(5)}) == 1


@pytest.mark.parametrize("once", [True, False])
def test_nothing_of_a_call_is_left_for_the_next(steps: Steps, once: bool) -> None:
    pid = steps.one(
        """SET search_path = nowhere; SET DateStyle = 'German'; SET statement_timeout = '9min';
           CREATE TEMP TABLE mine (a int); SELECT pg_advisory_lock(1); LISTEN something; PREPARE p AS SELECT 1;
           DECLARE c CURSOR WITH HOLD FOR SELECT 1; SELECT pg_backend_pid()""",
        once=once,
    )
    left = """SELECT pg_backend_pid(), current_setting('search_path'), to_regclass('mine'), '2026-01-31'::date::text,
                     (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
                     (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_prepared_statements),
                     (SELECT count(*) FROM pg_cursors WHERE name = 'c')"""
    assert steps.rows(left) == [[pid, '"$user", public', None, "2026-01-31", 0, 0, 0, 0]]


def test_a_connection_is_never_with_two_calls(steps: Steps, observer: Connection) -> None:
    """More calls than connections: the others wait, all of them come to their end."""
    answers: list[Done | Failed] = []
    count = postgres_pool.MAX_CONNECTIONS + 5
    most = 0

    def run() -> None:
        answers.append(steps.answer("SELECT pg_sleep(0.2), pg_backend_pid()"))

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, len(pids(observer)))
    assert len(answers) == count
    assert all(isinstance(answer, Done) for answer in answers)
    assert 2 <= most <= postgres_pool.MAX_CONNECTIONS


def test_waiting_for_a_connection_has_an_end(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, observer: Connection
) -> None:
    monkeypatch.setattr(postgres_pool, "MAX_CONNECTIONS", 1)
    call = steps.call({"command": "SELECT pg_sleep(30)"})
    thread = threading.Thread(target=steps.tool.run, args=(call,))
    thread.start()
    wait_for(lambda: pids(observer, SLEEPING))
    error = steps.error("SELECT 1", timeout=0.3)
    assert (error["type"], error["retryable"]) == ("timeout", True)
    assert error["message"].endswith("no connection was free until its timeout of 0.3 s")
    assert steps.tool.cancel is not None
    steps.tool.cancel(call)
    thread.join(10)
    assert steps.one("SELECT 1") == 1


def test_idle_connections_are_closed(steps: Steps, observer: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_pool, "IDLE_SECONDS", 0.2)
    steps.one("SELECT 1")
    assert len(pids(observer)) == 1
    wait_for(lambda: not pids(observer))
    assert steps.one("SELECT 1") == 1


def test_closing_the_tool_closes_its_connections(steps: Steps, observer: Connection) -> None:
    steps.one("SELECT 1")
    assert steps.tool.close is not None
    steps.tool.close()
    wait_for(lambda: not pids(observer))


# ---- cancel ----------------------------------------------------------------------------------------------------------


def test_a_killed_call_ends_on_the_server_too(settings: Settings, observer: Connection, steps: Steps) -> None:
    """Its statement, its transaction, and its key; the next run of the step is not held up."""
    steps.result("CREATE TABLE done (a int)")
    executor = Executor(2, tools={"postgres": steps.tool}, warm=False)
    try:
        call = steps.call({"command": "INSERT INTO done VALUES (1); SELECT pg_sleep(60)"}, run_key="k", timeout=60)
        executor.submit(1, call)
        wait_for(lambda: not executor.poll(0.01) and pids(observer, SLEEPING))
        executor.kill(1)
        assert collect(executor, 1)[1].answer == Failed(
            {
                "type": "cancelled",
                "message": "examples/test#step: cancelled while it ran",
                "retryable": False,
                "detail": None,
            }
        )
        wait_for(lambda: not pids(observer, SLEEPING))
    finally:
        executor.close()
    assert steps.one("INSERT INTO done VALUES (2) RETURNING a", run_key="k") == 2
    assert steps.rows("SELECT a FROM done") == [[2]]


def test_a_call_that_waits_for_its_key_can_be_killed(settings: Settings, steps: Steps, observer: Connection) -> None:
    with psycopg.connect(make_conninfo(str(settings.database_url), user="noetl_playbook")) as first:
        first.execute("SELECT noetl_inbox.enter('k')")
        call = steps.call({"command": "SELECT 1"}, run_key="k", timeout=60)
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(steps.tool.run(call)))
        thread.start()
        wait_for(lambda: pids(observer, f"{SESSIONS} AND wait_event_type = 'Lock'"))
        assert steps.tool.cancel is not None
        steps.tool.cancel(call)
        thread.join(10)
    assert [answer.error["type"] for answer in answers] == ["cancelled"]


def test_cancelling_what_has_ended_disturbs_nobody(steps: Steps) -> None:
    call = steps.call({"command": "SELECT 1"})
    steps.tool.run(call)
    assert steps.tool.cancel is not None
    steps.tool.cancel(call)
    assert steps.one("SELECT pg_sleep(0.05)") == ""


def test_the_server_notices_that_a_worker_has_died(steps: Steps, settings: Settings, observer: Connection) -> None:
    """A statement whose client is gone is ended, so that its key does not hold up the next run."""

    code = (
        "from noetl.tools.registry import make_tools; from noetl.calls import Call; import sys, json\n"
        "tool = make_tools(playbook_login=json.loads(sys.argv[1]))['postgres']\n"
        "tool.run(Call('postgres', 'first', 'w', {'command': 'SELECT 1'}, {}, None, 1000, {}))\n"
        "tool.run(Call('postgres', 'k', 'w', {'command': 'SELECT pg_sleep(300)'}, {}, None, 1000, {}))"
    )

    login = {**conninfo_to_dict(str(settings.database_url)), "user": "noetl_playbook"}
    with subprocess.Popen([sys.executable, "-c", code, json.dumps(login)]) as process:
        try:
            wait_for(lambda: pids(observer, SLEEPING))
        finally:
            os.kill(process.pid, signal.SIGKILL)
    assert steps.one("SELECT 5", run_key="k") == 5
    assert not pids(observer, SLEEPING)


# ---- credentials and targets -----------------------------------------------------------------------------------------


def credential(settings: Settings, **changed: Any) -> dict[str, Any]:
    parts = conninfo_to_dict(str(settings.database_url))
    given = {"type": "postgres", "host": parts["host"], "database": parts["dbname"], "user": parts["user"]}
    return {name: value for name, value in {**given, **changed}.items() if value is not None}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"port": 5432, "application_name": "mine"},
        {"db": "DB", "database": None},
        {"db_host": "HOST", "host": None, "db_user": "postgres", "user": None},
        {"url": "URL", "host": None, "database": None, "user": None},
        {"dsn": "URL", "host": None, "database": None, "user": "noetl"},
        {"type": "postgresql"},
    ],
)
def test_auth_names_the_database(steps: Steps, settings: Settings, changed: dict[str, Any]) -> None:
    parts = conninfo_to_dict(str(settings.database_url))
    known = {"DB": parts["dbname"], "HOST": parts["host"], "URL": settings.database_url}
    given = credential(settings, **{name: known.get(value, value) for name, value in changed.items()})
    expected = [[parts["dbname"], given.get("user") or given.get("db_user") or parts["user"]]]
    for alias in ("", "main"):
        assert steps.rows("SELECT current_database(), current_user", auth={alias: given}) == expected


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        ({"": {"type": "http", "url": "x"}}, "the credential is of type 'http': one of type postgres is needed"),
        ({"a": {"type": "postgres"}}, "the credential 'a' has no host and no user and no database"),
        (
            {"": {"host": "h", "user": "u", "database": "d", "pasword": "hush"}},
            "the credential has the field 'pasword'",
        ),
        ({"": {"host": "h", "user": "u", "database": "d", "password": ["hush"]}}, "password of the credential must be"),
        ({"": {"host": "h", "user": "u", "database": "d", "port": "x"}}, "no connection to u@h:x/d"),
        ({"": {"url": "postgresql://u:hush@[x"}}, "url of the credential is not a connection string"),
        ({"": {"url": "host=h user=u dbname=d password='hush"}}, "url of the credential is not a connection string"),
        ({"a": {}, "b": {}}, "auth has 2 credentials (a, b), and one is needed"),
    ],
)
def test_a_wrong_credential_is_told_without_its_secrets(steps: Steps, auth: Any, told: str) -> None:
    error = steps.error("SELECT 1", auth=auth)
    assert error["message"].startswith(f"examples/test#step: {told}")
    assert "hush" not in str(error)


def test_without_any_login_it_is_told(steps: Steps) -> None:
    tool = make_tools()["postgres"]
    error = Steps(tool).error("SELECT 1")
    assert error["message"].endswith("no database is named: give the step an auth of type postgres")


def test_a_login_does_not_depend_on_the_workers_environment(
    steps: Steps, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("PGOPTIONS", "-c search_path=engine"),
        ("PGUSER", "x"),
        ("PGPASSWORD", "hush"),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGDATABASE", "x"),
        ("PGPASSFILE", "/etc/hostname"),
    ):
        monkeypatch.setenv(name, value)
    assert steps.rows("SHOW search_path") == [['"$user", public']]
    assert steps.one("SELECT '🐘'", auth={"": credential(settings)}) == "🐘"
    assert "no user" in steps.error("SELECT 1", auth={"": credential(settings, user=None)})["message"]


def test_a_refused_login_is_told_and_not_tried_again(steps: Steps, server: TestServer, settings: Settings) -> None:
    with psycopg.connect(server.conninfo(database="postgres"), autocommit=True) as conn:
        conn.execute("CREATE ROLE tool_password LOGIN PASSWORD 'right one'")
        try:
            right = credential(settings, user="tool_password", password="right one")
            assert steps.one("SELECT current_user", auth={"": right}, once=False) == "tool_password"
            error = steps.error("SELECT 1", auth={"": {**right, "password": "wrong one"}})
            assert "wrong one" not in str(error)
            assert 'password authentication failed for user "tool_password"' in error["message"]
            assert error["retryable"] is False
            missing = steps.error("SELECT 1", auth={"": {**right, "password": None}})
            assert "no password supplied" in missing["message"]
            nowhere = steps.error("SELECT 1", auth={"": credential(settings, database="nowhere")})
            assert (nowhere["retryable"], 'database "nowhere" does not exist' in nowhere["message"]) == (False, True)
        finally:
            conn.execute("DROP ROLE tool_password")


def test_secrets_are_kept_out_of_the_servers_sentences(steps: Steps, settings: Settings) -> None:
    error = steps.error("SELECT 'hush-hush'::int", auth={"": credential(settings, password="hush-hush")})
    assert "hush" not in str(error)
    assert error["message"].endswith('invalid input syntax for type integer: "***" (line 1, column 8)')


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_that_is_not_there_may_be_tried_again(steps: Steps) -> None:
    port = closed_port()
    auth = {"": {"host": "127.0.0.1", "port": port, "user": "u", "database": "d", "password": "hush"}}
    error = steps.error("SELECT 1", auth=auth)
    assert (error["type"], error["retryable"]) == ("postgres", True)
    assert error["message"] == (f"examples/test#step: no connection to u@127.0.0.1:{port}/d: Connection refused")


def test_a_server_that_never_answers_is_given_up(steps: Steps) -> None:
    """It takes the connection and is silent."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        auth = {"": {"host": "127.0.0.1", "port": deaf.getsockname()[1], "user": "u", "database": "d"}}
        error = steps.error("SELECT 1", auth=auth, timeout=0.5)
    assert (error["type"], error["retryable"]) == ("postgres", True)
    assert "timeout expired" in error["message"]


def test_a_server_that_speaks_another_language_is_told(steps: Steps) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def answer() -> None:
            while True:
                try:
                    peer, _ = other.accept()
                except OSError:
                    return
                peer.recv(1000)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                peer.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        auth = {"": {"host": "127.0.0.1", "port": other.getsockname()[1], "user": "u", "database": "d"}}
        error = steps.error("SELECT 1", auth=auth, timeout=5)
        assert error["type"] == "postgres"
        other.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_a_call_hides_what_it_logs_in_with(settings: Settings) -> None:
    call = Call("postgres", "k", "w", {}, {}, None, 1, {}, {"": {"password": "hush"}})
    assert "hush" not in repr(call)

"""Exactly once: effect and key commit together, whatever happens to the first run."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from noetl.database.connection.connect import Connection, Database
from noetl.database.schema.inbox import make_inbox
from noetl.outcomes import Done, Failed
from noetl.settings import Settings
from noetl.tools.postgres.session import Session
from tests.support.sql import Steps, sql_steps
from tests.support.waiting import wait_for

ADD = "UPDATE account SET amount = amount + 1 RETURNING amount"
WAITING = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"""


@pytest.fixture
def steps(settings: Settings) -> Iterator[Steps]:
    with sql_steps(settings) as steps:
        steps.result("CREATE TABLE account (amount int); INSERT INTO account VALUES (0)")
        yield steps


@pytest.fixture
def observer(admin: Database) -> Iterator[Connection]:
    with admin.connect() as conn:
        yield conn


def amount(steps: Steps) -> Any:
    return steps.one("SELECT amount FROM account")


class Running(threading.Thread):
    """A step run in a thread of its own."""

    def __init__(self, steps: Steps, sql: str, **given: Any) -> None:
        super().__init__(name="step", daemon=True)
        fields = {"command": sql, **({"once": given.pop("once")} if "once" in given else {})}
        self.steps, self.call = steps, steps.call(fields, **given)
        self.answer: Done | Failed | None = None
        self.start()

    def run(self) -> None:
        self.answer = self.steps.tool.run(self.call)

    def end(self) -> Done | Failed:
        self.join(30)
        assert self.answer is not None, "it does not end"
        return self.answer


def kept(observer: Connection) -> list[tuple[Any, ...]]:
    """Return keys and results of the inbox, which the steps' own login cannot read."""
    return observer.execute("SELECT key, result::text FROM noetl_inbox.noetl_done WHERE key ~ 'k$|pay'").fetchall()


def test_a_second_run_returns_the_stored_result_and_does_nothing(steps: Steps, observer: Connection) -> None:
    first = steps.answer(ADD, run_key="1:pay:1:-1")
    assert isinstance(first, Done)
    for command in (ADD, "SELECT 1 / 0", "this is not even SQL"):
        second = steps.answer(command, run_key="1:pay:1:-1")
        assert isinstance(second, Done)
        assert second.result == first.result
    assert amount(steps) == 1
    assert kept(observer) == [("1:pay:1:-1", first.result.decode())]


def test_secrets_are_masked_in_what_is_stored(steps: Steps, observer: Connection) -> None:
    call = replace(steps.call({"command": "SELECT 'hush-hush' AS a"}, run_key="k"), secrets=("hush-hush",))
    assert isinstance(steps.tool.run(call), Done)
    ((_, stored),) = kept(observer)
    assert '"a":"***"' in stored
    assert "hush" not in stored


def test_a_run_that_fails_leaves_no_key(steps: Steps, observer: Connection) -> None:
    assert steps.error(f"{ADD}; SELECT 1 / 0", run_key="k")["detail"]["sqlstate"] == "22012"
    assert steps.error("SELECT repeat('x', 1000)", run_key="k", limit=500)["type"] == "too_large"
    assert kept(observer) == []
    assert steps.one(ADD, run_key="k") == 1


def test_once_false_writes_no_key_and_runs_again(steps: Steps, observer: Connection) -> None:
    for wanted in (1, 2):
        assert steps.one(ADD, run_key="k", once=False) == wanted
    assert kept(observer) == []


def test_without_an_inbox_it_is_one_transaction_all_the_same(steps: Steps, observer: Connection) -> None:
    observer.execute("DROP SCHEMA noetl_inbox CASCADE")
    assert steps.error(f"{ADD}; SELECT 1 / 0", run_key="k")
    for wanted in (1, 2):
        assert steps.one(ADD, run_key="k") == wanted


def test_an_inbox_in_the_search_path_counts_too(steps: Steps, observer: Connection) -> None:
    observer.execute("DROP SCHEMA noetl_inbox CASCADE")
    steps.result("CREATE TABLE noetl_done (key text PRIMARY KEY, result json)")
    for _ in range(2):
        assert steps.one(ADD, run_key="k") == 1


def test_an_inbox_that_the_login_may_not_use_is_told(steps: Steps, observer: Connection) -> None:
    observer.execute("REVOKE USAGE ON SCHEMA noetl_inbox FROM noetl_playbook")
    error = steps.error(ADD)
    assert error["type"] == "validation"
    assert "has the inbox noetl_inbox, which this login may not use: GRANT it USAGE on that schema" in error["message"]
    assert steps.one(ADD, once=False) == 1


def test_where_nothing_can_be_written_no_key_is(settings: Settings, steps: Steps, observer: Connection) -> None:
    observer.execute(f"ALTER DATABASE {observer.info.dbname} SET default_transaction_read_only = on")
    with sql_steps(settings) as reading:
        assert reading.rows("SELECT 1") == [[1]]
        assert reading.error(ADD)["detail"]["sqlstate"] == "25006"
    observer.execute(f"ALTER DATABASE {observer.info.dbname} RESET default_transaction_read_only")


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_second_run_waits_for_the_end_of_the_first(
    settings: Settings, steps: Steps, observer: Connection, isolation: str, end: str
) -> None:
    """Whatever isolation level the database has: it finds the result, or runs itself."""
    observer.execute(f"ALTER DATABASE {observer.info.dbname} SET default_transaction_isolation = '{isolation}'")
    with (
        sql_steps(settings) as second,
        psycopg.connect(make_conninfo(str(settings.database_url), user="noetl_playbook")) as first,
    ):
        first.execute("SELECT noetl_inbox.enter('k'), noetl_inbox.leave('k', '{\"executed_commands\": 7}')")
        running = Running(second, ADD, run_key="k")
        wait_for(lambda: observer.execute(WAITING).fetchone() == (1,))
        first.rollback() if end == "rollback" else first.commit()
        answer = running.end()
        assert isinstance(answer, Done), answer
        assert amount(steps) == (0 if end == "commit" else 1)
        assert (answer.result == b'{"executed_commands": 7}') is (end == "commit")


def test_waiting_for_the_first_run_has_an_end(settings: Settings, steps: Steps) -> None:
    with psycopg.connect(make_conninfo(str(settings.database_url), user="noetl_playbook")) as first:
        first.execute("SELECT noetl_inbox.enter('k')")
        error = steps.error(ADD, run_key="k", timeout=0.3)
    assert (error["type"], error["retryable"]) == ("timeout", True)
    assert "another run of this step has not ended until its timeout of 0.3 s" in error["message"]


def test_twenty_runs_at_once_have_one_effect(steps: Steps) -> None:
    runs = [Running(steps, f"SELECT pg_sleep(0.01); {ADD}", run_key="k") for _ in range(20)]
    answers = [run.end() for run in runs]
    assert all(isinstance(answer, Done) for answer in answers)
    assert len({answer.result for answer in answers if isinstance(answer, Done)}) == 1
    assert amount(steps) == 1


def test_the_sql_may_change_its_role_and_settings(steps: Steps, observer: Connection) -> None:
    """The key is written under the login all the same, whatever rights that role has."""
    role = f"role_of_{observer.info.dbname}"
    observer.execute(f"CREATE ROLE {role}")
    observer.execute(f"GRANT {role} TO noetl_playbook; GRANT USAGE ON SCHEMA noetl_playbook TO {role}")
    observer.execute(f"GRANT SELECT, UPDATE ON noetl_playbook.account TO {role}")
    try:
        sql = f"SET LOCAL ROLE {role}; SET search_path = noetl_playbook; {ADD}; SET statement_timeout = 1000"
        for _ in range(2):
            assert steps.result(sql, run_key="k")["command_2"]["rows"] == [{"amount": 1}]
        assert steps.one("SELECT current_user") == "noetl_playbook"
    finally:
        observer.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_sql_that_removes_its_own_key_fails(steps: Steps, observer: Connection) -> None:
    observer.execute("DROP FUNCTION noetl_inbox.enter; GRANT ALL ON noetl_inbox.noetl_done TO noetl_playbook")
    error = steps.error(f"{ADD}; DELETE FROM noetl_inbox.noetl_done")
    assert "the SQL has removed its own key" in error["message"]
    assert amount(steps) == 0


# ---- lost connections ------------------------------------------------------------------------------------------------

KILL_OTHERS = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                  WHERE datname = current_database() AND usename = 'noetl_playbook' AND pid <> pg_backend_pid()"""


def test_a_kept_connection_that_has_died_is_replaced(steps: Steps, observer: Connection) -> None:
    """Nothing was sent through it: also without once."""
    for once in (True, False):
        assert steps.one("SELECT 1", once=once) == 1
        assert observer.execute(KILL_OTHERS).fetchone() == (1,)
        assert steps.one(ADD, once=once)
    assert amount(steps) == 2


def test_a_connection_lost_in_the_middle_is_made_up_for_where_the_inbox_stands(
    steps: Steps, observer: Connection
) -> None:
    running = Running(steps, f"{ADD}; SELECT pg_sleep(0.5)", run_key="k")
    wait_for(lambda: sleeping(observer) == 1)
    assert observer.execute(KILL_OTHERS).fetchone() == (1,)
    assert isinstance(running.end(), Done)
    assert amount(steps) == 1


def test_without_once_a_connection_lost_in_the_middle_is_an_error(steps: Steps, observer: Connection) -> None:
    running = Running(steps, f"{ADD}; SELECT pg_sleep(30)", once=False)
    wait_for(lambda: sleeping(observer) == 1)
    observer.execute(KILL_OTHERS)
    answer = running.end()
    assert isinstance(answer, Failed)
    assert (answer.error["type"], answer.error["retryable"]) == ("postgres", True)
    assert "was lost: terminating connection due to administrator command" in answer.error["message"]
    assert amount(steps) == 1, "what was done before stays"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_connection_lost_around_the_commit_is_made_up_for(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whether the commit came through is read from the key."""
    original = Session.simple
    lost: list[str] = []

    def simple(self: Session, text: str) -> Any:
        if text == "COMMIT" and len(lost) < 2:
            lost.append(text)
            if moment == "after":
                original(self, text)
            self.conn.close()
            raise psycopg.OperationalError("the connection is lost")
        return original(self, text)

    monkeypatch.setattr(Session, "simple", simple)
    assert steps.one(ADD, run_key="k") == 1
    assert len(lost) == (1 if moment == "after" else 2)
    assert amount(steps) == 1


def sleeping(observer: Connection) -> int:
    row = observer.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    ).fetchone()
    return int(row[0]) if row else 0


# ---- another database ------------------------------------------------------------------------------------------------


def test_another_database_is_exactly_once_from_the_moment_it_has_the_inbox(steps: Steps, make_settings: Any) -> None:
    other = make_settings(with_schema=False)
    auth = {"": {"type": "postgres", **conninfo_to_dict(other.database_url)}}
    steps.result("CREATE TABLE account (amount int); INSERT INTO account VALUES (0)", auth=auth)
    assert [steps.one(ADD, run_key="k", auth=auth) for _ in range(2)] == [1, 2]
    make_inbox(other.database_url)
    assert [steps.one(ADD, run_key="k", auth=auth) for _ in range(2)] == [3, 3]
    assert amount(steps) == 0

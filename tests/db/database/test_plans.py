"""The plan of every statement of the engine, with thirty partitions and full tables: none reads what it need not.

The plans are generic ones, made under the settings of the engine's transactions. They are run, since partitions are
pruned while a plan runs. A plan is kept for as long as nobody analyzes a table: so those made while the tables were
empty are held to the same as those made when they were full.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal
from psycopg.types.json import Json

from noetl.database import store
from noetl.database.sql import sql
from noetl.jobs import Job
from tests.support.postgres import TestServer

FOLDER = Path(__file__).parents[3] / "noetl" / "database" / "sql"

LARGE = (
    "queue",
    "execution",
    "event_log",
    "payload",
    "workload",
    "error_log",
    "output",
    "catalog",
    "workflow",
    "loop_item",
)
"""No statement may read one of these from end to end."""

MOST_IN_VAIN = 200
"""Rows a node may look at and throw away."""

MOST_READ = 2_000
"""Rows a node may read."""

FILL = """
SELECT make_partitions(30);
CREATE TABLE noetl.run AS
  SELECT n, ((extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1704067200000 + n % 30 * 604800000::bigint << 22)
            + n AS id FROM generate_series(1, 30000) AS n;
INSERT INTO catalog (catalog_id, path, version, content, content_hash)
  SELECT n + 1, 'examples/' || n / 10, n % 10 + 1, 'text', 'hash' || n FROM generate_series(0, 4999) AS n;
INSERT INTO execution (execution_id, catalog_id, path, version, status, state, last_event_id, last_event_at,
                       parent_execution_id, root_execution_id, start_key, timeout_at, started_at, finished_at)
  SELECT r.id, r.n % 5000 + 1, 'examples/' || r.n % 500, 1, s.status, '{}', 3, now(),
         CASE WHEN r.n % 10 = 0 THEN r.id - 1 END, CASE WHEN r.n % 10 = 0 THEN r.id - 1 ELSE r.id END,
         CASE WHEN r.n % 2 = 0 THEN 'key' || r.n END,
         CASE WHEN r.n % 5 = 0 THEN now() + CASE WHEN r.n % 1000 = 0 THEN -1 ELSE 1 END * interval '1 hour' END,
         now(), CASE WHEN s.status = 'completed' THEN now() END
    FROM run AS r, LATERAL (SELECT CASE WHEN r.n % 3 = 0 THEN 'completed' ELSE 'running' END AS status) AS s;
INSERT INTO workload (execution_id, payload) SELECT id, '{}' FROM run;
INSERT INTO event_log (execution_id, event_id, event_type, node_id, result, result_ref)
  SELECT r.id, e, CASE e WHEN 1 THEN 'execution_start' WHEN 2 THEN 'step_queued' ELSE 'step_completed' END,
         'a', CASE WHEN e = 3 AND r.n % 10 > 0 THEN '1'::json END, CASE WHEN e = 3 AND r.n % 10 = 0 THEN 3 END
    FROM run AS r, generate_series(1, 3) AS e;
INSERT INTO event_log (execution_id, event_id, event_type, node_id, visit, item_index, context, result)
  SELECT r.id, 4 + e,
         CASE WHEN e = 0 THEN 'loop_started' WHEN e <= 1000 THEN 'item_completed' ELSE 'attempt_failed' END,
         'a', 1, CASE WHEN e BETWEEN 1 AND 1000 THEN e - 1 ELSE -1 END,
         CASE WHEN e = 0 THEN '{"count": 1000, "concurrency": 1}'::json END, CASE WHEN e > 0 THEN '1'::json END
    FROM run AS r, generate_series(0, 5000) AS e WHERE r.n = 21;
INSERT INTO loop_item (execution_id, node_id, visit, chunk, items) SELECT id, 'a', 1, 0, '[1]' FROM run;
INSERT INTO payload (execution_id, payload_id, size, body) SELECT id, 3, 1, '1' FROM run WHERE n % 10 = 0;
INSERT INTO queue (execution_id, node_id, status, pool, attempts, lost, available_at, lease_until, worker_id)
  SELECT r.id, node, s.status, CASE WHEN r.n % 4 = 0 THEN 'other' ELSE 'default' END,
         CASE WHEN s.status = 'leased' THEN 1 ELSE 0 END,
         CASE WHEN s.status = 'queued' AND r.n % 300 = 0 THEN 1 ELSE 0 END,
         CASE WHEN s.status = 'waiting' AND r.n % 7 > 0
              THEN now() + CASE WHEN r.n % 600 = 1 THEN -1 ELSE 1 END * interval '1 hour' END,
         CASE WHEN s.status = 'leased' THEN now() + CASE WHEN r.n % 900 = 2 THEN -1 ELSE 1 END * interval '1 hour' END,
         CASE WHEN s.status = 'leased' THEN 'worker' || r.n % 20 END
    FROM run AS r, unnest(ARRAY['a', 'b']) AS node,
         LATERAL (SELECT CASE r.n % 3 WHEN 0 THEN 'queued' WHEN 1 THEN 'waiting' ELSE 'leased' END AS status) AS s
   WHERE r.n % 2 = 0 OR node = 'a';
INSERT INTO error_log (execution_id, error_type, message) SELECT id, 'python', 'no' FROM run;
INSERT INTO output (execution_id, node_id, visit, attempt, text) SELECT id, 'a', 1, 1, 'yes' FROM run;
INSERT INTO credential (name, type, key_id, data)
  SELECT 'name' || n, 'generic', 'k', '' FROM generate_series(1, 500) AS n;
INSERT INTO runtime (runtime_id, kind) SELECT 'worker' || n, 'worker' FROM generate_series(1, 20) AS n;
"""

CREDENTIAL = {"name": "name7", "type": "generic", "key_id": "k", "data": "", "description": ""}
EXECUTION = "SELECT id FROM run WHERE n = 20"
LOOPING = "SELECT id FROM run WHERE n = 21"
SOME = "SELECT array_agg(id ORDER BY id) FROM run WHERE n BETWEEN 100 AND 110"
LEASES = """FROM queue WHERE status = 'leased' AND worker_id = 'worker8'
             AND execution_id IN (SELECT id FROM run WHERE n < 900)"""
JOBS = f"SELECT array_agg(id ORDER BY id) {LEASES}"
ATTEMPTS = f"SELECT array_agg(attempts ORDER BY id) {LEASES}"
HOLDERS = f"SELECT array_agg(DISTINCT execution_id ORDER BY execution_id) {LEASES}"
NEW_EXECUTION = "SELECT max(id) + 1 FROM run"
NEW_ROWS = "SELECT json_agg(json_build_object({})) FROM run WHERE n BETWEEN 200 AND 220"
RUNTIME = {"runtime_id": "worker1", "kind": "worker", "status": "running", "host": "h", "pid": 1, "pools": "{default}",
           "slots": 1, "address": None, "version": "1", "meta": "{}"}  # fmt: skip


@dataclass(frozen=True)
class Query:
    """A parameter that is read from the filled tables."""

    text: str


def rows(columns: str) -> Query:
    return Query(NEW_ROWS.format(columns))


NEW_JOB = ", ".join(
    f"'{name}', {Literal(Json(value) if name == 'context' else value).as_string()}"
    for name, value in Job(node_id="c", visit=1).columns().items()
)
"""The columns of a job as names and values of an object."""

CLAIM = {"worker": "w", "pool": "default", "slots": 16, "lease": 30}
REMOVE = {"worker": "worker8", "executions": Query(HOLDERS), "known": Query(HOLDERS), "jobs": Query(JOBS),
          "attempts": Query(ATTEMPTS), "expired": Query(JOBS.replace("id ORDER", "false ORDER")),
          "of": Query(JOBS.replace("id ORDER", "execution_id ORDER"))}  # fmt: skip

STATEMENTS: dict[str, Mapping[str, Any]] = {
    "claim_jobs": CLAIM,
    "claim_lost_job": {"worker": "w", "pool": "default", "lease": 30},
    "claim_tree_jobs": {"worker": "w", "root": Query("SELECT id FROM run WHERE n = 9"), "slots": 16, "lease": 30},
    "count_lost_jobs": {},
    "cut_leases": {"limit": 100, "slack": 5.0, "beyond": 86400.0},
    "delete_credential": {"name": "name7"},
    "delete_gone_runtimes": {"seconds": 86400, "limit": 100},
    "insert_credential": {**CREDENTIAL, "name": "new"},
    "lock_credentials": {},
    "rekey_credential": {"name": "name7", "key_id": "l", "data": ""},
    "select_credential": {"name": "name7"},
    "select_credential_names": {},
    "upsert_credential": CREDENTIAL,
    "insert_cancels": {
        "rows": rows("'execution_id', id, 'node_id', '$cancel', 'visit', 0, 'pool', 'default', 'priority', 0")
    },
    "insert_chunks": {"rows": rows("'execution_id', id, 'node_id', 'b', 'visit', 1, 'chunk', 0, 'items', '[]'::json")},
    "insert_errors": {"rows": rows("'execution_id', id, 'error_type', 'python', 'message', 'no'")},
    "insert_events": {"rows": rows("'execution_id', id, 'event_id', 4, 'at', 0, 'event_type', 'x', 'item_index', -1")},
    "insert_execution": {
        "execution": Query(NEW_EXECUTION), "catalog": 1, "path": "examples/1", "version": 1, "status": "running",
        "state": "{}", "last_event_id": 1, "pool": "default", "priority": 0, "parent": None, "parent_node": None,
        "parent_visit": None, "parent_item": None, "parent_job": None, "root": Query(NEW_EXECUTION), "key": "new",
        "labels": "{}", "by": None, "timeout": None, "at": 0, "ended": False,
    },
    "insert_jobs": {
        "rows": rows(f"'execution_id', id, 'status', 'queued', 'created_at', 0, {NEW_JOB}"),
        "worker": None,
        "lease": 0,
    },
    "insert_outputs": {
        "rows": rows("'execution_id', id, 'node_id', 'a', 'visit', 1, 'item_index', -1, 'attempt', 1, 'text', 'again'")
    },
    "insert_payloads": {"rows": rows("'execution_id', id, 'payload_id', 4, 'size', 1, 'body', 1")},
    "insert_transitions": {"rows": '[{"catalog_id": 1, "edge": 1, "from_node": "a", "to_node": "b", "kind": "next"}]'},
    "insert_version": {
        "path": "examples/1", "kind": "Playbook", "name": "", "description": "", "content": "new",
        "content_hash": "new", "by": None,
    },
    "insert_workbook": {"rows": '[{"catalog_id": 1, "task_name": "a", "task_type": "python", "spec": {}}]'},
    "insert_workflow": {
        "rows": '[{"catalog_id": 1, "node_id": "a", "node_type": "python", "phase": "workflow", "position": 1,'
        '"description": "", "spec": {}}]'
    },
    "insert_workload": {"execution": Query(NEW_EXECUTION), "payload": "{}"},
    "lock_execution": {"execution": Query(EXECUTION)},
    "select_started": {"execution": Query(EXECUTION)},
    "make_partitions": {"weeks": 30},
    "remove_jobs_waiting": REMOVE,
    "count_jobs": {},
    "count_jobs_before": {"pool": "default", "priority": 0, "job": 20_000, "limit": 1000},
    "count_processes": {},
    "lock_catalog_path": {"path": "examples/7"},
    "select_blocker": {"schema": "noetl", "rows": True, "pids": "{}"},
    "select_catalog_steps": {},
    "select_catalog_version": {"path": "examples/7", "version": None},
    "select_clock": {},
    "select_database_identity": {},
    "select_failures": {"execution": Query(EXECUTION), "limit": 10},
    "select_jobs": {"execution": Query(EXECUTION), "limit": 20},
    "select_positions": {"executions": Query(SOME)},
    "select_last_failure": {"execution": Query(EXECUTION), "node": "a", "visit": 1, "item": -1},
    "select_newest_version": {"path": "examples/7"},
    "select_own_worker": {"seconds": 30, "root": "7"},
    "select_pool_slots": {"seconds": 30},
    "select_quarantine_reason": {"execution": Query(EXECUTION), "node": "a"},
    "select_replayed_events": {"execution": Query(EXECUTION)},
    "select_seal": {},
    "select_shown_jobs": {"execution": Query(EXECUTION)},
    "select_silence": {"workers": "{worker1,worker2}"},
    "select_states": {},
    "select_steps": {"execution": Query(EXECUTION), "kinds": "{step_queued,step_completed}"},
    "select_workload": {"execution": Query(EXECUTION)},
    "stop_runtime": {"runtime_id": "worker1"},
    "select_event_result": {"execution": Query(EXECUTION), "event": 3},
    "select_step_result": {"execution": Query(EXECUTION), "node": "a", "item": -1, "visit": None},
    "requeue_quarantined_jobs": {"pools": "{default}"},
    "quarantine_job": {
        "worker": "worker8", "job": Query(f"SELECT min(id) {LEASES}"), "attempts": 1, "reason": "unreadable",
        "expired": True,
    },
    "promote_jobs": {"limit": 100},
    "release_jobs": {"worker": "worker8", "jobs": Query(JOBS)},
    "remove_jobs": REMOVE,
    "renew_leases": {"worker": "worker8", "jobs": Query(JOBS), "attempts": Query(ATTEMPTS), "lease": 30},
    "select_chunks": {"execution": Query(EXECUTION), "chunks": '[{"node_id": "a", "visit": 1, "chunk": 0}]'},
    "select_depth": {"execution": Query(EXECUTION)},
    "select_ended": {"execution": Query(EXECUTION), "step": "a"},
    "select_events": {"execution": Query(EXECUTION), "events": "{2,3}"},
    "select_expired_jobs": {"limit": 100, "seconds": 5.0},
    "select_finished": {"executions": Query(SOME), "seconds": 60.0},
    "select_killed": {"executions": Query(SOME)},
    "select_leases": {"worker": "worker8"},
    "select_loop_items": {"execution": Query(LOOPING), "first": 4, "limit": 1000000},
    "select_timed_out_executions": {"limit": 100, "skip": "{1,2}"},
    "select_playbooks": {"catalogs": "{1,2,3}"},
    "select_served_pools": {"seconds": 30.0},
    "select_startable": {"path": "examples/1", "version": None, "key": "key2"},
    "select_unchanged": {"execution": Query(EXECUTION), "event": 2, "at": 0},
    "select_unheld": {
        "executions": Query(SOME),
        "keys": Query(f"SELECT array_agg(id || ':a:1:-1') FROM unnest(({SOME})) AS id"),
        "workers": Query(f"SELECT array_agg('worker8'::text) FROM unnest(({SOME})) AS id"),
    },
    "select_workloads": {"executions": Query(SOME)},
    "update_executions": {
        "rows": rows("'execution_id', id, 'state', '{}'::json, 'status', 'running', 'last_event_id', 4, 'at', 0,"
                     "'ended', false, 'cancel', false"),
        "executions": Query(SOME),
    },
    "update_stale_runtimes": {"seconds": 30},
    "upsert_runtime": RUNTIME,
    "wake_jobs": {
        "jobs": Query("SELECT array_agg(id) FROM (SELECT id FROM queue WHERE status = 'waiting' LIMIT 20)"),
        "children": Query("SELECT array_agg(n) FROM generate_series(1, 20) AS n"),
    },
    "withdraw_jobs": {"execution": Query(EXECUTION), "within": None},
}  # fmt: skip

TYPES = {"last_event_id": "bigint"}
"""Parameters whose type their place does not tell."""

IN_VAIN = {"select_leases": 25_000, "requeue_quarantined_jobs": 50_000}
"""Leases have an index by time alone: who comes back after a lost connection looks through all that are held. So does a
worker that starts through the queue: quarantined jobs have no index."""

WHOLE = {"count_jobs", "select_catalog_steps", "select_states"}
"""Those that are to read a whole table: somebody counts the queue, or has everything verified."""


Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Session:
    """A session that has prepared all statements: `orders` are the names of their parameters."""

    conn: Connection
    orders: Mapping[str, list[str]]


@pytest.fixture(scope="module")
def sessions(server: TestServer) -> Iterator[dict[str, Session]]:
    """Two sessions on a database whose tables are full: one planned while they were `empty`, one when `full`.

    Nothing in those tables makes sense, so nothing verifies it.
    """
    name = server.create_database()
    conninfo = server.conninfo(database=name)
    with psycopg.connect(conninfo, autocommit=True) as early, psycopg.connect(conninfo, autocommit=True) as late:
        for conn in (early, late):
            conn.execute(store.opening("noetl", False, bounded=False).replace(b", true)", b", false)"))
        early.execute("VACUUM ANALYZE")
        planned = _prepare(early)
        for each, order in planned.items():
            early.execute(f"EXPLAIN EXECUTE {each} {_list('NULL' for _ in order)}")
        early.execute(FILL)
        late.execute("VACUUM ANALYZE")
        yield {"full": Session(late, _prepare(late)), "empty": Session(early, planned)}
    server.drop_database(name)


@pytest.fixture(params=["empty", "full"])
def session(request: pytest.FixtureRequest, sessions: dict[str, Session]) -> Session:
    return sessions[request.param]


def test_every_statement_has_its_test() -> None:
    """A new statement does not come without its plan."""
    assert sorted(STATEMENTS) == sorted(path.stem for path in FOLDER.glob("*.sql"))


def test_to_wait_for_locked_executions_is_all_that_differs() -> None:
    """Between the two statements that remove finished jobs."""
    skipping, waiting = (re.sub(r"(?m)^--.*\n", "", sql(name)) for name in ("remove_jobs", "remove_jobs_waiting"))
    assert skipping.count(" SKIP LOCKED") == 1
    assert skipping.replace(" SKIP LOCKED", "") == waiting


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - WHOLE))
def test_a_statement_reads_what_it_needs(name: str, session: Session) -> None:
    """No large table from end to end, and hardly a row in vain."""
    nodes = list(plan(session, name))
    for node in nodes:
        relation = node.get("Relation Name", "")
        if node["Node Type"] == "Seq Scan" and node["Actual Loops"]:
            assert not relation.startswith(LARGE), f"{name} reads {relation} from end to end:\n{shown(nodes)}"
        vain = node.get("Rows Removed by Filter", 0) if relation else 0
        assert vain * node["Actual Loops"] <= IN_VAIN.get(name, MOST_IN_VAIN), (
            f"{name} looks at {vain} rows in vain:\n{shown(nodes)}"
        )
        read = node["Actual Rows"] * node["Actual Loops"] if relation else 0
        assert read <= MOST_READ, f"{name} reads {read:.0f} rows:\n{shown(nodes)}"


@pytest.mark.parametrize("name", ["select_events", "select_ended", "select_loop_items", "select_event_result"])
def test_reading_one_execution_reads_one_partition(name: str, session: Session) -> None:
    nodes = list(plan(session, name))
    for table in ("event_log", "payload"):
        read = {node["Relation Name"] for node in nodes if node["Actual Loops"] and named(node, table)}
        assert len(read) == 1, f"{name} reads {sorted(read)}"
        assert read != {f"{table}_default"}, "the execution stands in a partition of its week"


def test_what_a_loop_gave_is_read_up_to_its_last_item(session: Session) -> None:
    """However long the log goes on after it."""
    nodes = list(plan(session, "select_loop_items"))
    read = [node["Actual Rows"] for node in nodes if named(node, "event_log") and node["Actual Loops"]]
    assert sorted(read) == [1, 1000], shown(nodes)
    assert "Sort" not in {node["Node Type"] for node in nodes if node["Actual Loops"]}, shown(nodes)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("claim_jobs", "queue_to_claim"),
        ("claim_lost_job", "queue_lost"),
        ("count_lost_jobs", "queue_lost"),
        ("promote_jobs", "queue_to_promote"),
        ("select_expired_jobs", "queue_to_expire"),
        ("select_timed_out_executions", "execution_by_timeout"),
    ],
)
def test_a_duty_uses_its_index(name: str, index: str, session: Session) -> None:
    """Those run many times a second on each worker, whether there is something to do or not."""
    assert index in {node.get("Index Name") for node in plan(session, name)}


def test_a_claim_of_no_job_looks_at_none(session: Session) -> None:
    """A worker of a pool without jobs costs the others nothing."""
    nodes = list(plan(session, "claim_jobs", pool="empty"))
    assert sum(node["Actual Rows"] for node in nodes) == 0, shown(nodes)


def test_a_claim_leases_no_more_than_there_are_slots(session: Session) -> None:
    """Whatever the planner makes of the join, the locking part runs once."""
    for slots in (1, 16, 500):
        nodes = list(plan(session, "claim_jobs", slots=slots))
        assert nodes[0]["Actual Rows"] == slots
        locking = [(node["Actual Loops"], node["Actual Rows"]) for node in nodes if node["Node Type"] == "LockRows"]
        assert locking == [(1, slots)], shown(nodes)


# ---- preparing and reading plans -----------------------------------------------------------------------------------


def _prepare(conn: Connection) -> dict[str, list[str]]:
    """Prepare all statements under their names; return the order of their parameters."""
    orders: dict[str, list[str]] = {}

    def number(order: list[str], found: re.Match[str]) -> str:
        if found[1] not in order:
            order.append(found[1])
        return f"${order.index(found[1]) + 1}"

    for name in STATEMENTS:
        order = orders[name] = []
        text = re.sub(r"%\((\w+)\)s", partial(number, order), re.sub(r"(?m)^--.*$", "", sql(name)))
        types = _list(TYPES.get(each, "unknown") for each in order)
        conn.execute(f"PREPARE {name} {types} AS {text.replace('%%', '%')}".encode())
    return orders


def _list(parts: Iterable[str]) -> str:
    """Return a list in parentheses, nothing for an empty one."""
    text = ", ".join(parts)
    return f"({text})" if text else ""


def plan(session: Session, name: str, **changed: Any) -> Iterator[dict[str, Any]]:
    """Yield the nodes of the plan of a statement that has run; its effects are rolled back."""
    parameters = {**STATEMENTS[name], **changed}
    with session.conn.transaction(force_rollback=True):
        values = [Literal(_value(session.conn, parameters[each])) for each in session.orders[name]]
        given = SQL("({})").format(SQL(", ").join(values)) if values else SQL("")
        explain = SQL("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE {} {}").format(Identifier(name), given)
        row = session.conn.execute(explain).fetchone()
    assert row is not None
    yield from _nodes(row[0][0]["Plan"])


def _value(conn: Connection, value: Any) -> Any:
    if not isinstance(value, Query):
        return value
    row = conn.execute(value.text.encode()).fetchone()
    assert row is not None
    assert row[0] is not None, value.text
    return Json(row[0]) if isinstance(row[0], list) and isinstance(row[0][0], dict) else row[0]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def named(node: dict[str, Any], table: str) -> bool:
    return re.fullmatch(rf"{table}_(default|\d+)", node.get("Relation Name", "")) is not None


def shown(nodes: list[dict[str, Any]]) -> str:
    """Return a plan for people."""
    keys = ("Node Type", "Relation Name", "Index Name", "Index Cond", "Filter", "Rows Removed by Filter",
            "Actual Rows", "Actual Loops")  # fmt: skip
    return "\n".join(" ".join(f"{node[key]}" for key in keys if key in node) for node in nodes)

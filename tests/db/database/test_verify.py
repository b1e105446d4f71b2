"""`noetl db verify` finds each way in which log, state and queue can contradict each other."""

from collections.abc import Callable

import pytest

from noetl.database.connection.connect import Database, open_admin
from noetl.database.schema.verify import CHECKS, SAMPLES, verify
from noetl.settings import Settings

RUNNING = """
INSERT INTO catalog (path, version, content, content_hash) VALUES ('p', 1, '', '');
INSERT INTO execution (execution_id, catalog_id, path, version, status, state, last_event_id, last_event_at,
                       root_execution_id, started_at)
  VALUES (7, (SELECT catalog_id FROM catalog), 'p', 1, 'running', '{}', 2, '2026-01-01 00:00:02Z', 7, '2026-01-01Z');
INSERT INTO workload (execution_id, payload) VALUES (7, '{}');
INSERT INTO event_log (execution_id, event_id, timestamp, event_type, node_id, visit)
  VALUES (7, 1, '2026-01-01 00:00:01Z', 'execution_start', NULL, NULL),
         (7, 2, '2026-01-01 00:00:02Z', 'step_queued', 'a', 1);
INSERT INTO queue (execution_id, node_id) VALUES (7, 'a');
"""

COMPLETED = (
    RUNNING
    + """
DELETE FROM queue;
INSERT INTO event_log (execution_id, event_id, timestamp, event_type, node_id, visit)
  VALUES (7, 3, '2026-01-01 00:00:03Z', 'step_completed', 'a', 1),
         (7, 4, '2026-01-01 00:00:04Z', 'execution_complete', NULL, NULL);
UPDATE execution SET status = 'completed', finished_at = '2026-01-01 00:00:04Z', last_event_id = 4,
                     last_event_at = '2026-01-01 00:00:04Z';
"""
)

LOOPING = (
    RUNNING
    + """
INSERT INTO event_log (execution_id, event_id, timestamp, event_type, node_id, visit, item_index, context)
  VALUES (7, 3, '2026-01-01 00:00:03Z', 'loop_started', 'a', 1, -1, '{"count": 3, "concurrency": 2}'),
         (7, 4, '2026-01-01 00:00:04Z', 'item_completed', 'a', 1, 0, NULL),
         (7, 5, '2026-01-01 00:00:05Z', 'loop_started', 'a/2', 1, -1, '{"count": 1, "concurrency": 1}');
INSERT INTO loop_item (execution_id, node_id, visit, chunk, items)
  VALUES (7, 'a', 1, 0, '[1, 2, 3]'), (7, 'a/2', 1, 0, '[1]');
UPDATE queue SET item_index = 1;
INSERT INTO queue (execution_id, node_id, item_index) VALUES (7, 'a/2', 0);
UPDATE execution
   SET last_event_id = 5, last_event_at = '2026-01-01 00:00:05Z',
       state = '{"loops": {"a": {"first": 3, "count": 3, "limit": 2, "begun": 3, "ended": 1, "failed": 0},
                           "a/2": {"first": 5, "count": 1, "limit": 1, "begun": 1, "ended": 0, "failed": 0}}}';
"""
)

PARENT = (
    RUNNING.replace("(7", "(8").replace(", 7,", ", 8,")
    + RUNNING.replace("INSERT INTO catalog (path, version, content, content_hash) VALUES ('p', 1, '', '');", "")
    + """
UPDATE queue SET status = 'waiting', context = '{"child": "8"}' WHERE execution_id = 7;
UPDATE execution SET parent_execution_id = 7, root_execution_id = 7,
                     parent_job_id = (SELECT id FROM queue WHERE execution_id = 7) WHERE execution_id = 8;
"""
)

PAYLOAD = (
    RUNNING
    + """
INSERT INTO event_log (execution_id, event_id, timestamp, event_type, node_id, visit, result_ref, meta)
  SELECT 7, 3, '2026-01-01 00:00:03Z', 'attempt_failed', 'a', 1, 3,
         json_build_object('sha256', encode(sha256('{"n": 1}'), 'hex'));
INSERT INTO payload (execution_id, payload_id, size, body) VALUES (7, 3, 8, 'BODY');
UPDATE execution SET last_event_id = 3, last_event_at = '2026-01-01 00:00:03Z';
"""
)

FIRST = """
INSERT INTO catalog (path, version, content, content_hash) VALUES ('p', 1, '', '');
INSERT INTO execution (execution_id, catalog_id, path, version, status, state, last_event_id, last_event_at,
                       root_execution_id, started_at)
  VALUES (7, (SELECT catalog_id FROM catalog), 'p', 1, 'paused', '{{}}', 1, '2026-01-01Z', 7, '2026-01-01Z');
INSERT INTO workload (execution_id, payload) VALUES (7, '{{}}');
INSERT INTO event_log (execution_id, event_id, timestamp, event_type, context)
  VALUES (7, 1, '2026-01-01Z', 'execution_start', '{}');
"""

LEASED = """UPDATE queue SET status = 'leased', worker_id = 'w', attempts = 1,
                             lease_until = clock_timestamp() + interval '{}'"""

APPEND = "INSERT INTO event_log (execution_id, event_id, timestamp, event_type, node_id, visit) VALUES "

BROKEN = {
    "a gap in the numbers": (RUNNING, "UPDATE execution SET last_event_id = 3", "are numbered 1, 2, 3"),
    "an event without execution": (RUNNING, APPEND + "(8, 1, now(), 'execution_start', NULL, NULL)", "are numbered"),
    "time that stands still": (
        RUNNING,
        APPEND + "(7, 3, '2026-01-01 00:00:02Z', 'execution_paused', NULL, NULL); "
        "UPDATE execution SET last_event_id = 3, status = 'paused'",
        "timestamps strictly increase",
    ),
    "another time of the last event": (RUNNING, "UPDATE execution SET last_event_at = now()", "last_event_at is"),
    "a second start": (
        RUNNING,
        APPEND + "(7, 3, '2026-01-01 00:00:03Z', 'execution_start', NULL, NULL); "
        "UPDATE execution SET last_event_id = 3, last_event_at = '2026-01-01 00:00:03Z'",
        "only that, is execution_start",
    ),
    "an end of another kind": (COMPLETED, "UPDATE execution SET status = 'failed'", "exactly one terminal event"),
    "an end that is not the last": (
        COMPLETED,
        APPEND + "(7, 5, '2026-01-01 00:00:05Z', 'execution_paused', NULL, NULL); "
        "UPDATE execution SET last_event_id = 5, last_event_at = '2026-01-01 00:00:05Z'",
        "exactly one terminal event",
    ),
    "an end that the status does not know": (
        COMPLETED,
        "UPDATE execution SET status = 'paused', finished_at = NULL",
        "exactly one terminal event",
    ),
    "an execution without work": (RUNNING, "DELETE FROM queue", "has a job in the queue"),
    "work of an execution that has ended": (
        COMPLETED,
        "INSERT INTO queue (execution_id, node_id) VALUES (7, 'a')",
        "belongs to an execution that has not ended",
    ),
    "work of no execution": (RUNNING, "INSERT INTO queue (execution_id, node_id) VALUES (9, 'a')", "every job belongs"),
    "work that was never queued": (
        RUNNING,
        "INSERT INTO queue (execution_id, node_id) VALUES (7, 'b')",
        "has the step_queued event",
    ),
    "work that was done": (
        COMPLETED,
        "INSERT INTO queue (execution_id, node_id) VALUES (7, 'a')",
        "no event that ended it",
    ),
    "a step that was forgotten": (
        RUNNING,
        "UPDATE queue SET node_id = 'b'",
        "a step run that was queued has ended, or has a job",
    ),
    "a wait for nobody": (RUNNING, "UPDATE queue SET status = 'waiting'", "waits without a time only for a child"),
    "a wait for a child that has ended": (
        COMPLETED.replace("7", "8") + RUNNING.replace("'p', 1", "'q', 1").replace("catalog)", "catalog LIMIT 1)"),
        "UPDATE queue SET status = 'waiting', context = '{\"child\": \"8\"}'",
        "waits without a time only for a child",
    ),
    "a step that ended twice": (
        COMPLETED,
        APPEND + "(7, 5, '2026-01-01 00:00:05Z', 'step_failed', 'a', 1)",
        "a step run ends once",
    ),
    "a result that is not there": (
        RUNNING,
        "INSERT INTO event_log (execution_id, event_id, event_type, result_ref) VALUES (7, 3, 'step_completed', 3)",
        "every result_ref has its payload",
    ),
    "a payload of nobody": (
        RUNNING,
        "INSERT INTO payload (execution_id, payload_id, size, body) VALUES (7, 2, 2, '{}')",
        "every payload its event",
    ),
    "an item that was forgotten": (
        LOOPING,
        "DELETE FROM queue WHERE node_id = 'a'",
        "each item of a loop that has begun and not ended has a job, or a loop",
    ),
    "an item that has two jobs": (
        LOOPING,
        "INSERT INTO queue (execution_id, node_id, item_index) VALUES (7, 'a', 2)",
        "each item of a loop that has begun and not ended has a job, or a loop",
    ),
    "an item that ended twice": (
        LOOPING,
        "INSERT INTO event_log (execution_id, event_id, event_type, node_id, visit, item_index)"
        " VALUES (7, 6, 'item_failed', 'a', 1, 0)",
        "an item of a loop ends once",
    ),
    "a loop that ended without an item": (
        LOOPING,
        "INSERT INTO event_log (execution_id, event_id, event_type, node_id, visit, meta)"
        """ VALUES (7, 6, 'step_completed', 'a', 1, '{"loop": {"first": 3, "count": 3}}')""",
        "has an event for each of its items",
    ),
    "a loop over nothing that is there": (
        LOOPING,
        "DELETE FROM loop_item WHERE node_id = 'a'",
        "has what it runs over",
    ),
    "a chunk with fewer items": (
        LOOPING,
        "UPDATE loop_item SET items = '[1, 2]' WHERE node_id = 'a'",
        "has what it runs over",
    ),
    "a chunk that is no list": (LOOPING, "UPDATE loop_item SET items = '{}' WHERE node_id = 'a'", "what it runs over"),
    "a chunk with another number": (LOOPING, "UPDATE loop_item SET chunk = 4 WHERE node_id = 'a'", "what it runs over"),
    "a loop that counts wrong": (
        LOOPING.replace('{"count": 3, "concurrency"', '{"count": 4, "concurrency"'),
        "",
        "has what it runs over",
    ),
    "an event of an item beyond the list": (
        LOOPING,
        "INSERT INTO event_log (execution_id, event_id, event_type, node_id, visit, item_index)"
        " VALUES (7, 6, 'item_completed', 'a', 1, 3)",
        "is one of its loop's",
    ),
    "a job of an item beyond the list": (
        LOOPING,
        "UPDATE queue SET item_index = 9 WHERE node_id = 'a'",
        "is one of its loop's",
    ),
    "a job of an item of no loop": (RUNNING, "UPDATE queue SET item_index = 0", "is one of its loop's"),
    "a child that nobody would hear of": (
        PARENT,
        "UPDATE execution SET parent_job_id = NULL WHERE execution_id = 8",
        "knows the job that it wakes",
    ),
    "a child of another job": (
        PARENT,
        "UPDATE execution SET parent_job_id = parent_job_id + 1 WHERE execution_id = 8",
        "knows the job that it wakes",
    ),
    "a wait for ever": (
        RUNNING,
        "UPDATE queue SET status = 'waiting', available_at = 'infinity'",
        "until a moment that will come",
    ),
    "a lease for ever": (
        RUNNING,
        LEASED.format("0").replace("clock_timestamp() + interval '0'", "'infinity'"),
        "until a moment that will come",
    ),
    "a dead worker's lease of a year": (
        RUNNING,
        "INSERT INTO runtime (runtime_id, kind, status, meta) VALUES ('w', 'worker', 'offline', '{\"lease\": 30}'); "
        + LEASED.format("1 year"),
        "no lease is longer",
    ),
    "a lease of an hour where the worker's are of 30 seconds": (
        RUNNING,
        "INSERT INTO runtime (runtime_id, kind, meta) VALUES ('w', 'worker', '{\"lease\": 30}'); "
        + LEASED.format("1 hour"),
        "no lease is longer",
    ),
    "a lease of a year of a worker that nobody knows": (RUNNING, LEASED.format("1 year"), "no lease is longer"),
    "a quarantined job without a reason": (RUNNING, "UPDATE queue SET status = 'quarantined'", "has its reason"),
    "another version": (RUNNING, "UPDATE execution SET version = 2", "name one playbook"),
    "another path": (RUNNING, "UPDATE execution SET path = 'q'", "name one playbook"),
    "another version than the first event's": (FIRST.format('{"path": "p", "version": 3}'), "", "name one playbook"),
    "another text than the first event's": (FIRST.format('{"hash": "other"}'), "", "name one playbook"),
    "a payload cut short": (PAYLOAD.replace("BODY", '{"n":1}'), "", "a payload is what its event stored"),
    "a payload with another value": (PAYLOAD.replace("BODY", '{"n": 2}'), "", "a payload is what its event stored"),
    "no workload": (RUNNING, "DELETE FROM workload", "every execution has its workload"),
    "a root that is not the parent's": (RUNNING, "UPDATE execution SET root_execution_id = 6", "a child's root"),
}


@pytest.fixture
def unverified(make_settings: Callable[..., Settings]) -> Database:
    """A database that may end in any state."""
    return open_admin(make_settings())


def _make(database: Database, *statements: str) -> None:
    with database.connect() as conn, conn.transaction():
        conn.execute("SET LOCAL search_path = noetl, pg_temp")
        for statement in statements:
            conn.execute(statement.encode())


@pytest.mark.parametrize(
    "sound",
    ["", RUNNING, COMPLETED, PARENT, LOOPING, PAYLOAD.replace("BODY", '{"n": 1}'), RUNNING + LEASED.format("30 s")],
    ids=["empty", "running", "completed", "waiting for a child", "in a loop", "with a payload", "leased"],
)
def test_what_is_sound_has_no_findings(unverified: Database, sound: str) -> None:
    """Else no test could end with it."""
    _make(unverified, sound)
    assert verify(unverified) == []


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_found(unverified: Database, case: str) -> None:
    """The sentence names the execution and the invariant."""
    before, damage, says = BROKEN[case]
    _make(unverified, before, damage)
    findings = verify(unverified)
    assert any(line.startswith("execution ") and says in line for line in findings), findings


def test_every_check_has_a_case() -> None:
    """A new invariant without one would never have been seen to fail."""
    for check in CHECKS:
        assert any(says in check.says for _, _, says in BROKEN.values()), check.says


def test_many_findings_are_counted(unverified: Database) -> None:
    """A few are named, the rest is a number."""
    _make(
        unverified,
        RUNNING,
        "INSERT INTO queue (execution_id, node_id) SELECT n, 'a' FROM generate_series(100, 149) AS n",
    )
    findings = [line for line in verify(unverified) if "every job belongs" in line]
    assert len(findings) == SAMPLES + 1
    assert findings[-1].startswith(f"and {50 - SAMPLES} more")

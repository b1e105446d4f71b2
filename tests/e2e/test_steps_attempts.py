"""Attempts: retries, timeouts, waits, and templates that cannot be rendered."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from noetl.errors import InputError
from tests.support.calls import alive, read_pid
from tests.support.playbooks import Ended, Lab


def test_a_retry_waits_by_postgres_clock_and_each_failed_attempt_is_told(lab: Lab, tmp_path: Path) -> None:
    ended = lab.run(
        r"""
        - step: start
          type: python
          args: {file: "{{ workload.file }}"}
          retry: {max_attempts: 4, initial_delay: 100ms, backoff: 2, jitter: false}
          code: |
            from pathlib import Path

            def main(file):
                attempts = Path(file)
                attempts.write_text((attempts.read_text() if attempts.exists() else "") + "x")
                count = len(attempts.read_text())
                print("attempt", count)
                if count < 3:
                    raise ConnectionError(f"not yet: {count}")
                return count
        """,
        payload={"file": f"{tmp_path}/attempts"},
    )
    assert (ended.status, ended.result) == ("completed", 3)
    assert ended.events == [
        "execution_start",
        "step_queued start",
        "attempt_failed start",
        "attempt_failed start",
        "step_completed start",
        "execution_complete",
    ]
    first, second, done = lab.facts(
        ended.execution_id, "timestamp, attempt, error, meta, duration, worker_id", "attempt > 0"
    )
    assert [first["attempt"], second["attempt"], done["attempt"]] == [1, 2, 3]
    assert [first["meta"]["delay"], second["meta"]["delay"]] == [0.1, 0.2]
    assert second["timestamp"] - first["timestamp"] >= timedelta(seconds=0.1)
    assert done["timestamp"] - second["timestamp"] >= timedelta(seconds=0.2)
    assert (first["error"]["type"], first["error"]["retryable"]) == ("python", True)
    assert first["duration"] > 0
    assert first["worker_id"]
    logged = lab.errors(ended.execution_id)
    assert [row[:3] for row in logged] == [("start", "python", 1), ("start", "python", 2)]
    assert [f"not yet: {n}" in row[3] for n, row in enumerate(logged, 1)] == [True, True]
    assert lab.rows("SELECT attempt, text FROM output WHERE execution_id = %s ORDER BY 1", ended.execution_id) == [
        (1, "attempt 1\n"),
        (2, "attempt 2\n"),
        (3, "attempt 3\n"),
    ]


def test_retry_ends_with_its_attempts_or_its_condition_and_never_retries_what_cannot_mend(lab: Lab) -> None:
    bodies = {
        "used up": "retry: {max_attempts: 3, initial_delay: 1ms}, code: \"def main(): raise ValueError('x')\"",
        "not wanted": (
            "retry: {max_attempts: 5, initial_delay: 1ms, when: \"{{ 'busy' in error.message }}\"}, "
            "code: \"def main(): raise ValueError('broken')\""
        ),
        "wanted": (
            "retry: {max_attempts: 2, initial_delay: 1ms, when: \"{{ error.attempt and 'busy' in error.message }}\"}"
            ", "
            "code: \"def main(): raise ValueError('busy')\""
        ),
        "template": 'retry: 5, args: {a: "{{ nothing }}"}, code: "def main(a): return a"',
        "validation": """retry: 5, args: "{{ {'b': 1} }}", code: "def main(a): return 1\"""",
        "broken when": 'retry: {max_attempts: 5, when: "{{ nothing }}"}, code: "def main(): raise ValueError()"',
        "number": 'retry: 2, code: "def main(): return 1j"',
    }
    started = {name: lab.begin(f"- {{step: start, type: python, {body}}}") for name, body in bodies.items()}
    ended = {name: lab.end(execution) for name, execution in started.items()}
    assert {one.status for one in ended.values()} == {"failed"}
    assert {name: one.events.count("attempt_failed start") + 1 for name, one in ended.items()} == {
        "used up": 3,
        "not wanted": 1,
        "wanted": 2,
        "template": 1,
        "validation": 1,
        "broken when": 1,
        "number": 1,
    }
    assert {name: one.error["attempt"] for name, one in ended.items()}["used up"] == 3
    assert "nothing" in ended["broken when"].error["retry_error"]
    assert [row[1] for row in lab.errors(started["broken when"])] == ["template", "python"]
    assert [row[1] for row in lab.errors(started["template"])] == ["template"]
    assert ended["number"].error["type"] == "not_json"


def test_an_attempt_that_never_ends_is_killed_at_its_timeout_and_everything_it_started(
    lab: Lab, tmp_path: Path
) -> None:
    ended = lab.run(
        r"""
        - step: start
          type: python
          args: {file: "{{ workload.file }}"}
          timeout: "{{ workload.limit }}"
          retry: {max_attempts: 2, initial_delay: 1ms}
          code: |
            import subprocess

            def main(file):
                child = subprocess.Popen(["sleep", "1000"])
                open(file, "w").write(f"{child.pid}\n")
                print("begun", flush=True)
                while True:
                    pass
          on_error: {step: note, args: {type: "{{ error.type }}", message: "{{ error.message }}"}}
        - {step: note, type: python, code: "def main(type, message): return [type, message]"}
        """,
        payload={"file": f"{tmp_path}/pid", "limit": "300ms"},
    )
    assert ended.status == "completed", ended.error
    assert ended.result[0] == "timeout"
    assert "0.3 s" in ended.result[1]
    assert [row[1:3] for row in lab.errors(ended.execution_id)] == [("timeout", 1), ("timeout", 2)]
    durations = [
        row["duration"] for row in lab.facts(ended.execution_id, "duration", "node_id = 'start' AND attempt > 0")
    ]
    assert len(durations) == 2
    assert all(0.3 <= duration < 3 for duration in durations)
    assert lab.rows("SELECT attempt, text FROM output WHERE execution_id = %s", ended.execution_id) == [
        (1, "begun\n"),
        (2, "begun\n"),
    ]
    pid = read_pid(tmp_path / "pid")
    assert pid is not None
    lab.until(lambda: not alive(pid))


def test_an_execution_past_its_timeout_is_drained_and_fails_and_finally_still_runs(lab: Lab) -> None:
    body = r"""
        timeout: 400ms
        workflow:
          - {step: start, next: [runs, waits]}
          - {step: runs, type: python, code: "import time\ndef main(): time.sleep(3600)", next: never}
          - {step: waits, type: wait, for: 1h, next: never}
          - {step: never, type: fail, message: reached}
        finally:
          - {step: tidy, type: python, args: {type: "{{ error.type }}", status: "{{ status }}"},
             code: "def main(type, status): return [type, status]"}
        """
    ended = lab.end(lab.begin(body), limit=5.0)
    assert ended.status == "failed"
    assert (ended.error["type"], ended.error["message"]) == (
        "timeout",
        "the execution ran longer than its timeout of 0.4 s",
    )
    assert lab.facts(ended.execution_id, "result", "node_id = 'tidy' AND event_type = 'step_completed'") == [
        {"result": ["timeout", "failed"]}
    ]
    assert {"step_cancelled runs", "step_skipped waits"} <= set(ended.events)
    reasons = lab.facts(ended.execution_id, "meta", "event_type = 'step_skipped'")
    assert reasons == [{"meta": {"reason": "the execution was past its timeout"}}]


def test_fifty_waits_need_no_slot_and_end_in_time(lab: Lab) -> None:
    path = lab.put(
        """
        - {step: start, type: wait, for: "{{ workload.pause }}", next: after}
        - {step: after, type: python, code: "def main(): return 1", next: end}
        - {step: end, result: "{{ start.until }}"}
        """
    )
    begun = lab.one("SELECT clock_timestamp()")
    started = [lab.start(path, payload={"pause": "500ms"}) for _ in range(50)]
    other = lab.run('- {step: start, type: python, code: "def main(): return 1"}')
    assert other.status == "completed"
    ended = [lab.end(execution) for execution in started]
    assert {one.status for one in ended} == {"completed"}
    assert all(datetime.fromisoformat(one.result) >= begun + timedelta(seconds=0.5) for one in ended)
    late = lab.one(
        """SELECT max(d.timestamp - q.timestamp) FROM event_log d JOIN event_log q USING (execution_id, node_id)
            WHERE node_id = 'start' AND d.event_type = 'step_completed' AND q.event_type = 'step_queued'
              AND execution_id = ANY (%s)""",
        started,
    )
    assert timedelta(seconds=0.5) <= late < timedelta(seconds=5)


def test_wait_until_takes_moments_in_every_shape_and_the_past_is_no_wait(lab: Lab) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    moments: dict[object, datetime] = {
        soon.isoformat(): soon,
        soon.replace(tzinfo=None).isoformat(): soon,
        soon.timestamp(): soon,
        "2001-02-03": datetime(2001, 2, 3, tzinfo=UTC),
        "2001-02-03T04:05:06+01:00": datetime(2001, 2, 3, 3, 5, 6, tzinfo=UTC),
    }
    path = lab.put('- {step: start, type: wait, until: "{{ workload.moment }}"}')
    started = [lab.start(path, payload={"moment": moment}) for moment in moments]
    wrong_moments: list[object] = ["tomorrow", None, 1e300, 1e12, [], True]
    broken = [lab.start(path, payload={"moment": moment}) for moment in wrong_moments]
    wrong = lab.begin('- {step: start, type: wait, for: "{{ workload.long }}"}', payload={"long": "a while"})
    ended = [lab.end(execution) for execution in started]
    assert {one.status for one in ended} == {"completed"}
    for one, moment in zip(ended, moments.values(), strict=True):
        assert abs(datetime.fromisoformat(one.result["until"]) - moment) < timedelta(milliseconds=1)
        if moment is soon:
            assert lab.facts(one.execution_id, "timestamp")[-1]["timestamp"] >= soon
    for execution in broken:
        failed = lab.end(execution)
        assert (failed.status, failed.error["type"]) == ("failed", "validation")
        assert "is no timestamp: write one like 2026-01-31T08:00:00+01:00" in failed.error["message"]
    assert "'a while' is not a duration" in lab.end(wrong).error["message"]


def test_a_wait_after_another_step_counts_from_when_it_was_queued(lab: Lab) -> None:
    path = lab.put(
        """
        - {step: start, type: python, code: "def main(): return 1", next: [for_, until]}
        - {step: for_, type: wait, for: 200ms, next: end}
        - {step: until, type: wait, until: "{{ workload.moment }}", next: end}
        - {step: end, result: ["{{ for_.until }}", "{{ until.until }}"]}
        """
    )
    moment = datetime.now(UTC) + timedelta(seconds=0.5)
    ended = lab.end(lab.start(path, payload={"moment": moment.isoformat()}))
    assert ended.status == "completed", ended.error
    queued = lab.facts(ended.execution_id, "timestamp", "event_type = 'step_queued' AND node_id = 'for_'")[0][
        "timestamp"
    ]
    first, second = map(datetime.fromisoformat, ended.result)
    assert abs(first - queued - timedelta(seconds=0.2)) < timedelta(milliseconds=10)
    assert second == moment


def test_a_wait_longer_than_its_timeout_fails_with_it(lab: Lab) -> None:
    ended = lab.run(
        """
        - step: start
          type: wait
          for: 1h
          timeout: 50ms
          retry: {max_attempts: 2, initial_delay: 1ms}
        """
    )
    assert (ended.status, ended.error["type"], ended.error["attempt"]) == ("failed", "timeout", 2)
    assert ended.error["message"] == "the attempt was not over after its timeout of 0.05 s"
    short = lab.run("- {step: start, type: wait, for: 50ms, timeout: 1h}")
    assert short.status == "completed"


def sentence(ended: Ended) -> str:
    assert ended.status == "failed"
    assert ended.error["type"] == "template"
    return str(ended.error["message"])


def test_a_template_error_names_playbook_step_field_template_and_name_and_is_logged(lab: Lab) -> None:
    bodies = {
        "args.who": (
            '- {step: greet, type: python, args: {who: "{{ workload.mesage }}"}, code: "def main(who): pass"}',
            "mesage",
        ),
        "endpoint": ('- {step: greet, type: http, endpoint: "http://{{ hosst }}/"}', "hosst"),
        "greet.args": ('- {step: start, next: {step: greet, args: {a: "{{ messag.x }}"}}}\n- {step: greet}', "messag"),
        "next.when": (
            '- {step: start, next: [{when: "{{ absent.greet }}", then: [greet]}]}\n- {step: greet}',
            "absent",
        ),
        "message": ('- {step: greet, type: fail, message: "{{ 1 / workload.zero }}"}', "zero"),
        "timeout": ('- {step: greet, type: python, timeout: "{{ tim }}", code: "def main(): pass"}', "tim"),
        "result": ('- {step: start, next: end}\n- {step: end, result: {greet: "{{ nobody }}"}}', "nobody"),
        "path": ('- {step: greet, type: playbook, path: "{{ which }}"}', "which"),
        "for": ('- {step: greet, type: wait, for: "{{ howlong }}"}', "howlong"),
    }
    started = {field: lab.begin(body, payload={"message": "hi", "zero": 0}) for field, (body, _) in bodies.items()}
    for field, execution in started.items():
        message = sentence(lab.end(execution))
        path = lab.one("SELECT path FROM execution WHERE execution_id = %s", execution)
        for part in (path, "greet", field, "{{ ", bodies[field][1]):
            assert part in message, message
        ((_, kind, _, logged),) = lab.errors(execution)
        assert (kind, logged) == ("template", message)
    message = lab.error(started["args.who"])["message"]
    assert "did you mean 'message'" in message, message


def test_templates_read_the_listed_environment_and_never_what_is_named_like_a_secret(lab: Lab) -> None:
    path = lab.put(
        """
        workload: {who: "{{ env.GREETING }} {{ execution_id }}"}
        workflow:
          - {step: start, type: python, args: {a: "{{ env.GREETING }}", b: "{{ workload.who }}"},
             code: "def main(a, b): return [a, b]"}
        """
    )
    ended = lab.end(lab.start(path))
    assert ended.result == ["hello", f"hello {ended.execution_id}"]
    hidden = lab.run('- {step: start, type: fail, message: "{{ env.HIDDEN }}"}')
    assert "list HIDDEN in NOETL_TEMPLATE_ENV" in sentence(hidden)
    secret = lab.run("- {step: start, type: fail, message: \"{{ env['API_' ~ 'KEY'] }}\"}")
    assert "env.API_KEY is named like a secret: use secret('env:API_KEY')" in sentence(secret)
    refused = lab.put("workload: {who: \"{{ env['API_' ~ 'KEY'] }}\"}\nworkflow:\n  - {step: start}")
    with pytest.raises(InputError, match="named like a secret"):
        lab.start(refused)
    leaked = lab.one("SELECT count(*) FROM event_log WHERE event_log::text LIKE %s", "%canary%")
    assert leaked == 0


def test_job_and_execution_ids_are_text_and_stable_over_attempts(lab: Lab, tmp_path: Path) -> None:
    ended = lab.run(
        """
        - step: start
          type: python
          args:
            now: ["{{ job.id }}", "{{ job.uuid }}", "{{ execution_id }}"]
            file: "{{ workload.file }}"
          retry: {max_attempts: 2, initial_delay: 1ms}
          code: |
            import json, os

            def main(now, file):
                if not os.path.exists(file):
                    json.dump(now, open(file, "w"))
                    raise OSError("again")
                return [json.load(open(file)), now]
        """,
        payload={"file": f"{tmp_path}/ids"},
    )
    before, after = ended.result
    assert before == after
    assert after[0].isdigit()
    assert after[1:] == [f"{ended.execution_id}:start:1:-1", str(ended.execution_id)]

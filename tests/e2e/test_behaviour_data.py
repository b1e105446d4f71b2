"""What goes through an execution comes out as it went in, or is refused with a sentence."""

import math
from typing import Any

import orjson
import pytest

from noetl.errors import InputError, PlaybookError
from tests.support.playbooks import Lab
from tests.support.stub import serving

DEEP: Any = "core"
for _level in range(100):
    DEEP = [DEEP]

VALUES: dict[str, Any] = {
    "null": None,
    "false": False,
    "zero": 0,
    "empty": "",
    "no list": [],
    "no mapping": {},
    "unicode": "grüße \U0001f600 \u2028 \x7f \\ \" ' {{ not a template }} %s $1 \r\n\t\ufffd\u0001",
    "greatest": [2**64 - 1, -(2**63), 2**53 + 1],
    "floats": [0.1, 1e308, 5e-324, -0.0, 1e22, 3.0, 1.7976931348623157e308],
    "order": {"z": 1, "a": {"y": 2, "b": 3}, "": 4, "10": 5, "9": 6, "data": {"result": 7}, "items": 8},
    "deep": DEEP,
    "status": {"status": "error", "error": None, "message": "only data"},
}


def test_results_survive_byte_for_byte_through_log_next_step_and_end(lab: Lab) -> None:
    path = lab.put(
        """
        - {step: start, type: python, args: {value: "{{ workload.value }}"}, code: "def main(value): return value",
           next: {step: again, args: {value: "{{ start }}"}}}
        - step: again
          type: python
          code: "def main(value): return value"
          next: [{when: "{{ again == workload.value }}", then: [{step: end, args: {last: "{{ again }}"}}]}]
        - {step: end, result: "{{ last }}"}
        """
    )
    started = {name: lab.start(path, payload={"value": value}) for name, value in VALUES.items()}
    for name, execution in started.items():
        ended = lab.end(execution)
        assert ended.status == "completed", (name, ended.error)
        texts = lab.rows(
            "SELECT node_id, result::text FROM event_log WHERE execution_id = %s AND result IS NOT NULL", execution
        )
        wanted = orjson.dumps(VALUES[name]).decode()
        assert texts == [("start", wanted), ("again", wanted), (None, wanted)], name
        assert lab.one("SELECT payload::text FROM workload WHERE execution_id = %s", execution) == (
            '{"value":' + wanted + "}"
        )


def test_a_result_that_is_the_executions_is_stored_once(lab: Lab) -> None:
    plain = lab.run('- {step: start, type: python, code: "def main(): return None", next: end}\n- {step: end}')
    falsy = lab.run('- {step: start, type: python, code: "def main(): return 0"}')
    nothing = lab.run("- {step: start, next: end}\n- {step: end}")
    rows = {
        name: [row["event_id"] for row in lab.facts(one.execution_id, "event_id", "result IS NOT NULL")]
        for name, one in (("plain", plain), ("falsy", falsy), ("nothing", nothing))
    }
    assert rows == {"plain": [3], "falsy": [3], "nothing": []}
    assert lab.facts(plain.execution_id, "meta")[-1]["meta"] == {"result_event": 3}
    assert lab.facts(falsy.execution_id, "meta")[-1]["meta"] == {"result_event": 3}
    assert (plain.result, falsy.result, nothing.result) == (None, 0, None)


def test_a_large_result_is_stored_once_by_reference_and_read_by_who_names_it(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, type: python, code: "def main(): return {'text': 'ä' * 300_000, 'n': 1}",
           next: {step: measure, args: {n: "{{ start.n }}"}}}
        - {step: measure, type: python, args: {text: "{{ start.text }}"},
           code: "def main(text, n): return len(text) + n", next: end}
        - {step: end, result: "{{ start }}"}
        """
    )
    assert ended.status == "completed", ended.error
    assert ended.result == {"text": "ä" * 300_000, "n": 1}
    assert lab.facts(ended.execution_id, "result, result_ref", "node_id = 'start' AND attempt > 0") == [
        {"result": None, "result_ref": 3}
    ]
    assert lab.facts(ended.execution_id, "result", "node_id = 'measure' AND attempt > 0") == [{"result": 300_001}]
    sizes = lab.rows("SELECT payload_id, size FROM payload WHERE execution_id = %s ORDER BY 1", ended.execution_id)
    assert sizes[0] == (3, 600_017)
    alone = lab.run("- {step: start, type: python, code: \"def main(): return 'x' * 400_000\"}")
    assert alone.result == "x" * 400_000
    assert lab.one("SELECT count(*) FROM payload WHERE execution_id = %s", alone.execution_id) == 1
    brim = lab.run("- {step: start, type: python, code: \"def main(): return 'x' * (262144 - 2)\"}")
    assert lab.one("SELECT count(*) FROM payload WHERE execution_id = %s", brim.execution_id) == 0


def test_a_step_reads_several_results_of_many_megabytes(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, next: [a, b, c]}
        - {step: a, type: python, code: "def main(): return 'a' * 6_000_000", next: count}
        - {step: b, type: python, code: "def main(): return 'b' * 6_000_000", next: count}
        - {step: c, type: python, code: "def main(): return 'c' * 6_000_000", next: count}
        - step: count
          type: python
          args: {all: ["{{ a }}", "{{ b }}", "{{ c }}"]}
          code: "def main(all): return [len(one) for one in all]"
          next: [{when: "{{ (a ~ b ~ c) | length > 1 }}", then: [end]}]
        - {step: end, result: "{{ count }}"}
        """
    )
    assert (ended.status, ended.result) == ("completed", [6_000_000] * 3), ended.error


def test_a_result_over_the_limit_fails_with_size_limit_and_what_to_do(lab: Lab) -> None:
    ended = lab.run("- {step: start, type: python, code: \"def main(): return 'x' * 50_000_000\"}")
    assert (ended.status, ended.error["type"], ended.error["retryable"]) == ("failed", "too_large", False)
    for part in ("50,000,002 bytes", "33,554,432", "store the data elsewhere and return where it is"):
        assert part in ended.error["message"]


def test_what_is_not_json_fails_and_names_the_path(lab: Lab) -> None:
    bodies = {
        "{'a': [1, float('nan')]}": "result.a[1] is nan",
        "{'a': float('-inf')}": "result.a is -inf",
        "['x', 'y\\\\x00z']": "result[1] contains a NUL character",
        "{'a': {'b': range}}": "result.a.b is a type",
        "{'a': '\\\\ud800'}": "result.a contains a lone surrogate",
        "{'a b': 2 ** 64}": "result['a b'] is an integer beyond 64 bits",
        "{'a': {1: 2}}": "result.a has the key 1 of type int",
        "object()": "result is a object",
    }
    started = {
        body: lab.begin(f'- {{step: start, type: python, code: "def main(): return {body}"}}') for body in bodies
    }
    for body, execution in started.items():
        ended = lab.end(execution)
        assert (ended.status, ended.error["type"]) == ("failed", "not_json"), body
        assert bodies[body] in ended.error["message"]


def test_a_payload_that_cannot_be_stored_is_refused_and_nothing_is_started(lab: Lab) -> None:
    path = lab.put("- {step: start}")
    wrong: dict[str, Any] = {
        "payload.a is nan": math.nan,
        "payload.a[0] contains a NUL": ["\x00"],
        "payload.a contains a lone surrogate": "\ud800",
        "payload.a is an integer beyond 64 bits": 2**70,
        "payload.a is a set": {1},
    }
    for message, value in wrong.items():
        with pytest.raises(InputError) as caught:
            lab.start(path, payload={"a": value})
        assert message in str(caught.value)
    for label in ("\x00", "\ud800"):
        with pytest.raises(InputError, match="labels"):
            lab.start(path, labels={"a": label})
        with pytest.raises(InputError, match="key"):
            lab.start(path, key=label)
    for request in ({"priority": 2**31}, {"labels": {"a": 1}}, {"version": 2**31}, {"version": 0}):
        with pytest.raises(InputError, match=str(next(iter(request)).removesuffix("s"))):
            lab.start(path, **request)
    assert lab.one("SELECT count(*) FROM execution WHERE path = %s", path) == 0
    with pytest.raises(PlaybookError, match="priority is 99999999999: write a number of at most 32 bits"):
        lab.put("priority: 99999999999\nworkflow:\n  - {step: start}")


def test_prints_are_captured_with_their_tail_also_of_a_failing_attempt(lab: Lab) -> None:
    code = r"""
            import os, sys

            def main(fail):
                print("first")
                for _ in range(100_000):
                    print("x" * 99)
                os.write(2, b"from below\n")
                print("last \x00 \ud800", file=sys.stderr)
                if fail:
                    raise ValueError("after all this")
                return "told"
    """
    path = lab.put(
        f"""
        - step: start
          type: python
          args: {{fail: "{{{{ workload.fail }}}}"}}
          code: |
{code}
        """
    )
    good, bad = (lab.end(lab.start(path, payload={"fail": fail})) for fail in (False, True))
    assert (good.status, bad.status) == ("completed", "failed")
    for one in (good, bad):
        ((attempt, text),) = lab.rows("SELECT attempt, text FROM output WHERE execution_id = %s", one.execution_id)
        assert attempt == 1
        assert 60_000 < len(text.encode()) <= 65_536
        assert "first" not in text
        assert "from below" in text
        assert "last" in text.splitlines()[-1]


SIBLINGS = (
    r"import os, signal\n"
    r"def main():\n"
    r"  mine = os.getppid()\n"
    r"  worker = int(open(f'/proc/{mine}/stat').read().rpartition(')')[2].split()[1])\n"
    r"  for name in os.listdir('/proc'):\n"
    r"    try:\n"
    r"      parent = int(open(f'/proc/{name}/stat').read().rpartition(')')[2].split()[1])\n"
    r"      if parent == worker and int(name) != mine and 'noetl' in open(f'/proc/{name}/cmdline').read():\n"
    r"        os.kill(int(name), signal.SIGKILL)\n"
    r"    except (OSError, ValueError, IndexError):\n"
    r"      pass\n"
)


def test_steps_that_end_their_process_or_their_parents_children_fail_alone(lab: Lab) -> None:
    codes = {
        "runner_exited": r"import os\ndef main():\n  print('bye', flush=True)\n  os._exit(3)",
        "killed": r"import os, signal\ndef main(): os.kill(os.getpid(), signal.SIGKILL)",
        "exit": r"import sys\ndef main(): sys.exit('enough')",
        "interrupt": r"def main(): raise KeyboardInterrupt",
    }
    started = {name: lab.begin(f'- {{step: start, type: python, code: "{code}"}}') for name, code in codes.items()}
    ended = {name: lab.end(execution) for name, execution in started.items()}
    ended["siblings"] = lab.run(f'- {{step: start, type: python, code: "{SIBLINGS}"}}')
    assert {name: one.error and one.error["type"] for name, one in ended.items()} == {
        "runner_exited": "runner_exited",
        "killed": "runner_exited",
        "siblings": None,
        "exit": "python",
        "interrupt": "python",
    }
    assert lab.rows("SELECT text FROM output WHERE execution_id = %s", started["runner_exited"]) == [("bye\n",)]
    after = lab.run('- {step: start, type: python, code: "def main(): return 1"}')
    assert after.status == "completed", "the worker goes on with new runners"


def test_http_failures_have_types_and_say_whether_another_attempt_may_help(lab: Lab) -> None:
    with serving() as stub:
        cases = {
            f"url: {stub.url}/status/500": ("http", True, "500"),
            f"url: {stub.url}/status/404": ("http", False, "404"),
            f"url: {stub.url}/slow, timeout: 300ms": ("timeout", True, "0.3 s"),
            "url: http://127.0.0.1:9/": ("http", True, "Connection refused"),
            f"url: {stub.url}/endless": ("too_large", False, "33,554,432"),
            f"url: {stub.url}/dripping, timeout: 500ms": ("timeout", True, "0.5 s"),
            "url: http://169.254.169.254/latest": ("http", False, "169.254.169.254 is a link-local"),
            "url: ftp://example.com/": ("validation", False, "ftp"),
        }
        started = [lab.begin(f"- {{step: start, type: http, {fields}}}") for fields in cases]
        ended = [lab.end(execution) for execution in started]
        told = {
            fields: (one.error["type"], one.error["retryable"], one.error["message"])
            for fields, one in zip(cases, ended, strict=True)
        }
    for fields, (kind, retryable, part) in cases.items():
        assert told[fields][:2] == (kind, retryable), told[fields]
        assert part in told[fields][2], told[fields]
    failed = lab.facts(started[0], "error", "event_type = 'step_failed'")[0]["error"]
    assert failed["detail"]["data"] == {"why": "as asked"}, "the response is kept"


def test_an_http_post_carries_the_idempotency_key_of_its_step_run(lab: Lab) -> None:
    with serving() as stub:
        ended = lab.run(
            f"- {{step: start, type: http, method: POST, url: {stub.url}/status/503, payload: {{a: [1, null]}},"
            " retry: {max_attempts: 2, initial_delay: 1ms}}"
        )
    assert ended.status == "failed"
    assert [asked["headers"]["idempotency-key"] for asked in stub.asked] == [f"{ended.execution_id}:start:1:-1"] * 2
    assert [orjson.loads(asked["body"]) for asked in stub.asked] == [{"a": [1, None]}] * 2


def test_code_that_names_context_sees_workload_results_and_ids(lab: Lab) -> None:
    ended = lab.run(
        """
        workload: {a: 1}
        workflow:
          - {step: start, type: python, code: "def main(): return {'b': 2}", next: look}
          - step: look
            type: python
            code: |
              def main():
                  return [context["workload"], context["results"]["start"], context.get("start", {}).get("data"),
                          context["execution_id"], context["step"]["name"], context["step"]["attempt"]]
        """
    )
    assert ended.status == "completed", ended.error
    assert ended.result == [{"a": 1}, {"b": 2}, {"b": 2}, str(ended.execution_id), "look", 1]

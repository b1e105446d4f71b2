"""The reason of a failure, in lines for people."""

from noetl.playbook.code_lines import code_lines
from noetl.reasons import BODY, LINES, attempt_of, heading, reason_lines, visible
from tests.support.playbooks import playbook


def error(detail: object, message: str = "it broke") -> dict[str, object]:
    return {"type": "x", "message": message, "retryable": False, "detail": detail}


def test_no_control_character_reaches_a_terminal() -> None:
    assert visible("a\x1b[31mb\x00\u202e\tü") == "a\\x1b[31mb\\x00\\u202e\tü"
    assert heading("\x07first\nsecond") == "\\x07first"
    assert reason_lines(error({"stderr": "\x1b[2Jx"})) == ["stderr: \\x1b[2Jx"]


def test_an_answer_is_told_by_status_address_and_body() -> None:
    detail = {"status_code": 503, "headers": {"a": "b"}, "url": "http://h/x", "elapsed": 0.1, "data": {"why": "full"}}
    assert reason_lines(error(detail)) == ["status code: 503", "url: http://h/x", 'data: {"why": "full"}']


def test_a_command_is_told_by_exit_code_and_the_end_of_its_output() -> None:
    printed = "\n".join(str(number) for number in range(BODY + 3))
    lines = reason_lines(error({"exit_code": 3, "stdout": "", "stderr": printed}))
    assert lines[:4] == ["exit code: 3", "stderr:", "  ... 3 more lines above", "  3"]
    assert lines[-1] == f"  {BODY + 2}"


def test_an_answer_is_told_by_the_beginning_of_its_body() -> None:
    body = "\n".join(str(number) for number in range(BODY + 1))
    lines = reason_lines(error({"data": body}))
    assert lines[:2] == ["data:", "  0"]
    assert lines[-2:] == [f"  {BODY - 1}", "  ... 1 more line below"]


def test_sql_is_told_by_its_state_and_text() -> None:
    detail = {"sqlstate": "42601", "command": 0, "line": 1, "position": 10, "sql": "SELECT 4\nFRM x", "hint": None}
    assert reason_lines(error(detail)) == ["sqlstate: 42601", "command: 0", "sql:", "  SELECT 4", "  FRM x"]


def test_a_traceback_names_the_lines_of_the_file() -> None:
    text = (
        'Traceback (most recent call last):\n  File "p#work", line 2, in main\n    return 1 / 0\nZeroDivisionError: x\n'
    )
    place = {"work": 10}
    found = reason_lines(
        error({"traceback": text, "line": 2}), lambda step, line: f'File "p.yaml", line {place[step] + line}'
    )
    assert found[1:3] == ['  File "p.yaml", line 12, in main', "    return 1 / 0"]
    assert reason_lines(error({"traceback": text}), lambda _step, _line: None)[1] == '  File "p#work", line 2, in main'


def test_a_long_reason_keeps_its_end() -> None:
    text = "\n".join(str(number) for number in range(LINES + 5))
    lines = reason_lines(error({"traceback": text}))
    assert (lines[0], lines[-1], len(lines)) == ("... 5 more lines above", str(LINES + 4), LINES + 1)


def test_attempts_are_told_where_there_may_be_more_than_one() -> None:
    assert attempt_of({"attempt": 2, "max_attempts": 5}) == "attempt 2 of 5"
    assert attempt_of({"attempt": 1}) == ""


def test_the_code_of_a_step_is_found_also_where_it_is_a_tasks() -> None:
    text = playbook(
        """
        workflow:
          - step: start
            type: python
            code: |
              def main(): pass
          - {step: inline, type: python, code: "def main(): pass"}
          - {step: task, type: workbook, task: t}
        workbook:
          - name: t
            type: python
            code: |
              def main(): pass
        """,
        "p",
    )
    lines = text.splitlines()
    found = code_lines(text, "p")
    assert sorted(found) == ["start", "task"]
    assert [lines[found[step]].strip() for step in ("start", "task")] == ["def main(): pass"] * 2

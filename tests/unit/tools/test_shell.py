"""The shell tool: argv or a shell's text, code and output as the result, every ending told in one sentence."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from noetl.calls import Call
from noetl.outcomes import Done, Failed
from noetl.tools.shell import TOOL, how_it_ended
from noetl.worker.executor import Executor
from tests.support.calls import alive, read_pid, until
from tests.support.calls import run as run_in

KEY = "7:list:1:-1"


def call(fields: dict[str, Any], limit: int = 1 << 20, timeout: float | None = None) -> Call:
    return Call("shell", KEY, "examples/files#list", fields, {}, timeout, limit, {})


def value(**fields: Any) -> Any:
    """Return the result of a command that succeeds."""
    answer = TOOL.run(call(fields))
    assert isinstance(answer, Done), answer
    return orjson.loads(answer.result)


def failure(limit: int = 1 << 20, **fields: Any) -> dict[str, Any]:
    """Return the error of a command that fails."""
    answer = TOOL.run(call(fields, limit))
    assert isinstance(answer, Failed), answer
    assert orjson.loads(orjson.dumps(answer.error)) == answer.error
    return answer.error


@pytest.fixture
def executor() -> Iterator[Executor]:
    executor = Executor(2, environment={"PATH": os.environ["PATH"], "NOETL_PASSWORD": "canary"})
    yield executor
    executor.close()


def test_a_text_is_given_to_the_shell() -> None:
    result = value(command="echo one; echo two >&2; echo $((1 + 2))")
    assert result == {"exit_code": 0, "stdout": "one\n3\n", "stderr": "two\n"}


def test_a_list_is_the_argv_and_nothing_in_it_is_special() -> None:
    assert value(command=["printf", "%s|", "a b", "$HOME", "*", "'; exit 1", 5, 1.5])["stdout"] == (
        "a b|$HOME|*|'; exit 1|5|1.5|"
    )


@pytest.mark.parametrize("shell", ["bash", "sh", None])
@pytest.mark.parametrize("text", ["false\necho on", "test -d /no/such/folder\necho on", "(exit 3); echo on"])
def test_a_text_stops_at_the_first_command_that_fails(text: str, shell: str | None) -> None:
    error = failure(command=text, shell=shell)
    assert error["detail"]["stdout"] == ""


def test_with_bash_a_pipe_fails_where_any_part_of_it_does() -> None:
    error = failure(command="cat /no/such/file | sort\necho done")
    assert error["detail"]["exit_code"] == 1
    assert "No such file" in error["message"]
    assert value(command="cat /no/such/file | sort; echo done", shell="sh")["stdout"] == "done\n"


def test_a_failure_that_is_meant_can_be_written() -> None:
    assert value(command="set +e\nfalse\ngrep -q x /dev/null || true\necho on")["stdout"] == "on\n"


def test_the_shell_that_is_asked_for_runs_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = "echo ${BASH_VERSION:+bash}"
    assert value(command=asks)["stdout"] == "bash\n"
    assert value(command=asks, shell="sh")["stdout"] in ("\n", "bash\n")
    monkeypatch.setenv("PATH", "/no/such/folder")
    assert value(command="echo here")["stdout"] == "here\n"
    assert "there is none on the worker's machine" in failure(command="true", shell="bash")["message"]


@pytest.mark.parametrize(
    ("given", "read"),
    [("a\nb ü", "a\nb ü"), ({"a": [1, None]}, '{"a":[1,null]}'), (True, "true"), (1.5, "1.5"), (None, ""), ("", "")],
)
def test_stdin_is_read_from_the_standard_input(given: Any, read: str) -> None:
    assert value(command=["cat"], stdin=given)["stdout"] == read
    assert value(command="cat", stdin=given)["stdout"] == read


def test_texts_and_standard_input_may_be_large() -> None:
    large = "x" * 3_000_000
    assert value(command="wc -c", stdin=large)["stdout"].strip() == "3000000"
    assert value(command=f"printf %s {large} | wc -c")["stdout"].strip() == "3000000"
    assert "give large values in 'stdin'" in failure(command="true", env={"A": large})["message"]


def test_a_text_is_not_seen_in_the_list_of_processes() -> None:
    shown = value(command="tr '\\0' ' ' < /proc/$$/cmdline # canary")["stdout"]
    assert "canary" not in shown
    assert shown.startswith("/")


def test_env_reaches_the_command_as_text() -> None:
    env = {"A": "$(echo no)", "B": 5, "C": True, "D": {"k": [1]}, "E": None}
    result = value(command='printf "%s|" "$A" "$B" "$C" "$D" "${E-unset}"', env=env)
    assert result["stdout"] == '$(echo no)|5|true|{"k":[1]}|unset|'


def test_the_idempotency_key_is_offered() -> None:
    assert value(command='echo "$NOETL_IDEMPOTENCY_KEY"')["stdout"] == f"{KEY}\n"


def test_cwd_is_where_it_runs(tmp_path: Path) -> None:
    assert value(command="pwd -P", cwd=str(tmp_path))["stdout"] == f"{tmp_path.resolve()}\n"


def test_standard_input_is_empty() -> None:
    assert value(command=["cat"])["stdout"] == ""


def test_output_that_is_no_text_can_be_stored() -> None:
    assert value(command=r"printf 'a\000b\377ö'")["stdout"] == "a\\x00b\\xffö"


def test_another_code_than_zero_is_an_error_that_keeps_the_output() -> None:
    error = failure(command="echo out; echo first >&2; echo last words >&2; exit 3")
    assert error["message"] == "examples/files#list: the command ended with exit code 3: last words"
    assert (error["type"], error["retryable"]) == ("shell", True)
    assert error["detail"] == {"exit_code": 3, "stdout": "out\n", "stderr": "first\nlast words\n"}


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (1, "ended with exit code 1"),
        (127, "ended with exit code 127"),
        (-9, "was ended by SIGKILL (exit code -9)"),
        (143, "was ended by SIGTERM (exit code 143)"),
        (255, "ended with exit code 255"),
        (128, "ended with exit code 128"),
    ],
)
def test_each_ending_has_its_words(code: int, told: str) -> None:
    assert how_it_ended(code) == told


def test_a_command_ended_by_a_signal_says_so() -> None:
    assert "was ended by SIGTERM" in failure(command=["sh", "-c", f"kill -{int(signal.SIGTERM)} $$"])["message"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "command is None: write a text for the shell, or a list"),
        ({"command": "  "}, "command is '  ': write a text"),
        ({"command": []}, "command is []: write a text"),
        ({"command": {"a": 1}}, "command is {'a': 1}: write a text"),
        ({"command": ["echo", ["x"]]}, "command[1] is a list: it must be text"),
        ({"command": ["echo", True]}, "command[1] is a bool: it must be text"),
        ({"command": "echo \0"}, "command contains a NUL character"),
        ({"command": ["no-such-program-here"]}, "there is no program 'no-such-program-here' on the worker's machine"),
        ({"command": ["/"]}, "'/' cannot be started: "),
        ({"command": "true", "shell": "zsh"}, "shell is 'zsh': write bash or sh"),
        ({"command": ["true"], "shell": "sh"}, "command a list, which no shell reads"),
        ({"command": "true", "env": "A=1"}, "env must be a mapping, not a str"),
        ({"command": "true", "env": {"A=B": "1"}}, "env: 'A=B' is not a valid name of a variable"),
        ({"command": "true", "env": {"A": "\0"}}, "env.A contains a NUL character"),
        ({"command": "true", "cwd": "/no/such/folder"}, "cwd is '/no/such/folder': there is no such folder"),
        ({"command": "true", "cwd": 5}, "cwd is 5: there is no such folder"),
    ],
)
def test_a_wrong_field_is_told_in_one_sentence(fields: dict[str, Any], told: str) -> None:
    error = failure(**fields)
    assert told in error["message"]
    assert (error["type"], error["retryable"]) == ("validation", False)


def test_endless_output_is_stopped_at_the_limit() -> None:
    error = failure(limit=100_000, command="yes")
    assert error["type"] == "too_large"
    assert "printed more than 100,000 bytes" in error["message"]


def test_what_runs_on_in_the_background_does_not_hold_the_step_up(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    result = value(command=f"sleep 300 & echo $! > {file}; echo done")
    pid = read_pid(file)
    assert pid is not None
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)
    assert result["stdout"] == "done\n"


def test_in_a_runner_it_sees_none_of_the_workers_secrets(executor: Executor) -> None:
    report = run_in(executor, call({"command": "env; cat /proc/$PPID/environ"}))
    assert isinstance(report.answer, Done)
    assert b"NOETL_IDEMPOTENCY_KEY" in report.answer.result
    assert b"canary" not in report.answer.result


def test_a_timeout_kills_the_command_with_its_children_and_keeps_what_it_printed(
    executor: Executor, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    command = f"echo begun; sleep 300 & echo $! > {file}; wait"
    report = run_in(executor, call({"command": command}, timeout=0.5))
    assert isinstance(report.answer, Failed)
    assert report.answer.error["type"] == "timeout"
    assert report.answer.output == "begun\n"
    pid = read_pid(file)
    assert pid is not None
    until(lambda: not alive(pid))

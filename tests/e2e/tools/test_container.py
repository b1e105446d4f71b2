"""The container tool with a real engine: output, codes, timeouts, cancel, what a lost worker left behind."""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import orjson
import pytest

from noetl.calls import Call
from noetl.outcomes import Done, Failed
from noetl.tools.container import KEY_LABEL, container_name, make_tool
from tests.support.docker import engine, small_image
from tests.support.waiting import wait_for

KEY = "7:job/3:1:-1"
TOOL = make_tool({})


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    found = engine()
    yield found
    found.close()


@pytest.fixture(scope="module")
def image(client: docker.DockerClient) -> Iterator[str]:
    with small_image(client) as tag:
        yield tag


@pytest.fixture(autouse=True)
def nothing_stays(client: docker.DockerClient) -> Iterator[None]:
    yield
    assert client.containers.list(all=True, filters={"label": f"{KEY_LABEL}={KEY}"}) == []


def call(image: str, command: Any, limit: int = 1 << 20, timeout: float | None = None, **fields: Any) -> Call:
    return Call(
        "container", KEY, "examples/job#job", {"image": image, "command": command, **fields}, {}, timeout, limit, {}
    )


def value(call: Call) -> Any:
    answer = TOOL.run(call)
    assert isinstance(answer, Done), answer
    return orjson.loads(answer.result)


def failure(call: Call) -> dict[str, Any]:
    answer = TOOL.run(call)
    assert isinstance(answer, Failed), answer
    assert orjson.loads(orjson.dumps(answer.error)) == answer.error
    return answer.error


def test_code_and_both_streams_are_the_result(image: str) -> None:
    answer = TOOL.run(call(image, ["sh", "-c", "echo out; echo err >&2"]))
    assert isinstance(answer, Done)
    assert orjson.loads(answer.result) == {"exit_code": 0, "stdout": "out\n", "stderr": "err\n"}
    assert sorted(answer.output.splitlines()) == ["err", "out"]


def test_env_volumes_workdir_and_user_hold(image: str, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("a file")
    tmp_path.chmod(0o755)
    script = 'echo "$A|$B|$NOETL_IDEMPOTENCY_KEY"; cat given; echo; id -u; echo no > /data/new || echo read-only'
    result = value(
        call(
            image,
            ["sh", "-c", script],
            env={"A": "$HOME", "B": {"k": 1}, "C": None},
            volumes=[f"{tmp_path}:/data:ro"],
            workdir="/data",
            user=65534,
        )
    )
    assert result["stdout"].splitlines() == [f'$HOME|{{"k":1}}|{KEY}', "a file", "65534", "read-only"]


def test_another_code_than_zero_is_an_error_that_keeps_the_output(image: str) -> None:
    error = failure(call(image, ["sh", "-c", "echo out; echo wrong >&2; exit 3"]))
    assert error["message"] == "examples/job#job: the container ended with exit code 3: wrong"
    assert (error["type"], error["retryable"]) == ("container", True)
    assert error["detail"] == {"exit_code": 3, "stdout": "out\n", "stderr": "wrong\n"}


def test_a_timeout_ends_the_container_and_keeps_what_it_printed(image: str) -> None:
    error = failure(call(image, ["sh", "-c", "echo begun; sleep 300"], timeout=1.0))
    assert (error["type"], error["retryable"]) == ("timeout", True)
    assert "still running after its timeout of 1 s; it was killed" in error["message"]
    assert error["detail"]["stdout"] == "begun\n"


def test_endless_output_is_stopped_at_the_limit(image: str) -> None:
    error = failure(call(image, ["sh", "-c", "while true; do echo yyyyyyyyyyyyyyyyyyyy; done"], limit=50_000))
    assert error["type"] == "too_large"
    assert "printed more than 50,000 bytes" in error["message"]


def test_cancel_ends_a_call_that_was_given_up(client: docker.DockerClient, image: str) -> None:
    one = call(image, ["sleep", "300"])
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(TOOL.run(one)), daemon=True)
    thread.start()
    wait_for(lambda: client.containers.list(filters={"name": container_name(KEY)}), limit=20)
    assert TOOL.cancel is not None
    TOOL.cancel(one)
    thread.join(timeout=20)
    assert isinstance(answers[0], Failed)
    assert answers[0].error["detail"]["exit_code"] == 137
    TOOL.cancel(one)  # once more, when there is nothing left to cancel


def test_what_a_lost_worker_left_behind_is_removed_first(client: docker.DockerClient, image: str) -> None:
    left = client.containers.run(image, ["sleep", "300"], name=container_name(KEY), detach=True)
    assert value(call(image, ["echo", "again"]))["stdout"] == "again\n"
    with pytest.raises(docker.errors.NotFound):
        left.reload()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"image": ""}, "image is '': write the name of an image"),
        ({"image": 5}, "image is 5: write the name"),
        ({"command": {"a": 1}}, "command is {'a': 1}: write a text, or a list"),
        ({"command": ["a", None]}, "command is ['a', None]: write a text, or a list"),
        ({"env": "A=1"}, "env must be a mapping, not a str"),
        ({"volumes": "a:b"}, "volumes must be a list or a mapping, not a str"),
        ({"volumes": ["/a"]}, "volumes has '/a': write source:target"),
        ({"volumes": ["/a:/b:x"]}, "volumes has '/a:/b:x': write source:target"),
        ({"user": [1]}, "user is [1]: it must be text"),
        ({"command": ["/no/such/program"]}, "the Docker engine refuses: "),
        ({"volumes": ["relative/..:/b"]}, "the Docker engine refuses: "),
    ],
)
def test_a_wrong_field_is_told_in_one_sentence(image: str, fields: dict[str, Any], told: str) -> None:
    given = {"image": image, "command": ["echo"], **fields}
    error = failure(call(given.pop("image"), given.pop("command"), **given))
    assert (error["type"], error["retryable"]) == ("validation", False)
    assert told in error["message"]


def test_an_image_that_cannot_be_had_is_told(client: docker.DockerClient) -> None:
    error = failure(call("noetl-test-no-such-image:1", None))
    assert "noetl-test-no-such-image:1" in error["message"]
    assert error["type"] in ("container", "validation")


def test_without_an_engine_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, client: object) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    error = failure(call("x", None))
    assert (error["type"], error["retryable"]) == ("container", True)
    assert "no Docker engine answers" in error["message"]
    assert "set DOCKER_HOST" in error["message"]
    gc.collect()

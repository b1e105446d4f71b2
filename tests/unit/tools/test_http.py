"""The http tool against a service on loopback: what it sends, what it returns, what it refuses."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from noetl.calls import Call
from noetl.outcomes import Done, Failed
from noetl.tools.http import tool as http
from noetl.tools.http.guard import is_refused
from noetl.tools.registry import TOOLS, make_tools
from tests.support.stub import Stub, serving


@pytest.fixture(scope="module")
def service() -> Iterator[Stub]:
    """One service for the tests of this file."""
    with serving() as stub:
        yield stub


@pytest.fixture
def stub(service: Stub) -> Stub:
    """The service, having been asked nothing."""
    service.asked.clear()
    return service


def ask(endpoint: str | None, *, seconds: float | None = None, limit: int = 1 << 25, **fields: Any) -> Done | Failed:
    """Run an http step."""
    given = {"endpoint": endpoint, **fields}
    return TOOLS["http"].run(Call("http", "7:fetch:1:-1", "examples/weather#fetch", given, {}, seconds, limit, {}))


def result(endpoint: str, **fields: Any) -> dict[str, Any]:
    """Return the result of a step that works."""
    answer = ask(endpoint, **fields)
    assert isinstance(answer, Done), answer
    value: dict[str, Any] = orjson.loads(answer.result)
    return value


def failure(endpoint: str, **fields: Any) -> dict[str, Any]:
    """Return the error of a step that fails."""
    answer = ask(endpoint, **fields)
    assert isinstance(answer, Failed), answer
    assert answer.error["message"].startswith("examples/weather#fetch: ")
    return answer.error


def test_a_get_returns_status_headers_url_time_and_data(stub: Stub) -> None:
    got = result(f"{stub.url}/a?x=1", params={"y": [1, 2], "z": True, "left_out": None})
    assert list(got) == ["status_code", "headers", "url", "elapsed", "data"]
    assert got["status_code"] == 200
    assert got["headers"]["content-type"] == "application/json"
    assert 0 < got["elapsed"] < 5
    assert got["data"]["query"] == [["x", "1"], ["y", "1"], ["y", "2"], ["z", "true"]]
    assert got["url"] == f"{stub.url}/a?x=1&y=1&y=2&z=true"
    assert "idempotency-key" not in got["data"]["headers"]
    assert got["data"]["headers"]["user-agent"].startswith("noetl/")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post"])
def test_writing_methods_send_the_idempotency_key(stub: Stub, method: str) -> None:
    got = result(f"{stub.url}/a", method=method, payload={"b": [1, None]})["data"]
    assert got["method"] == method.upper()
    assert got["headers"]["idempotency-key"] == "7:fetch:1:-1"
    assert got["headers"]["content-type"] == "application/json"
    assert orjson.loads(got["body"]) == {"b": [1, None]}


def test_a_key_of_the_playbooks_own_is_kept(stub: Stub) -> None:
    got = result(f"{stub.url}/a", method="POST", headers={"idempotency-KEY": "mine", "X-N": 5, "X-None": None})
    assert got["data"]["headers"]["idempotency-key"] == "mine"
    assert got["data"]["headers"]["x-n"] == "5"
    assert "x-none" not in got["data"]["headers"]


@pytest.mark.parametrize(
    ("fields", "query", "body"),
    [
        ({"data": {"a": 1}}, [["a", "1"]], ""),
        ({"data": {"a": 1}, "params": {"b": 2}}, [["b", "2"], ["a", "1"]], ""),
        ({"method": "POST", "data": {"a": 1}}, [], '{"a":1}'),
        ({"method": "POST", "data": [1, 2]}, [], "[1,2]"),
        ({"method": "POST", "data": {"query": {"q": "x"}, "body": {"a": 1}}}, [["q", "x"]], '{"a":1}'),
        ({"method": "POST", "data": {"body": {"a": 1}}}, [], '{"a":1}'),
        ({"method": "POST", "data": {"query": {"q": "x"}}}, [["q", "x"]], ""),
        ({"data": {"query": {"q": "x"}}}, [["q", "x"]], ""),
        ({"method": "POST", "data": {"query": "x", "other": 1}}, [], '{"query":"x","other":1}'),
        ({"method": "POST", "payload": "plain"}, [], "plain"),
        ({"method": "POST", "payload": "s", "headers": {"Content-Type": "application/json"}}, [], '"s"'),
        (
            {
                "method": "POST",
                "payload": {"a": "x y", "b": [1, 2]},
                "headers": {"content-type": "application/x-www-form-urlencoded"},
            },
            [],
            "a=x+y&b=1&b=2",
        ),
        ({"method": "POST", "payload": 0}, [], "0"),
        ({"method": "POST"}, [], ""),
    ],
)
def test_data_params_and_payload_go_where_they_belong(
    stub: Stub, fields: dict[str, Any], query: list[list[str]], body: str
) -> None:
    got = result(f"{stub.url}/a", **fields)["data"]
    assert got["query"] == query
    assert got["body"] == body


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"endpoint": None}, "is not an address"),
        ({"endpoint": "example.org/x"}, "begins with http://"),
        ({"endpoint": "file:///etc/passwd"}, "begins with http://"),
        ({"endpoint": "http://"}, ""),
        ({"method": "FETCH"}, "'FETCH'"),
        ({"headers": ["a"]}, "headers must be a mapping"),
        ({"headers": {"a": {}}}, "headers.a must be text"),
        ({"headers": {"a": "x\ny"}}, ""),
        ({"params": "a=1"}, "params must be a mapping"),
        ({"params": {"a": {"b": 1}}}, "params.a must be text"),
        ({"data": [1]}, "give a mapping"),
        ({"data": {"query": [1]}}, "data.query must be a mapping"),
        ({"method": "POST", "payload": 1, "data": {"a": 1}}, "both give a body"),
        ({"timeout": "soon"}, "'soon' is not a number of seconds"),
        ({"timeout": 0}, "0 is not a number of seconds"),
    ],
)
def test_wrong_fields_are_validation_errors(stub: Stub, fields: dict[str, Any], word: str) -> None:
    answer = ask(**{"endpoint": f"{stub.url}/a", **fields})
    assert isinstance(answer, Failed)
    assert answer.error["type"] == "validation"
    assert answer.error["retryable"] is False
    assert word in answer.error["message"]
    assert not stub.asked


@pytest.mark.parametrize(
    ("path", "data"),
    [("/text", "grüße"), ("/binary", {"base64": "AP8B"}), ("/nothing", None)],
)
def test_a_body_that_is_not_json_is_text_or_base64(stub: Stub, path: str, data: Any) -> None:
    assert result(stub.url + path)["data"] == data


def test_a_head_has_no_data(stub: Stub) -> None:
    assert result(f"{stub.url}/a", method="HEAD")["data"] is None


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (404, False), (408, True), (409, False), (425, True), (429, True),
     (500, True), (502, True), (503, True), (304, False)],
)  # fmt: skip
def test_anything_but_2xx_is_an_error_that_keeps_the_response(stub: Stub, status: int, retryable: bool) -> None:
    error = failure(f"{stub.url}/status/{status}?key=hidden")
    assert error["type"] == "http"
    assert error["retryable"] is retryable
    assert f"GET {stub.url}/status/{status}: answered {status} " in error["message"]
    assert "hidden" not in error["message"]
    assert error["detail"]["status_code"] == status
    if status != 304:
        assert error["detail"]["data"] == {"why": "as asked"}


def test_an_error_page_with_the_wrong_label_is_kept_as_text(stub: Stub) -> None:
    error = failure(f"{stub.url}/malformed-error")
    assert error["detail"]["data"] == "<html>bad gateway</html>"
    assert error["retryable"] is True


def test_an_error_keeps_the_beginning_of_a_long_body(stub: Stub) -> None:
    error = failure(f"{stub.url}/long-error")
    assert len(error["detail"]["data"]) <= http.ERROR_BODY_BYTES + 100
    assert error["detail"]["data"].startswith("eeee")


def test_malformed_json_is_an_error_with_the_text(stub: Stub) -> None:
    error = failure(f"{stub.url}/malformed")
    assert "says it is JSON and is not" in error["message"]
    assert error["detail"]["data"] == '{"a": '


def test_a_response_that_cannot_be_stored_is_an_error_by_path(stub: Stub) -> None:
    error = failure(f"{stub.url}/nul")
    assert error["type"] == "not_json"
    assert "result.data.a[0] contains a NUL" in error["message"]


def test_a_refused_connection_is_retryable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = failure(f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert error["type"] == "http"
    assert error["retryable"] is True
    assert "refused" in error["message"]


def test_a_name_that_does_not_exist_is_retryable() -> None:
    error = failure("http://no-such-host.invalid/")
    assert error["retryable"] is True
    assert "no-such-host.invalid cannot be resolved" in error["message"]


def test_a_connection_that_is_closed_without_an_answer_is_retryable(stub: Stub) -> None:
    error = failure(f"{stub.url}/hang-up")
    assert error["type"] == "http"
    assert error["retryable"] is True


@pytest.mark.parametrize("path", ["/slow", "/dripping", "/dripping-headers"])
def test_the_timeout_holds_for_the_whole_call(stub: Stub, path: str) -> None:
    start = time.monotonic()
    error = failure(stub.url + path, timeout=0.2)
    assert time.monotonic() - start < 2
    assert error["type"] == "timeout"
    assert error["retryable"] is True
    assert "0.2 s" in error["message"]


def test_the_steps_timeout_limits_the_tools(stub: Stub) -> None:
    error = failure(f"{stub.url}/slow", timeout=60, seconds=0.1)
    assert "0.1 s" in error["message"]


def test_a_long_connection_attempt_ends_in_time() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        error = failure(f"http://127.0.0.1:{address[1]}/", timeout=0.2)
        for filler in fillers:
            filler.close()
    assert error["type"] == "timeout"


def test_an_endless_body_ends_at_the_limit_of_results(stub: Stub) -> None:
    error = failure(f"{stub.url}/endless", limit=1_000_000)
    assert error["type"] == "too_large"
    assert "1,000,000 bytes (NOETL_RESULT_LIMIT)" in error["message"]


def test_a_result_over_the_limit_is_an_error(stub: Stub) -> None:
    assert failure(f"{stub.url}/a", limit=50)["type"] == "too_large"


def test_redirects_are_followed_but_not_for_ever(stub: Stub) -> None:
    got = result(f"{stub.url}/redirect")
    assert got["data"]["path"] == "/target"
    assert got["url"] == f"{stub.url}/target"
    assert "more than 10 redirects" in failure(f"{stub.url}/redirect-forever")["message"]


def test_connections_are_used_again_by_all_threads(stub: Stub) -> None:
    result(f"{stub.url}/a")
    before = stub.connections
    for _ in range(3):
        thread = threading.Thread(target=result, args=(f"{stub.url}/a",))
        thread.start()
        thread.join()
    assert stub.connections == before


def test_no_cookie_goes_from_one_call_to_another(stub: Stub) -> None:
    result(f"{stub.url}/cookie")
    assert "cookie" not in result(f"{stub.url}/a")["data"]["headers"]


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "fe80::1",
        "fe80::1%lo",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
    ],
)
def test_link_local_and_metadata_addresses_are_refused(address: str) -> None:
    assert is_refused(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "8.8.8.8", "2001:db8::1", "fd12::1"]
)
def test_other_addresses_are_not(address: str) -> None:
    assert not is_refused(address)


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest", "http://[fe80::1]/", "http://2852039166/", "http://[::ffff:a9fe:a9fe]/"],
)
def test_a_refused_address_is_never_connected_to(url: str) -> None:
    error = failure(url, timeout=1)
    assert error["type"] == "http"
    assert error["retryable"] is False
    assert "link-local or metadata address" in error["message"]


def test_a_name_that_resolves_to_a_refused_address_is_refused(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*args: Any, **named: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert "metadata.example is 169.254.169.254" in failure("http://metadata.example/")["message"]


def test_a_redirect_to_a_refused_address_is_refused(stub: Stub) -> None:
    assert "169.254.169.254" in failure(f"{stub.url}/redirect-away")["message"]


def test_refused_addresses_can_be_allowed() -> None:
    """Whether something answers there is not ours to know: it is not refused, that is all."""
    tool = http.Http(allow_link_local=True)
    fields = {"endpoint": "http://169.254.0.1:9/", "timeout": 0.05}
    answer = tool.run(Call("http", "k", "p#s", fields, {}, None, 1000, {}))
    tool.close()
    assert isinstance(answer, Failed)
    assert "metadata" not in answer.error["message"]
    assert make_tools(allow_link_local=True)["http"].default_timeout == 30.0


def test_user_and_password_of_an_address_are_not_shown(stub: Stub) -> None:
    url = stub.url.replace("http://", "http://user:canary@")
    assert "canary" not in failure(f"{url}/status/500")["message"]
    assert "canary" not in result(f"{url}/a")["url"]

"""Secrets on their way into calls, on a real worker: credentials, references, and what comes back masked."""

import base64
import json
import os
from pathlib import Path

import pytest

from tests.e2e.tools.bench import PASSWORD, TOKEN, Bench, call


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ("service", "authorization", f"Bearer {TOKEN}"),
        ('"{{ workload.name }}"', "authorization", f"Bearer {TOKEN}"),
        ("{type: bearer, key: service}", "authorization", f"Bearer {TOKEN}"),
        ("{key: service}", "authorization", f"Bearer {TOKEN}"),
        ("{type: bearer, token: \"{{ secret('env:SERVICE_TOKEN') }}\"}", "authorization", f"Bearer {TOKEN}"),
        ("login", "authorization", "Basic " + base64.b64encode(f"ada:{PASSWORD}".encode()).decode()),
        ("key", "x-api-key", TOKEN),
        ("own", "x-own", TOKEN),
    ],
)
def test_a_credential_logs_in_and_nothing_shows_it(bench: Bench, auth: str, header: str, value: str) -> None:
    """The service answers with what it was asked, so all of it comes back."""
    ended = call(bench, auth)
    assert ended.status == "completed", ended.error
    assert bench.asked()["headers"][header] == value
    assert "***" in ended.result["headers"][header]
    seen = bench.seen(ended)
    assert "***" in seen
    assert not [form for form in (TOKEN, PASSWORD, value, json.dumps(PASSWORD)[1:-1]) if form in seen]


def test_a_key_in_the_query_is_neither_in_the_url_nor_in_the_answer(bench: Bench) -> None:
    ended = call(bench, "query_key", "params: {a: 1}")
    assert dict(bench.asked()["query"]) == {"a": "1", "k": TOKEN}
    assert TOKEN not in bench.seen(ended)
    asked = bench.facts(ended.execution_id, "result", "node_id = 'ask' AND event_type = 'step_completed'")[0]["result"]
    assert asked["url"] == f"{bench.stub.url}/asked?a=1"


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        ("servise", "there is no credential 'servise' (did you mean 'service'?)"),
        ("{type: basic, key: service}", "auth: the credential 'service' is of type bearer, not basic"),
        (
            "database",
            "auth: the credential 'database' is of type postgres, but a step of type http takes bearer or basic",
        ),
        ("\"{{ {'type': 'beerer', 'token': 'x'} }}\"", "unknown type of credential 'beerer' (did you mean 'bearer'?)"),
        ("\"{{ {'type': 'bearer'} }}\"", "a credential of type bearer needs token"),
        ("\"{{ {'a': 'service'} }}\"", "auth has no type: a step of type http takes one credential"),
        ('"{{ [1] }}"', "auth is a list: it must be the name of a credential, or a mapping"),
        ("\"{{ secret('service') }}\"", "auth names no credential: a secret's value cannot be a name"),
        ('"a b"', "'a b' cannot be the name of a credential"),
    ],
)
def test_a_login_that_is_none_fails_the_step_with_one_sentence(bench: Bench, auth: str, told: str) -> None:
    """Not retried, and without a word of what is in the store."""
    before = len(bench.stub.asked)
    if auth == '"a b"':
        auth = "\"{{ 'a b' }}\""
    ended = call(bench, auth, "retry: 3")
    assert ended.status == "failed"
    assert ended.error["type"] == "validation"
    assert told in ended.error["message"], ended.error
    assert "attempt_failed ask" not in ended.events
    assert len(bench.stub.asked) == before
    assert TOKEN not in bench.seen(ended)


def test_secret_puts_values_into_fields_args_and_text(bench: Bench, tmp_path: Path) -> None:
    """Whole values keep their type; what is part of a text becomes text, escaped where the text is JSON."""
    (tmp_path / "token").write_text("from-a-file\n")
    body = f"""
    - step: start
      type: http
      method: POST
      endpoint: "{bench.stub.url}/{{{{ secret('env:NUMBER') }}}}"
      headers: {{X-Token: "t={{{{ secret('service') }}}};", X-File: "{{{{ secret('file:{tmp_path}/token') }}}}"}}
      payload:
        whole: "{{{{ secret('credential:many.three') }}}}"
        main: "{{{{ secret('login') }}}}"
        field: "{{{{ secret('credential:many.two') }}}}"
        json: "{{{{ {{'p': secret('login')}} | tojson }}}}"
        arg: "{{{{ word }}}}"
      args: {{word: "{{{{ secret('env:SERVICE_TOKEN') }}}}!"}}
      next: end
    - step: end
    """
    ended = bench.run(body)
    assert ended.status == "completed", ended.error
    asked = bench.asked()
    assert asked["path"] == "/48151623"
    assert (asked["headers"]["x-token"], asked["headers"]["x-file"]) == (f"t={TOKEN};", "from-a-file")
    sent = json.loads(asked["body"])
    assert sent["whole"] == {"deep": ["inner-value"]}
    assert (sent["main"], sent["field"], sent["arg"]) == (PASSWORD, "second-value", f"{TOKEN}!")
    assert json.loads(sent["json"]) == {"p": PASSWORD}
    seen = bench.seen(ended)
    for value in (TOKEN, PASSWORD, "48151623", "from-a-file", "second-value", "inner-value", "noetl-secret"):
        assert value not in seen


def test_python_gets_values_as_arguments_and_its_answers_are_masked(bench: Bench) -> None:
    """Result, prints, error and traceback: whatever the code does with the value, as long as it can be recognised."""
    body = """
    - step: start
      type: python
      args: {token: "{{ secret('service') }}", number: "{{ secret('env:NUMBER') }}", password: "{{ secret('login') }}"}
      code: |
        import base64, json, sys, urllib.parse
        def main(token, number, password):
            print("token", token)
            print(repr(password), file=sys.stderr)
            return {
                "same": token == "canary-" + "token-9f2c",
                "plain": token, token: 1, "number": int(number), "text": f"a{number}b",
                "json": json.dumps({"p": password}), "url": urllib.parse.quote(password, safe=""),
                "base64": base64.b64encode(b"x:" + password.encode()).decode(),
            }
      next: fail
    - step: fail
      type: python
      args: {token: "{{ secret('service') }}"}
      code: |
        def main(token):
            raise ValueError("cannot use " + token)
    """
    ended = bench.run(body)
    assert ended.status == "failed"
    seen = bench.seen(ended)
    assert '"same": true' in seen.replace("\\", "").replace('":t', '": t')
    assert ended.error["message"] == "ValueError: cannot use ***"
    error = bench.facts(ended.execution_id, "error", "event_type = 'step_failed'")[0]["error"]
    assert "cannot use ***" in error["detail"]["traceback"]
    output = bench.rows("SELECT text FROM output WHERE execution_id = %s", ended.execution_id)[0][0]
    assert output.startswith("token ***\n'***")
    plain = base64.b64encode(PASSWORD.encode()).decode()[4:20]
    for value in (TOKEN, PASSWORD, "48151623", "can%22ary", "can\\\\", plain):
        assert value not in seen, value


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("env:ABSENT", "the environment variable ABSENT is not set where the worker runs"),
        ("env:' ~ 'NOETL_HIDDEN", "NOETL_HIDDEN is the engine's own variable, which playbooks cannot read"),
        (
            "file:/no/such/file",
            "the file /no/such/file cannot be read where the worker runs: No such file or directory",
        ),
        ("file:{tmp}", "{tmp} is no ordinary file"),
        ("file:{tmp}/pipe", "{tmp}/pipe is no ordinary file"),
        ("file:{tmp}/large", "the file {tmp}/large is larger than 65,536 bytes"),
        ("file:{tmp}/binary", "the file {tmp}/binary is not UTF-8 text"),
        ("file:{tmp}/link", "is in NOETL_HOME, whose files playbooks cannot read"),
        ("file:/proc/self/environ", "/proc/self/environ is no ordinary file"),
        ("nobody", "there is no credential 'nobody'"),
        ("many", "the credential 'many' does not say which of its values is meant: it has one, three, two"),
        ("credential:many.tow", "the credential 'many' (type generic) has no field 'tow': it has one, three, two"),
    ],
)
def test_a_secret_that_cannot_be_had_fails_the_step_with_one_sentence(
    bench: Bench, source: str, told: str, tmp_path: Path
) -> None:
    home = bench.settings.home
    home.mkdir(exist_ok=True)
    (home / "token").write_text("the api's")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 65_537)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "link").symlink_to(home / "token")
    source, told = source.replace("{tmp}", str(tmp_path)), told.replace("{tmp}", str(tmp_path))
    ended = bench.run(
        f"""
        - step: start
          type: python
          args: {{token: "{{{{ secret('{source}') }}}}"}}
          code: |
            def main(token):
                return token
        """
    )
    assert ended.status == "failed"
    assert ended.error["type"] == "validation" or "engine's own" in told
    assert told in ended.error["message"]
    assert "the api's" not in bench.seen(ended)

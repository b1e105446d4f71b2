"""Secrets on their way into calls, on a real worker: credentials, references, and what comes back masked."""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noetl.database.connection.connect import Database
from noetl.database.credentials import find_credential, remove_credential
from noetl.errors import Unreachable
from noetl.settings import Settings
from noetl.worker.secrets import sources
from tests.e2e.conftest import check
from tests.support.playbooks import Ended, Lab
from tests.support.stub import Stub, serving
from tests.support.vault import Vault, a_key
from tests.support.working import working

KEY = a_key()
TOKEN = "canary-token-9f2c"
PASSWORD = 'can"ary\\pass/wörd 7?'


class Bench(Lab):
    """A lab with a vault and a service that says what it was asked."""

    stub: Stub
    vault: Vault

    def asked(self) -> dict[str, Any]:
        """Return the last request."""
        return self.stub.asked[-1]

    def seen(self, ended: Ended) -> str:
        """Return everything that was written of an execution, as text."""
        with self.database.session() as conn:
            rows = [
                conn.execute(
                    f"SELECT row_to_json(t)::text FROM {table} t WHERE execution_id = %s".encode(), [one]
                ).fetchall()
                for table in ("event_log", "payload", "output", "error_log", "workload", "execution", "queue")
                for one in [ended.execution_id]
            ]
        return json.dumps(rows, ensure_ascii=False)


@pytest.fixture(scope="module")
def bench(
    shared_settings: Settings, shared_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    vault = Vault(shared_database, shared_settings, KEY)
    environment = {"SERVICE_TOKEN": TOKEN, "NUMBER": "48151623", "NOETL_HIDDEN": "canary"}
    settings = replace(vault.settings, environment=environment)
    with serving() as stub, working(settings, slots=4):
        bench = Bench(shared_database, settings)
        bench.vault, bench.stub = vault, stub
        vault.put("service", "bearer", token=TOKEN)
        vault.put("login", "basic", username="ada", password=PASSWORD)
        vault.put("key", "api_key", value=TOKEN)
        vault.put("query_key", "api_key", value=TOKEN, name="k", **{"in": "query"})
        vault.put("own", "header", name="X-Own", value=TOKEN)
        vault.put("database", "postgres", host="h", database="d", user="u", password=PASSWORD)
        vault.put("many", "generic", one=TOKEN, two="second-value", three={"deep": ["inner-value"]})
        yield bench
        check(settings)


def call(bench: Bench, auth: str, more: str = "", **request: Any) -> Ended:
    """Run one http step with an `auth`."""
    body = f"""
    workload: {{base_url: none, name: service}}
    workflow:
      - step: start
        next: ask
      - step: ask
        type: http
        endpoint: "{{{{ workload.base_url }}}}/asked"
        auth: {auth}
        {more}
        next: end
      - step: end
        result: "{{{{ ask.data }}}}"
    """
    return bench.run(body, payload={"base_url": bench.stub.url, **request.pop("payload", {})}, **request)


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


STEPS = """
- step: start
  type: secrets
  provider: env
  name: SERVICE_TOKEN
  next: use
- step: use
  type: python
  args: {token: "{{ start.secret_value }}", again: ["Bearer {{ start.secret_value }}"], forged: "{{ workload.forged }}"}
  code: |
    import hashlib
    def main(token, again, forged):
        return {"hash": hashlib.sha256((token + again[0]).encode()).hexdigest(), "forged": forged}
  next: ask
- step: ask
  type: http
  endpoint: "{{ workload.base_url }}/x"
  auth: {type: bearer, token: "{{ start.secret_value }}"}
  next: end
- step: end
  result:
    hash: "{{ use.hash }}"
    forged: "{{ use.forged }}"
    secret: "{{ start.secret_value }}"
    provider: "{{ start.provider }}"
"""


def run_steps(bench: Bench, forged: str = "") -> Ended:
    workload = {"base_url": bench.stub.url, "forged": forged}
    return bench.run(f"workload: {{base_url: x, forged: ''}}\nworkflow:\n{STEPS}", payload=workload)


def test_a_secrets_step_leaves_a_reference_in_the_log_that_later_calls_can_use(bench: Bench) -> None:
    ended = run_steps(bench)
    assert ended.status == "completed", ended.error
    assert ended.result["hash"] == hashlib.sha256(f"{TOKEN}Bearer {TOKEN}".encode()).hexdigest()
    assert ended.result["provider"] == "env"
    assert ended.result["secret"].startswith("noetl-secret:s.")
    assert bench.asked()["headers"]["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in bench.seen(ended)


def test_a_reference_of_another_execution_or_one_that_was_changed_stays_text(bench: Bench) -> None:
    foreign = run_steps(bench).result["secret"]
    own = run_steps(bench, foreign)
    assert own.status == "completed", own.error
    assert own.result["forged"] == foreign
    kind, key, sealed = foreign.removeprefix("noetl-secret:").removesuffix(":").split(".")
    for forged in (
        f"noetl-secret:{kind}.{key}.{sealed[:-4]}AAAA:",
        f"noetl-secret:{kind}.{'0' * 12}.{sealed}:",
        "noetl-secret:s.a.b:",
        "noetl-secret:c.ZW52OlNFUlZJQ0VfVE9LRU4.00000000000000000000000000000000:",
        "noetl-secret:c.----.00:",
        "noetl-secret:",
    ):
        ended = run_steps(bench, forged)
        assert ended.status == "completed", ended.error
        assert ended.result["forged"] == forged


def test_children_and_parents_share_references_by_their_root(bench: Bench) -> None:
    """A child uses what its parent fetched, and a parent what its child gives back."""
    bench.put(
        """
        workload: {token: ''}
        workflow:
          - step: start
            type: secrets
            provider: credential
            name: many
            field: two
            next: use
          - step: use
            type: python
            args: {token: "{{ workload.token }}"}
            code: |
              import hashlib
              def main(token):
                  return hashlib.sha256(token.encode()).hexdigest()
            next: end
          - step: end
            result: {hash: "{{ use }}", mine: "{{ start.secret_value }}"}
        """,
        "test/child_of_secrets",
    )
    ended = bench.run(
        """
        - step: start
          type: secrets
          provider: env
          name: SERVICE_TOKEN
          next: child
        - step: child
          type: playbook
          path: test/child_of_secrets
          args: {token: "{{ start.secret_value }}"}
          next: use
        - step: use
          type: python
          args: {theirs: "{{ child.mine }}"}
          code: |
            import hashlib
            def main(theirs):
                return hashlib.sha256(theirs.encode()).hexdigest()
          next: end
        - step: end
          result: ["{{ child.hash }}", "{{ use }}"]
        """
    )
    assert ended.status == "completed", ended.error
    assert ended.result == [hashlib.sha256(each.encode()).hexdigest() for each in (TOKEN, "second-value")]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("{provider: env, name: ABSENT}", "the environment variable ABSENT is not set"),
        (
            "{provider: env, name: SERVICE_TOKEN, field: x}",
            "the secret 'SERVICE_TOKEN' is not JSON, so it has no field 'x'",
        ),
        ("{provider: credential, name: many, field: four}", "has no field 'four'"),
        ("{provider: '{{ \"evn\" }}', name: x}", "unknown provider 'evn' (did you mean 'env'?)"),
        ("{provider: env, name: '{{ \"\" }}'}", "name is empty"),
        ("{provider: env, name: SERVICE_TOKEN, auth: many}", "the provider env needs no auth"),
        ("{provider: aws, name: x}", "no region is known"),
        (
            "{provider: aws, name: x, region: eu-west-1}",
            "nothing says who asks: give 'auth' with a credential of type s3",
        ),
    ],
)
def test_a_secrets_step_that_finds_nothing_says_why(bench: Bench, fields: str, told: str) -> None:
    ended = bench.run(f"- {{step: start, type: secrets, {fields[1:]}")
    assert ended.status == "failed"
    assert told in ended.error["message"], ended.error


def test_a_replaced_credential_is_seen_within_seconds_and_rotation_changes_nothing(bench: Bench) -> None:
    bench.vault.put("changing", "bearer", token="first-value")
    assert call(bench, "changing").status == "completed"
    assert bench.asked()["headers"]["authorization"] == "Bearer first-value"
    bench.vault.put("changing", "bearer", token="other-value")

    def other() -> bool:
        assert call(bench, "changing").status == "completed"
        return bool(bench.asked()["headers"]["authorization"] == "Bearer other-value")

    bench.until(other, limit=10)
    bench.vault.rotate()
    assert call(bench, "changing").status == "completed"


def test_a_credential_whose_key_is_gone_says_which_key_and_what_to_do(bench: Bench) -> None:
    Vault(bench.database, bench.settings, a_key()).put("stranger", "bearer", token="unreadable-value")
    ended = call(bench, "stranger")
    try:
        assert ended.error["type"] == "validation"
        assert "the credential 'stranger' cannot be decrypted: it was encrypted with the key" in ended.error["message"]
        assert "add the key to NOETL_ENCRYPTION_KEY" in ended.error["message"]
    finally:
        with bench.database.session() as conn:
            remove_credential(conn, "stranger")


def test_data_of_a_credential_that_was_moved_to_another_name_is_not_taken(bench: Bench) -> None:
    """Name and type are bound to what is encrypted: who can write to the table cannot make one act as another."""
    bench.vault.put("victim", "bearer", token="victims-value")
    bench.vault.put("thief", "bearer", token="thiefs-value")
    with bench.database.session() as conn:
        conn.execute(
            "UPDATE credential SET data = (SELECT data FROM credential WHERE name = 'victim') WHERE name = 'thief'"
        )
    try:
        ended = call(bench, "thief")
        assert "its data was changed, or belongs to another name or type" in ended.error["message"]
    finally:
        bench.vault.put("thief", "bearer", token="thiefs-value")


def test_a_database_that_is_away_while_a_credential_is_read_costs_the_step_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call was not begun: it is tried again, and no attempt has failed."""
    times = []
    real = find_credential

    def away(conn: Any, name: str) -> Any:
        times.append(name)
        if len(times) <= 2:
            raise Unreachable("it is away")
        return real(conn, name)

    bench.vault.put("late", "bearer", token="late-value")
    monkeypatch.setattr(sources, "find_credential", away)
    ended = call(bench, "late")
    assert ended.status == "completed", ended.error
    assert times == ["late"] * 3
    assert ended.events.count("step_completed ask") == 1
    assert not [event for event in ended.events if event.startswith("attempt_failed")]


def test_a_cloud_that_is_busy_is_asked_again_and_one_that_refuses_is_not(bench: Bench) -> None:
    """Errors of type `secrets` say whether another attempt may help; a later call asks the cloud itself."""
    bench.vault.put("cloud", "s3", access_key="AK", secret_key=PASSWORD, region="eu-west-1", endpoint=bench.stub.url)
    answers: list[Any] = [
        (503, {"message": "busy"}),
        {"SecretString": '{"user": "ada", "pin": "77-41"}', "VersionId": "v" * 32},
    ]
    bench.stub.answers = {"/": lambda asked: answers.pop(0) if len(answers) > 1 else answers[0]}
    body = """
    - step: start
      type: secrets
      provider: aws
      name: db
      field: pin
      auth: cloud
      retry: {max_attempts: 3, initial_delay: 10ms}
      next: use
    - step: use
      type: python
      args: {pin: "{{ start.secret_value }}"}
      code: "def main(pin): return pin[::-1]"
      next: end
    - step: end
      result: ["{{ start.version }}", "{{ use }}"]
    """
    ended = bench.run(body)
    assert ended.status == "completed", ended.error
    assert ended.result == ["v" * 32, "14-77"]
    assert ended.events.count("attempt_failed start") == 1
    error = bench.facts(ended.execution_id, "error", "event_type = 'attempt_failed'")[0]["error"]
    assert (error["type"], error["retryable"]) == ("secrets", True)
    assert "AWS Secrets Manager answered 503: busy" in error["message"]
    answers[:] = [(400, {"__type": "AccessDeniedException", "Message": f"not with {PASSWORD}"})]
    ended = bench.run(body)
    assert ended.status == "failed"
    assert ended.error["message"].endswith("answered 400: AccessDeniedException: not with ***")
    assert "attempt_failed start" not in ended.events
    bench.stub.answers = {}

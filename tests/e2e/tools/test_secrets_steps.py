"""Steps of type `secrets` on a real worker: references in the log, rotation, stores and clouds that are away."""

import hashlib
from typing import Any

import pytest

from noetl.database.credentials import find_credential, remove_credential
from noetl.errors import Unreachable
from noetl.worker.secrets import sources
from tests.e2e.tools.bench import PASSWORD, TOKEN, Bench, call
from tests.support.playbooks import Ended
from tests.support.vault import Vault, a_key

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

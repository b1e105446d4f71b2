"""Secrets of AWS and Google against services on loopback: what is asked, how it is signed, what is said of failures."""

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from noetl.tools.clouds.aws import AwsSecrets
from noetl.tools.clouds.aws_signature import AwsKeys, sign
from noetl.tools.clouds.google import ACCESS_SCOPE, GoogleSecrets
from noetl.tools.clouds.service import CloudError, CloudService
from tests.support.stub import Stub, serving

VALUE = "the-secret-value"
NOON = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
MADE: list[AwsSecrets | GoogleSecrets] = []
VERSION = "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE"


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A service; what has asked it is closed with it."""
    with serving() as stub:
        yield stub
    while MADE:
        MADE.pop().close()


# ---- AWS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "url", "signature"),
    [
        ("GET", "https://example.amazonaws.com/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "https://example.amazonaws.com/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            "https://example.amazonaws.com/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
    ],
)
def test_signatures_are_those_of_the_published_examples(method: str, url: str, signature: str) -> None:
    """AWS's test suite for Signature Version 4: get-vanilla, post-vanilla, get-vanilla-query-order-key-case."""
    keys = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    signed = sign(keys, method=method, url=url, headers={}, body=b"", region="us-east-1", service="service", now=NOON)
    assert signed["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
        f" SignedHeaders=host;x-amz-date, Signature={signature}"
    )


def aws(stub: Stub, **environment: str) -> AwsSecrets:
    given = {"AWS_ENDPOINT_URL_SECRETS_MANAGER": stub.url, "AWS_REGION": "eu-west-1"}
    MADE.append(client := AwsSecrets({**given, **environment}, now=lambda: NOON))
    return client


LOGIN = {"type": "s3", "access_key": "AKIDEXAMPLE", "secret_key": "sekret"}


def test_a_secret_of_aws_is_asked_for_and_signed(stub: Stub) -> None:
    stub.answers = {"/": lambda asked: {"SecretString": VALUE, "VersionId": VERSION}}
    found = aws(stub).fetch("prod/db", version=None, region=None, credential={**LOGIN, "session_token": "session"})
    assert (found.value, found.version) == (VALUE, VERSION)
    asked = stub.asked[0]
    assert asked["method"] == "POST"
    assert json.loads(asked["body"]) == {"SecretId": "prod/db"}
    headers = asked["headers"]
    assert headers["x-amz-target"] == "secretsmanager.GetSecretValue"
    assert headers["x-amz-security-token"] == "session"
    assert headers["authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/secretsmanager/aws4_request, SignedHeaders="
        "content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature="
    )
    assert repr(found) == f"CloudSecret(version='{VERSION}')"


@pytest.mark.parametrize(
    ("version", "wanted"), [(VERSION, {"VersionId": VERSION}), ("AWSPREVIOUS", {"VersionStage": "AWSPREVIOUS"})]
)
def test_a_version_is_an_id_or_a_stage(stub: Stub, version: str, wanted: dict[str, str]) -> None:
    stub.answers = {
        "/": lambda asked: {"SecretBinary": base64.b64encode(VALUE.encode()).decode(), "VersionId": VERSION}
    }
    assert aws(stub).fetch("a", version=version, region=None, credential=LOGIN).value == VALUE
    assert json.loads(stub.asked[0]["body"]) == {"SecretId": "a", **wanted}


def test_the_environment_says_who_asks_and_the_arn_where(stub: Stub) -> None:
    stub.answers = {"/": lambda asked: {"SecretString": VALUE, "VersionId": "v"}}
    client = aws(stub, AWS_ACCESS_KEY_ID="AKIDENV", AWS_SECRET_ACCESS_KEY="s", AWS_SESSION_TOKEN="t")
    client.fetch("arn:aws:secretsmanager:us-west-2:1:secret:x", version=None, region=None, credential=None)
    assert "Credential=AKIDENV/20150830/us-west-2/" in stub.asked[0]["headers"]["authorization"]


@pytest.mark.parametrize(
    ("answer", "told", "retryable"),
    [
        (
            (400, {"__type": "ResourceNotFoundException", "Message": "no such secret"}),
            "ResourceNotFoundException",
            False,
        ),
        (
            (400, {"__type": "a#AccessDeniedException", "message": "not yours"}),
            "400: AccessDeniedException: not",
            False,
        ),
        ((400, {"__type": "ThrottlingException"}), "ThrottlingException", True),
        ((503, b"<html>no</html>"), "answered 503", True),
        ((200, {"SecretBinary": "//79"}), "only secrets that are text", False),
        ((200, {"Name": "x"}), "only secrets that are text", False),
        ((200, b"nothing"), "only secrets that are text", False),
    ],
)
def test_what_aws_does_not_give_is_one_sentence(stub: Stub, answer: Any, told: str, retryable: bool) -> None:
    stub.answers = {"/": lambda asked: answer}
    with pytest.raises(CloudError) as raised:
        aws(stub).fetch("a", version=None, region=None, credential=LOGIN)
    assert told in str(raised.value)
    assert raised.value.retryable is retryable
    assert "sekret" not in str(raised.value)


def test_a_region_that_is_none_names_no_host(stub: Stub) -> None:
    with pytest.raises(CloudError, match="no region is known"):
        AwsSecrets({}).fetch("a", version=None, region="evil.example/", credential=LOGIN)


# ---- Google ----------------------------------------------------------------------------------------------------------

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def account(stub: Stub) -> dict[str, Any]:
    """Return the fields of a service account's key file."""
    return {
        "type": "generic",
        "project_id": "of-the-key",
        "private_key_id": "k1",
        "private_key": PEM,
        "client_email": "robot@of-the-key.example",
        "token_uri": f"{stub.url}/token",
    }


class Cloud:
    """A token service that checks what is signed, and a service with one secret."""

    def __init__(self, stub: Stub) -> None:
        self.tokens = 0
        self.lasts = 3600
        stub.answers = {
            "/token": self.token,
            "/computeMetadata/v1/instance/service-accounts/default/token": self.metadata_token,
            "/computeMetadata/v1/project/project-id": lambda asked: b"of-the-machine",
            **{
                f"/v1/projects/{project}/secrets/db/versions/{version}:access": self.secret
                for project in ("of-the-key", "of-the-machine", "other")
                for version in ("latest", "7")
            },
        }

    def token(self, asked: dict[str, Any]) -> Any:
        form = dict(part.split("=", 1) for part in asked["body"].split("&"))
        head, claims, signature = form["assertion"].split(".")
        KEY.public_key().verify(_decode(signature), f"{head}.{claims}".encode(), PKCS1v15(), SHA256())
        assert json.loads(_decode(head)) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
        told = json.loads(_decode(claims))
        assert (told["iss"], told["scope"], told["exp"] - told["iat"]) == (
            "robot@of-the-key.example",
            ACCESS_SCOPE,
            3600,
        )
        assert told["aud"].endswith("/token")
        return self._token()

    def metadata_token(self, asked: dict[str, Any]) -> Any:
        return self._token() if asked["headers"]["metadata-flavor"] == "Google" else (403, {})

    def _token(self) -> Any:
        self.tokens += 1
        return {"access_token": f"token-{self.tokens}", "expires_in": self.lasts}

    def secret(self, asked: dict[str, Any]) -> Any:
        if not asked["headers"]["authorization"].startswith("Bearer "):
            return 401, {"error": {"code": 401, "status": "UNAUTHENTICATED", "message": "who are you"}}
        data = base64.b64encode(VALUE.encode()).decode()
        return {"name": "projects/1/secrets/db/versions/7", "payload": {"data": data}}


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def google(stub: Stub, now: list[float] | None = None, **environment: str) -> GoogleSecrets:
    given = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"{stub.url}/"}
    clock = now if now is not None else [1_000_000.0]
    MADE.append(client := GoogleSecrets({**given, **environment}, clock=lambda: clock[0]))
    return client


def test_a_service_account_signs_for_an_access_token_that_is_kept_until_it_ends(stub: Stub) -> None:
    cloud, now = Cloud(stub), [1_000_000.0]
    client = google(stub, now)
    for _ in range(3):
        found = client.fetch("db", version=None, project=None, credential=account(stub))
    assert (found.value, found.version, cloud.tokens) == (VALUE, "7", 1)
    assert stub.asked[-1]["headers"]["authorization"] == "Bearer token-1"
    now[0] += 3600 - 59
    client.fetch("projects/other/secrets/db/versions/7", version=None, project=None, credential=account(stub))
    assert cloud.tokens == 2
    assert stub.asked[-1]["path"] == "/v1/projects/other/secrets/db/versions/7:access"


def test_the_key_file_of_the_environment_says_who_asks(stub: Stub, tmp_path: Path) -> None:
    Cloud(stub)
    file = tmp_path / "key.json"
    file.write_text(json.dumps({**account(stub), "type": "service_account"}))
    client = google(stub, GOOGLE_APPLICATION_CREDENTIALS=str(file))
    assert client.fetch("db", version="7", project=None, credential=None).value == VALUE
    file.write_text("no json")
    with pytest.raises(CloudError, match="cannot be read: it is not JSON"):
        client.fetch("db", version="7", project=None, credential=None)


def test_on_googles_machines_the_metadata_server_says_who_asks(stub: Stub) -> None:
    cloud = Cloud(stub)
    client = google(stub, GCE_METADATA_HOST=stub.url.removeprefix("http://"))
    assert client.fetch("db", version=None, project=None, credential=None).value == VALUE
    assert cloud.tokens == 1
    assert stub.asked[-1]["path"] == "/v1/projects/of-the-machine/secrets/db/versions/latest:access"


def test_a_bearer_token_is_taken_as_it_is(stub: Stub) -> None:
    Cloud(stub)
    google(stub).fetch("db", version=None, project="other", credential={"type": "bearer", "token": "mine"})
    assert [asked["headers"]["authorization"] for asked in stub.asked] == ["Bearer mine"]


def test_what_google_does_not_give_is_one_sentence(stub: Stub) -> None:
    Cloud(stub)
    client = google(stub)
    bearer = {"type": "bearer", "token": "mine"}
    stub.answers = {
        "/v1/projects/p/secrets/gone/versions/latest:access": lambda asked: (
            404,
            {"error": {"code": 404, "status": "NOT_FOUND", "message": "Secret [gone] not found"}},
        ),
        "/v1/projects/p/secrets/odd/versions/latest:access": lambda asked: {"payload": {}},
        "/v1/projects/p/secrets/busy/versions/latest:access": lambda asked: (429, {"error": {"message": "slow down"}}),
        "/token": lambda asked: (400, {"error": "invalid_grant", "error_description": "Invalid JWT"}),
    }
    for name, told, retryable in (
        ("gone", "answered 404: NOT_FOUND: Secret [gone] not found", False),
        ("odd", "only secrets that are text", False),
        ("busy", "answered 429: slow down", True),
    ):
        with pytest.raises(CloudError) as raised:
            client.fetch(name, version=None, project="p", credential=bearer)
        assert told in str(raised.value)
        assert raised.value.retryable is retryable
    for credential, told in (
        (account(stub), "token service answered 400: invalid_grant: Invalid JWT"),
        ({**account(stub), "private_key": PEM[:200]}, "is not the key of a service account"),
        ({"a": "b"}, "is not the key of a service account"),
    ):
        with pytest.raises(CloudError) as raised:
            client.fetch("db", version=None, project="p", credential=credential)
        assert told in str(raised.value)
        assert "PRIVATE" not in str(raised.value)
    with pytest.raises(CloudError, match="no project is known"):
        client.fetch("db", version=None, project=None, credential=bearer)


# ---- any service -----------------------------------------------------------------------------------------------------


def test_a_service_that_is_not_there_or_slow_or_endless_is_given_up(stub: Stub) -> None:
    service = CloudService("the service", timeout=0.3)
    with pytest.raises(CloudError, match=r"the service did not answer within 0\.3 s") as raised:
        service.ask("GET", f"{stub.url}/slow")
    assert raised.value.retryable
    with pytest.raises(CloudError, match=r"did not answer within 0\.3 s"):
        service.ask("GET", f"{stub.url}/dripping")
    patient = CloudService("the service", timeout=20)
    with pytest.raises(CloudError, match="more than 1,048,576 bytes"):
        patient.ask("GET", f"{stub.url}/endless")
    patient.close()
    with pytest.raises(CloudError, match="the address of the service cannot be used"):
        service.ask("GET", "nowhere")
    stub.ended.set()
    with serving() as gone:
        address = gone.url
    with pytest.raises(CloudError, match="the service cannot be reached") as raised:
        service.ask("GET", address)
    assert raised.value.retryable
    service.close()


def test_threads_share_a_service(stub: Stub) -> None:
    cloud, client = Cloud(stub), google(stub)
    found: list[str] = []

    def fetch() -> None:
        found.append(client.fetch("db", version=None, project=None, credential=account(stub)).value)

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [VALUE] * 8
    assert 1 <= cloud.tokens <= 8

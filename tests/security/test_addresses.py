"""Link-local addresses and metadata services are out of reach, in whatever form an address leads to them."""

from typing import Any

import pytest

from noetl.calls import Call
from noetl.outcomes import Failed
from noetl.tools.clouds.aws import AwsSecrets
from noetl.tools.clouds.google import GoogleSecrets
from noetl.tools.clouds.service import CloudError
from noetl.tools.http.guard import is_refused
from noetl.tools.registry import TOOLS

WAYS = [
    "::169.254.169.254",
    "::ffff:169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:a9fe:00a9:fe00::",
    "64:ff9b:1:00a9:00fe:a9fe::",
    "64:ff9b:1:0:00a9:fea9:fe00:0",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe:0:0:0:1",
    "2001:0:808:808:0:0:5601:5601",
    "2001:db8::5efe:169.254.169.254",
    "2001:db8::200:5efe:169.254.169.254",
    "fe80::200:5efe:10.0.0.1",
    "::100.100.100.200",
    "64:ff9b:1::168.63.129.16",
]
"""IPv4-compatible, -mapped, -translated; NAT64 with the well-known and the local prefix; 6to4; Teredo's server and
client; ISATAP."""


@pytest.mark.parametrize("address", WAYS)
def test_an_ipv6_address_that_leads_to_one_is_refused(address: str) -> None:
    assert is_refused(address)


@pytest.mark.parametrize(
    "address",
    ["::1", "::", "::ffff:10.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::8.8.8.8", "2002:808:808::1", "2001:db8::1",
     "2001:0:808:808:0:0:f7f7:f7f7", "2001:db8::5efe:10.0.0.1", "fd00::a9fe:a9fe"],
)  # fmt: skip
def test_others_are_not(address: str) -> None:
    assert not is_refused(address)


@pytest.mark.parametrize("host", ["[::169.254.169.254]", "[64:ff9b:1::a9fe:a9fe]", "[::ffff:0:a9fe:a9fe]"])
def test_an_http_step_does_not_connect_to_one(host: str) -> None:
    fields = {"endpoint": f"http://{host}/latest/meta-data/"}
    answer = TOOLS["http"].run(Call("http", "k", "p#s", fields, {}, 2.0, 1 << 20, {}))
    assert isinstance(answer, Failed)
    assert "link-local or metadata address" in answer.error["message"]
    assert answer.error["retryable"] is False


@pytest.mark.parametrize("host", ["169.254.169.254", "[::169.254.169.254]", "100.100.100.200"])
def test_a_secrets_step_does_not_connect_to_one(host: str) -> None:
    """A credential may name the service's address: it comes from whoever wrote the credential."""
    aws = AwsSecrets({})
    given: dict[str, Any] = {"access_key": "a", "secret_key": "b", "endpoint": f"http://{host}"}
    with pytest.raises(CloudError, match="link-local or metadata address") as caught:
        aws.fetch("name", version=None, region="eu-west-1", credential=given)
    assert not caught.value.retryable
    aws.close()


def test_google_is_not_asked_for_tokens_at_one(rsa_key: str) -> None:
    google = GoogleSecrets({"GOOGLE_CLOUD_PROJECT": "p"})
    account = {"client_email": "a@b.example", "private_key": rsa_key, "token_uri": "http://169.254.169.254/token"}
    with pytest.raises(CloudError, match="link-local or metadata address"):
        google.fetch("name", version=None, project=None, credential=account)
    google.close()


@pytest.fixture
def rsa_key() -> str:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

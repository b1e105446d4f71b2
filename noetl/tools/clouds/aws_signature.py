"""Signatures of requests to AWS: Version 4, as AWS documents it (docs.aws.amazon.com, "Create a signed request")."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """The keys of an account. `token` goes with temporary ones."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


def sign(
    keys: AwsKeys,
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    region: str,
    service: str,
    now: datetime,
) -> dict[str, str]:
    """Return the headers of a request, its signature among them. `now` is in UTC."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    signed = {**headers, "Host": urlsplit(url).netloc, "X-Amz-Date": stamp}
    if keys.token:
        signed["X-Amz-Security-Token"] = keys.token
    canonical = {name.lower(): " ".join(value.split()) for name, value in sorted(signed.items(), key=_lower_name)}
    request = _canonical_request(method, url, canonical, body)
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    signature = hmac.digest(_signing_key(keys, scope), text.encode(), "sha256").hex()
    login = f"Credential={keys.access_key}/{scope}, SignedHeaders={';'.join(canonical)}, Signature={signature}"
    return {**signed, "Authorization": f"{_ALGORITHM} {login}"}


def _lower_name(header: tuple[str, str]) -> str:
    return header[0].lower()


def _canonical_request(method: str, url: str, headers: Mapping[str, str], body: bytes) -> str:
    """Return a request as the text to sign. `headers`: by their names in small letters, sorted."""
    parts = urlsplit(url)
    query = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(parse_qsl(parts.query, keep_blank_values=True))
    )
    return "\n".join(
        [
            method,
            quote(parts.path or "/", safe="/-_.~"),
            query,
            *(f"{name}:{value}" for name, value in headers.items()),
            "",
            ";".join(headers),
            hashlib.sha256(body).hexdigest(),
        ]
    )


def _signing_key(keys: AwsKeys, scope: str) -> bytes:
    key = f"AWS4{keys.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key

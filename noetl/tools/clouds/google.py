"""Secrets of Google Secret Manager, over its REST API.

The account comes from a credential (generic with the fields of a service account's key file, or bearer with an access
token), else from the key file that `GOOGLE_APPLICATION_CREDENTIALS` names, else from the metadata server of Google's
machines (`GCE_METADATA_HOST`). `CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER` names another address, as for gcloud.
"""

import base64
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from noetl.tools.clouds.service import CloudError, CloudSecret, CloudService

ACCESS_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_SERVICE_URL: Final = "https://secretmanager.googleapis.com/"
_LOGIN_URL: Final = "https://oauth2.googleapis.com/token"
_GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_FULL_NAME: Final = re.compile(r"projects/([^/]+)/secrets/([^/]+)(?:/versions/([^/]+))?")
_ASSERTION_SECONDS: Final = 3600
_TOKEN_MARGIN_SECONDS: Final = 60.0
"""How long before its end an access token is replaced."""


class GoogleSecrets:
    """A reader of secrets, which keeps access tokens as long as they are valid. Safe to share between threads."""

    def __init__(self, environment: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> None:
        self._environment = environment
        self._clock = clock
        self._service = CloudService("Google Secret Manager")
        self._login = CloudService("Google's token service")
        self._metadata = CloudService("Google's metadata server", timeout=5.0, metadata=True)
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}  # by who asks and where: token, its end

    def fetch(
        self, name: str, *, version: str | None, project: str | None, credential: Mapping[str, object] | None
    ) -> CloudSecret:
        """Return a secret, its newest version unless one is given. Raises `CloudError`."""
        login = credential if credential is not None else self._key_file()
        full = _FULL_NAME.fullmatch(name)
        if full:
            project, name, version = full[1], full[2], version or full[3]
        project = project or self._project(login)
        address = self._environment.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER") or _SERVICE_URL
        place = f"projects/{quote(project, safe='')}/secrets/{quote(name, safe='')}"
        url = f"{address.rstrip('/')}/v1/{place}/versions/{quote(version or 'latest', safe='')}:access"
        headers = {"Authorization": f"Bearer {self._token(login)}"}
        return _secret_in(self._service.ask("GET", url, headers=headers))

    def close(self) -> None:
        """Close the kept connections."""
        for service in (self._service, self._login, self._metadata):
            service.close()

    def _key_file(self) -> Mapping[str, Any] | None:
        path = self._environment.get("GOOGLE_APPLICATION_CREDENTIALS")
        if not path:
            return None
        try:
            key = orjson.loads(Path(path).read_bytes())
        except (OSError, orjson.JSONDecodeError) as problem:
            reason = getattr(problem, "strerror", None) or "it is not JSON"
            raise CloudError(
                f"the key file {path} of GOOGLE_APPLICATION_CREDENTIALS cannot be read: {reason}"
            ) from None
        return key if isinstance(key, dict) else {}

    def _project(self, login: Mapping[str, object] | None) -> str:
        named = self._environment.get("GOOGLE_CLOUD_PROJECT") or (login or {}).get("project_id")
        if named:
            return str(named)
        if login is None:
            return str(self._ask_metadata("project/project-id"))
        raise CloudError("no project is known: give 'project', or set GOOGLE_CLOUD_PROJECT where the worker runs")

    # ---- account --------------------------------------------------------------------------------------------------

    def _token(self, login: Mapping[str, object] | None) -> str:
        if login is not None and login.get("token"):
            return str(login["token"])
        account = ("", "") if login is None else (str(login.get("client_email")), str(login.get("private_key")))
        with self._lock:
            token, end = self._tokens.get(account, ("", 0.0))
        if self._clock() >= end:
            answer = (
                self._ask_metadata("instance/service-accounts/default/token") if login is None else self._log_in(login)
            )
            try:
                token, end = (
                    str(answer["access_token"]),
                    self._clock() + float(answer["expires_in"]) - _TOKEN_MARGIN_SECONDS,
                )
            except (TypeError, KeyError, ValueError):
                raise CloudError("Google gave no access token") from None
            with self._lock:
                self._tokens[account] = (token, end)
        return token

    def _ask_metadata(self, path: str) -> Any:
        host = self._environment.get("GCE_METADATA_HOST") or "metadata.google.internal"
        try:
            return self._metadata.ask(
                "GET", f"http://{host}/computeMetadata/v1/{path}", headers={"Metadata-Flavor": "Google"}
            )
        except CloudError as problem:
            raise CloudError(
                "nothing says who asks: give 'auth' with a service account's key, or set"
                f" GOOGLE_APPLICATION_CREDENTIALS where the worker runs ({problem})",
                retryable=problem.retryable,
            ) from None

    def _log_in(self, key: Mapping[str, object]) -> Any:
        """Exchange a text signed with the service account's key for an access token."""
        token_url = str(key.get("token_uri") or _LOGIN_URL)
        form = {"grant_type": _GRANT_TYPE, "assertion": _assertion(key, token_url, int(self._clock()))}
        return self._login.ask(
            "POST",
            token_url,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            content=urlencode(form).encode(),
        )


def _assertion(key: Mapping[str, object], audience: str, now: int) -> str:
    """Return the JWT of a service account, signed with RS256."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    email = key.get("client_email")
    try:
        signer = load_pem_private_key(str(key.get("private_key", "")).encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        signer = None
    if not email or not isinstance(signer, RSAPrivateKey):
        raise CloudError("the credential is not the key of a service account: it needs client_email and private_key")
    head = {"alg": "RS256", "typ": "JWT", **({"kid": key["private_key_id"]} if "private_key_id" in key else {})}
    claims = {"iss": email, "scope": ACCESS_SCOPE, "aud": audience, "iat": now, "exp": now + _ASSERTION_SECONDS}
    text = f"{_base64(orjson.dumps(head))}.{_base64(orjson.dumps(claims))}"
    return f"{text}.{_base64(signer.sign(text.encode(), PKCS1v15(), SHA256()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _secret_in(answer: Any) -> CloudSecret:
    try:
        text = base64.b64decode(answer["payload"]["data"]).decode()
        return CloudSecret(text, str(answer["name"]).rpartition("/")[2])
    except (KeyError, TypeError, ValueError):
        raise CloudError("Google Secret Manager gave no text: only secrets that are text can be used") from None

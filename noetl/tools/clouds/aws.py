"""Secrets of AWS Secrets Manager, over its REST API.

The keys come from a credential (type s3, or generic with the same fields), else from the environment:
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; the region from the step, the secret's ARN, the
credential, `AWS_REGION` or `AWS_DEFAULT_REGION`. `AWS_ENDPOINT_URL_SECRETS_MANAGER` and `AWS_ENDPOINT_URL` name another
address, as for AWS's own tools.
"""

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from noetl.tools.clouds.aws_signature import AwsKeys, sign
from noetl.tools.clouds.service import CloudError, CloudSecret, CloudService

_VERSION_ID: Final = re.compile(r"[A-Za-z0-9-]{32,64}")
_REGION_NAME: Final = re.compile(r"[a-z0-9-]{1,40}")


class AwsSecrets:
    """A reader of secrets. Safe to share between threads."""

    def __init__(
        self, environment: Mapping[str, str], *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._environment = environment
        self._service = CloudService("AWS Secrets Manager")
        self._now = now

    def fetch(
        self, name: str, *, version: str | None, region: str | None, credential: Mapping[str, Any] | None
    ) -> CloudSecret:
        """Return a secret. `version` is a version's id, or a stage like AWSPREVIOUS. Raises `CloudError`."""
        login = credential or {}
        region = region or _region_of(name) or login.get("region") or self._variable("AWS_REGION", "AWS_DEFAULT_REGION")
        if not region or not _REGION_NAME.fullmatch(region):
            raise CloudError("no region is known: give 'region', or set AWS_REGION where the worker runs")
        keys = self._keys(login)
        question = {"SecretId": name}
        if version:
            question["VersionId" if _VERSION_ID.fullmatch(version) else "VersionStage"] = version
        body = orjson.dumps(question)
        url = self._address(login, region)
        headers = sign(
            keys,
            method="POST",
            url=url,
            headers={"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "secretsmanager.GetSecretValue"},
            body=body,
            region=region,
            service="secretsmanager",
            now=self._now(),
        )
        return _secret_in(self._service.ask("POST", url, headers=headers, content=body))

    def close(self) -> None:
        """Close the kept connections."""
        self._service.close()

    def _keys(self, login: Mapping[str, object]) -> AwsKeys:
        access = login.get("access_key") or login.get("access_key_id")
        secret = login.get("secret_key") or login.get("secret_access_key")
        token = login.get("session_token")
        if not login:
            access, secret = self._variable("AWS_ACCESS_KEY_ID"), self._variable("AWS_SECRET_ACCESS_KEY")
            token = self._variable("AWS_SESSION_TOKEN")
        if not access or not secret:
            raise CloudError(
                "nothing says who asks: give 'auth' with a credential of type s3 (access_key, secret_key), or set"
                " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY where the worker runs"
            )
        return AwsKeys(str(access), str(secret), str(token) if token else None)

    def _address(self, login: Mapping[str, object], region: str) -> str:
        address = login.get("endpoint") or self._variable("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL")
        return f"{str(address).rstrip('/')}/" if address else f"https://secretsmanager.{region}.amazonaws.com/"

    def _variable(self, *names: str) -> str | None:
        return next((self._environment[name] for name in names if self._environment.get(name)), None)


def _region_of(name: str) -> str | None:
    parts = name.split(":")
    return parts[3] if len(parts) > 6 and parts[0] == "arn" else None


def _secret_in(answer: Any) -> CloudSecret:
    try:
        text = answer.get("SecretString")
        if text is None:
            text = base64.b64decode(answer["SecretBinary"]).decode()
        return CloudSecret(text, str(answer.get("VersionId") or ""))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CloudError("AWS Secrets Manager gave no text: only secrets that are text can be used") from None

"""The sources of secrets: the store of credentials, environment, files, and clouds.

Credentials are kept for two seconds, so that a replaced one is seen within seconds; versions of secrets in clouds,
which do not change, for a minute.
"""

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import orjson

from noetl.database.connection.connect import Database
from noetl.database.credentials import Credential, credential_names, find_credential
from noetl.database.keys import CREDENTIAL, Keys
from noetl.errors import InputError, NotFound
from noetl.playbook.credential_types import MAIN_FIELDS, MAX_CREDENTIAL_BYTES, check_name
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.templates.secret_references import Source, check_file, check_variable
from noetl.settings import Settings
from noetl.tools.clouds.aws import AwsSecrets
from noetl.tools.clouds.google import GoogleSecrets
from noetl.tools.clouds.service import CloudSecret

CREDENTIALS_KEPT_SECONDS: Final = 2.0
VERSIONS_KEPT_SECONDS: Final = 60.0
"""Seconds."""

_MAX_KEPT_VALUES: Final = 1000
_SYSTEM_FOLDERS: Final = ("/proc", "/sys", "/dev")

T = TypeVar("T")


@dataclass(slots=True)
class Kept(Generic[T]):
    """Values that are good for some seconds, by name. `clock` is monotonic."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    _values: dict[Hashable, tuple[T, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, name: Hashable) -> T | None:
        """Return a value that is still good."""
        with self._lock:
            value, end = self._values.get(name, (None, 0.0))
        return value if self.clock() < end else None

    def put(self, name: Hashable, value: T) -> None:
        """Keep a value."""
        with self._lock:
            if len(self._values) >= _MAX_KEPT_VALUES:
                self._values.clear()
            self._values[name] = (value, self.clock() + self.seconds)


class Sources:
    """Finds values by name. Safe to share between threads; every method may wait for others.

    Raises `InputError` for what is not there or cannot be read, `CloudError` where a cloud does not give it,
    `DatabaseError` where the database cannot serve.
    """

    def __init__(self, database: Database, settings: Settings, keys: Keys) -> None:
        self._database = database
        self._home = settings.home
        self._environment = settings.environment
        self._keys = keys
        self._google = GoogleSecrets(settings.environment)
        self._aws = AwsSecrets(settings.environment)
        self._credentials: Kept[Credential] = Kept(CREDENTIALS_KEPT_SECONDS)
        self._versions: Kept[CloudSecret] = Kept(VERSIONS_KEPT_SECONDS)

    def close(self) -> None:
        """Close the connections to clouds."""
        self._google.close()
        self._aws.close()

    def credential(self, name: str) -> Credential:
        """Return a credential of the store."""
        check_name(name)
        known = self._credentials.get(name)
        if known is not None:
            return known
        self._database.pool(min=0, max=4, timeout=10.0)  # opened by the first who needs it
        with self._database.session() as conn:
            sealed = find_credential(conn, name)
            names = [] if sealed is not None else credential_names(conn)
        if sealed is None:
            hint = did_you_mean(name, names) or ": noetl credential add makes one"
            raise NotFound(f"there is no credential {name!r}{hint}")
        credential = sealed.open(self._keys.decrypting(CREDENTIAL), self._keys.advice)
        self._credentials.put(name, credential)
        return credential

    def value(self, source: Source) -> Any:
        """Return the value of a `secret()`: text, or the content of a field of a generic credential."""
        if source.kind == "env":
            return self.variable(source.name)
        if source.kind == "file":
            return self.file(source.name)
        return credential_value(self.credential(source.name), source.field)

    def variable(self, name: str) -> str:
        """Return an environment variable's value."""
        check_variable(name)
        value = self._environment.get(name)
        if value is None:
            raise NotFound(f"the environment variable {name} is not set where the worker runs")
        return _sized(value, f"the environment variable {name}")

    def file(self, path: str) -> str:
        """Return a file's text, without the line end that closes it."""
        check_file(path)
        try:
            real = Path(path).resolve()
            self._check_place(path, real)
            data = _read(real)
        except (OSError, RuntimeError) as problem:  # a loop of links is a RuntimeError
            reason = getattr(problem, "strerror", None) or str(problem)
            raise InputError(f"the file {path} cannot be read where the worker runs: {reason}") from None
        if data is None:
            raise InputError(f"{path} is no ordinary file")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise InputError(f"the file {path} is not UTF-8 text") from None
        return _sized(text, f"the file {path}").removesuffix("\n").removesuffix("\r")

    def google(
        self, name: str, version: str | None, project: str | None, credential: Mapping[str, object] | None
    ) -> CloudSecret:
        """Return a secret of Google Secret Manager."""
        return self._version(
            ("google", name, version, project, _identity(credential)),
            lambda: self._google.fetch(name, version=version, project=project, credential=credential),
        )

    def aws(
        self, name: str, version: str | None, region: str | None, credential: Mapping[str, object] | None
    ) -> CloudSecret:
        """Return a secret of AWS Secrets Manager."""
        return self._version(
            ("aws", name, version, region, _identity(credential)),
            lambda: self._aws.fetch(name, version=version, region=region, credential=credential),
        )

    def _version(self, name: tuple[Hashable, ...], fetch: Callable[[], CloudSecret]) -> CloudSecret:
        """Return a version of a secret. One whose number is not given yet is always asked for."""
        known = self._versions.get(name) if name[2] else None
        if known is not None:
            return known
        secret = fetch()
        _sized(secret.value, f"the secret {name[1]!r}")
        self._versions.put((name[0], name[1], secret.version, *name[3:]), secret)
        return secret

    def _check_place(self, path: str, real: Path) -> None:
        if real.is_relative_to(self._home.resolve()):
            raise InputError(f"the file {path} is in NOETL_HOME, whose files playbooks cannot read")
        if any(real.is_relative_to(folder) for folder in _SYSTEM_FOLDERS):
            raise InputError(f"{path} is no ordinary file")


def credential_value(credential: Credential, field: str) -> Any:
    """Return a credential's field; without one, the value that its type is about. Raises `InputError`."""
    fields = credential.fields
    name = field or MAIN_FIELDS[credential.type]
    if not field and name not in fields and len(fields) == 1:
        name = next(iter(fields))
    if name in fields:
        return fields[name]
    problem = f"the credential {credential.name!r} (type {credential.type}) has no field {name!r}"
    if not field:
        problem = f"the credential {credential.name!r} does not say which of its values is meant"
    raise InputError(
        f"{problem}: it has {', '.join(sorted(fields))}, as in 'credential:{credential.name}.{min(fields)}'"
    )


def part_of(value: object, field: str, name: str) -> Any:
    """Return a field of a secret whose text is a JSON object. Raises `InputError`, which shows nothing of it."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise InputError(f"{name} is not JSON, so it has no field {field!r}: leave out 'field'") from None
    if not isinstance(value, dict):
        raise InputError(f"{name} is no JSON object, so it has no field {field!r}: leave out 'field'")
    if field not in value:
        raise InputError(f"{name} has no field {field!r}{did_you_mean(field, value)}")
    return value[field]


def _read(path: Path) -> bytes | None:
    """Return a file's bytes, one more than allowed at most; None for one that is not ordinary and could block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_CREDENTIAL_BYTES + 1)


def _sized(text: str, name: str) -> str:
    if len(text.encode("utf-8", "surrogateescape")) > MAX_CREDENTIAL_BYTES:
        raise InputError(f"{name} is larger than {MAX_CREDENTIAL_BYTES:,} bytes: a secret is a short text")
    return text


def _identity(credential: Mapping[str, object] | None) -> bytes:
    plain = b"" if credential is None else orjson.dumps(dict(credential), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(plain).digest()

"""Passwords of the embedded Postgres: one random secret in NOETL_HOME, from which each login's password derives.

The superuser's password is the secret itself, in a file of the form that `PGPASSFILE` names. Another login's is the
secret's HMAC over its name, so that it can be given to a process that must not know the superuser's.
"""

import base64
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noetl.errors import DatabaseError

FILE: Final = "postgres.pgpass"
SUPERUSER: Final = "postgres"
CLOSING_SECONDS: Final = 10.0
"""How long a new `pg_hba.conf` may take to be read."""

_PREFIX: Final = f"*:*:*:{SUPERUSER}:"


@dataclass(frozen=True, slots=True)
class Passwords:
    """The passwords of the logins of one home. Nothing is read before it is asked for."""

    home: Path

    @property
    def file(self) -> Path:
        return self.home / FILE

    def of(self, user: str) -> str | None:
        """Return a login's password, None where the home has no secret yet. Raises `DatabaseError`."""
        secret = self._secret()
        return secret if secret is None or user == SUPERUSER else _derived(secret, f"password of {user}")

    def make(self) -> None:
        """Write a new secret unless there is one. Raises `DatabaseError`."""
        if self._secret() is not None:
            return
        fresh = self.file.with_name(f".{FILE}.{os.getpid()}")
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"{_PREFIX}{secrets.token_hex(32)}\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(self.file)
        except OSError as error:
            raise DatabaseError(f"{self.file} cannot be written: {error.strerror}") from error

    def verifier(self, user: str) -> str:
        """Return what Postgres keeps of a login's password: a SCRAM verifier, equal at each call.

        One iteration is enough: nobody guesses 256 random bits, and a login costs no time. Raises `DatabaseError`
        where the home has no secret.
        """
        secret, password = self._secret(), self.of(user)
        if secret is None or password is None:
            raise DatabaseError(f"{self.file} is missing: run noetl db start, which makes it")
        salt = bytes.fromhex(_derived(secret, f"salt of {user}"))[:16]
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)  # RFC 5802, section 3
        stored = hashlib.sha256(_hmac(salted, "Client Key")).digest()
        parts = (base64.b64encode(part).decode() for part in (salt, stored, _hmac(salted, "Server Key")))
        return "SCRAM-SHA-256$1:{}${}:{}".format(*parts)

    def fingerprint(self) -> str | None:
        """Return a text by which a secret is known again, None where there is none."""
        secret = self._secret()
        return None if secret is None else hashlib.sha256(secret.encode()).hexdigest()

    def _secret(self) -> str | None:
        try:
            text = self.file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise DatabaseError(
                f"{self.file}, the password of the embedded Postgres, cannot be read: {error}"
            ) from error
        secret = text.removeprefix(_PREFIX)
        if secret == text or not secret:
            raise DatabaseError(
                f"{self.file} is not what NoETL wrote: remove it and run noetl db stop, then noetl db start, which"
                " makes a new password"
            )
        return secret


def close(open_to_all: str, with_password: str, passwords: Passwords, write_access: Callable[[], None]) -> None:
    """Give the superuser of a running server his password, then let nobody in without one.

    `open_to_all` and `with_password` are the connection strings before and after. Raises `DatabaseError`.
    """
    import psycopg

    try:
        with psycopg.connect(open_to_all, autocommit=True) as conn:
            conn.execute("SET log_statement = 'none'")
            conn.execute(f"ALTER ROLE {SUPERUSER} PASSWORD '{passwords.verifier(SUPERUSER)}'")
            write_access()
            before = conn.execute("SELECT pg_conf_load_time()").fetchone()
            conn.execute("SELECT pg_reload_conf()")
    except psycopg.OperationalError as error:
        raise DatabaseError(
            f"the embedded Postgres does not take the password in {passwords.file}: run noetl db stop, then "
            "noetl db start"
        ) from error
    deadline = time.monotonic() + CLOSING_SECONDS
    while True:
        with psycopg.connect(with_password, autocommit=True) as conn:
            if conn.execute("SELECT pg_conf_load_time()").fetchone() != before:
                return
        if time.monotonic() > deadline:
            raise DatabaseError("the embedded Postgres does not read its new pg_hba.conf: run noetl db stop")
        time.sleep(0.01)


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _derived(secret: str, purpose: str) -> str:
    return _hmac(secret.encode(), purpose).hex()

"""Credentials for tests, put into a database as the server does."""

import base64
import secrets
from dataclasses import replace
from typing import Any

from noetl.database.connection.connect import Database
from noetl.database.credentials import Credential, add_credential, rotate_credentials
from noetl.database.keys import CREDENTIAL, Keys
from noetl.playbook.credential_types import check_fields
from noetl.settings import Settings


def a_key() -> bytes:
    """Return a new key."""
    return secrets.token_bytes(32)


def key_text(*keys: bytes) -> str:
    """Return keys as NOETL_ENCRYPTION_KEY has them."""
    return ",".join(base64.urlsafe_b64encode(key).decode() for key in keys)


class Vault:
    """The store of credentials of one database, under one or more keys."""

    def __init__(self, database: Database, settings: Settings, *keys: bytes) -> None:
        self.database = database
        self.settings = replace(settings, encryption_key=keys or (a_key(),))
        self._keys = Keys(self.settings)

    def put(self, name: str, type_: str, /, **fields: Any) -> str:
        """Store a credential, in the place of one of this name, and return the name."""
        new = Credential(name, type_, check_fields(type_, fields))
        with self.database.session() as conn:
            add_credential(conn, new, self._keys.encrypting(CREDENTIAL), replace=True)
        return name

    def rotate(self) -> int:
        with self.database.session() as conn:
            return rotate_credentials(conn, self._keys.encrypting(CREDENTIAL), self._keys.advice)

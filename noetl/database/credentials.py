"""The store of credentials: encrypted in the database, bound to their names and types.

Values are in clear only in a `Credential`, which nothing prints. Each function takes a connection that stands in a
transaction with the search path set.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString

import orjson

from noetl.database.keys import Keyring, Undecryptable
from noetl.database.paging import Connection, Page, Where, fetch_page, keys_of, page_size
from noetl.database.sql import sql
from noetl.errors import Conflict, NotFound


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential with its values in clear."""

    name: str
    type: str
    fields: Mapping[str, Any] = field(repr=False)
    description: str = ""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A credential as it is stored."""

    name: str
    type: str
    key_id: str
    data: bytes = field(repr=False)
    description: str
    created_at: datetime
    updated_at: datetime

    def open(self, keys: Keyring, advice: str) -> Credential:
        """Return it with its values. Raises `Undecryptable`; `advice` says where its key belongs."""
        return Credential(self.name, self.type, _fields(self, keys, advice), self.description)


def add_credential(conn: Connection, new: Credential, keys: Keyring, *, replace: bool = False) -> bool:
    """Store a credential; return whether it is the first of its name. Raises `Conflict` unless `replace`."""
    key_id, data = keys.encrypt(orjson.dumps(dict(new.fields)), _bound(new.name, new.type))
    parameters = {"name": new.name, "type": new.type, "key_id": key_id, "data": data, "description": new.description}
    row = conn.execute(sql("upsert_credential" if replace else "insert_credential"), parameters).fetchone()
    if row is None:
        raise Conflict(f"there is a credential {new.name!r} already: replace it (--replace), or choose another name")
    return bool(row[0]) if replace else True


def find_credential(conn: Connection, name: str) -> Sealed | None:
    """Return a credential as it is stored, None where there is none of the name."""
    row = conn.execute(sql("select_credential"), {"name": name}).fetchone()
    return None if row is None else Sealed(row[0], row[1], row[2], bytes(row[3]), *row[4:])


def credential_names(conn: Connection) -> list[str]:
    """Return the names there are, at most a thousand."""
    return [row[0] for row in conn.execute(sql("select_credential_names"))]


def remove_credential(conn: Connection, name: str) -> None:
    """Remove a credential. Raises `NotFound`."""
    if conn.execute(sql("delete_credential"), {"name": name}).rowcount == 0:
        raise NotFound(f"there is no credential {name!r}: noetl credential list")


def rotate_credentials(conn: Connection, keys: Keyring, advice: str) -> int:
    """Encrypt all credentials anew with the first key; return how many. Raises `Undecryptable` naming the first that
    cannot be read, and the transaction is to be rolled back: all or none."""
    rows = conn.execute(sql("lock_credentials")).fetchall()
    for name, type_, key_id, data in rows:
        try:
            plain = keys.decrypt(key_id, bytes(data), _bound(name, type_))
        except Undecryptable as problem:
            raise _told(name, problem, advice) from None
        new_id, new_data = keys.encrypt(plain, _bound(name, type_))
        conn.execute(sql("rekey_credential"), {"name": name, "key_id": new_id, "data": new_data})
    return len(rows)


def list_credentials(
    conn: Connection, *, type: str | None = None, after: str | None = None, limit: int | None = None
) -> Page:
    """Return the credentials by name, without their values."""
    size = page_size(limit)
    where = Where()
    if type is not None:
        where.add("type = %s", type)
    if after is not None:
        where.add("name > %s", *keys_of(after, (str,)))
    select: LiteralString = "SELECT name, type, key_id, description, created_at, updated_at FROM credential"
    return fetch_page(conn, select, where, "name", ("name",), size)


def _fields(sealed: Sealed, keys: Keyring, advice: str) -> dict[str, Any]:
    try:
        plain = keys.decrypt(sealed.key_id, sealed.data, _bound(sealed.name, sealed.type))
    except Undecryptable as problem:
        raise _told(sealed.name, problem, advice) from None
    fields: dict[str, Any] = orjson.loads(plain)
    return fields


def _told(name: str, problem: Undecryptable, advice: str) -> Undecryptable:
    return Undecryptable(f"the credential {name!r} cannot be decrypted: {problem}; {advice}, or replace the credential")


def _bound(name: str, type_: str) -> str:
    return f"{name}\0{type_}"

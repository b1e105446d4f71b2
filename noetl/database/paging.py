"""Rows as plain dicts, ready for JSON, and lists one page at a time.

Every id is a string (a JavaScript number cannot hold ours) and every time an ISO text in UTC. A page's `next` is
handed back as `after`; it holds the keys of the last row, so a page costs the same wherever it stands.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from noetl.errors import InputError

Connection = psycopg.Connection[Any]
Row = dict[str, Any]

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

_IDS = frozenset(
    {
        "id",
        "catalog_id",
        "credential_id",
        "error_id",
        "event_id",
        "execution_id",
        "last_event_id",
        "parent_execution_id",
        "parent_job_id",
        "payload_id",
        "result_ref",
        "root_execution_id",
    }
)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `next` names where the following one begins, or is None."""

    items: list[Row]
    next: str | None
    last: str | None = None  # where what comes later will begin


@dataclass(slots=True)
class Where:
    """The conditions of one query and their parameters, in the same order."""

    parts: list[LiteralString] = field(default_factory=list)
    params: list[object] = field(default_factory=list)

    def add(self, condition: LiteralString, *params: object) -> None:
        self.parts.append(condition)
        self.params.extend(params)

    @property
    def sql(self) -> LiteralString:
        return " WHERE " + " AND ".join(self.parts) if self.parts else ""


def plain_row(row: Mapping[str, object]) -> Row:
    """Return a database row as JSON can carry it: ids and times as text."""
    return {name: _plain(name, value) for name, value in row.items()}


def _plain(name: str, value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, UUID) or (name in _IDS and isinstance(value, int)):
        return str(value)
    return value


def page_size(limit: int | None) -> int:
    """Return how many items one page shall have. Raises `InputError`."""
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise InputError(f"limit is {limit}; it must be between 1 and {MAX_LIMIT}")
    return limit


def _cursor(row: Row, keys: Sequence[str]) -> str:
    text = json.dumps([row[key] for key in keys], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def keys_of(after: str, types: Sequence[type]) -> list[Any]:
    """Return the keys behind which a page begins. Raises `InputError`."""
    try:
        values = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        if not isinstance(values, list):
            raise ValueError
        keys = [_key(kind, value) for kind, value in zip(types, values, strict=True)]
    except (ValueError, TypeError, RecursionError):
        raise InputError(f"after is {after!r}, which no list has given: take the next of the last page") from None
    return keys


def _key(kind: type, value: object) -> Any:
    """Return one key of a cursor as it was put in: text, a whole number (an id as text), a time. Raises ValueError."""
    if kind is int and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if kind is int and type(value) is int and -(2**63) <= value < 2**63:
        return value
    if kind is not int and isinstance(value, str) and "\0" not in value:
        value.encode()  # a lone surrogate is no text
        return datetime.fromisoformat(value) if kind is datetime else value
    raise ValueError


def fetch(conn: Connection, query: LiteralString, params: Sequence[object] | Mapping[str, object]) -> list[Row]:
    """Return the rows of a query."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return [plain_row(row) for row in cursor.execute(query, params)]


def fetch_page(
    conn: Connection,
    select: LiteralString,
    where: Where,
    order: LiteralString,
    keys: Sequence[str],
    limit: int,
) -> Page:
    """Return one page of a query; `keys` are the columns of `order`."""
    query = select + where.sql + " ORDER BY " + order + " LIMIT %s"
    rows = fetch(conn, query, [*where.params, limit + 1])
    more = len(rows) > limit
    last = _cursor(rows[:limit][-1], keys) if rows else None
    return Page(rows[:limit], last if more else None, last)

"""The catalog: versions of playbooks and other documents, and what is materialized from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import Connection

from noetl.database.sql import sql
from noetl.database.store import insert_rows


@dataclass(frozen=True, slots=True)
class Version:
    """A document on its way into the catalog. `steps`, `edges` and `tasks` are rows without their `catalog_id`."""

    path: str
    kind: str
    name: str
    description: str
    content: str
    content_hash: str
    by: str | None = None
    steps: Sequence[Mapping[str, object]] = ()
    edges: Sequence[Mapping[str, object]] = ()
    tasks: Sequence[Mapping[str, object]] = ()


def add_version(conn: Connection, new: Version) -> tuple[int, bool]:
    """Add the next version of a path and return its number; (number, False) where the newest has this content.

    Runs in a transaction; registrations of one path take their turns.
    """
    conn.execute(sql("lock_catalog_path"), {"path": new.path})
    parameters = {
        "path": new.path,
        "kind": new.kind,
        "name": new.name,
        "description": new.description,
        "content": new.content,
        "content_hash": new.content_hash,
        "by": new.by,
    }
    row = conn.execute(sql("insert_version"), parameters).fetchone()
    assert row is not None
    catalog_id, version, created = row
    if created:
        for statement, rows in (
            ("insert_workflow", new.steps),
            ("insert_transitions", new.edges),
            ("insert_workbook", new.tasks),
        ):
            insert_rows(conn, statement, [{"catalog_id": catalog_id, **one} for one in rows])
    return version, created

"""The check of the catalog: a version's text is what was registered, and its rows are those of the text."""

from typing import Any, LiteralString

from noetl.database.connect import Database
from noetl.errors import PlaybookError
from noetl.orchestrator.catalog_rows import materialize
from noetl.playbook.load import content_hash, stored_playbook

_ROWS: LiteralString = """
SELECT c.path, c.version, c.kind, c.content, c.content_hash,
       ARRAY (SELECT node_id FROM workflow AS w WHERE w.catalog_id = c.catalog_id),
       ARRAY (SELECT edge::text FROM transition AS t WHERE t.catalog_id = c.catalog_id),
       ARRAY (SELECT task_name FROM workbook AS b WHERE b.catalog_id = c.catalog_id)
  FROM catalog AS c
 ORDER BY c.path, c.version
"""


def verify_catalog(database: Database) -> list[str]:
    """Return one sentence for each catalog version whose text has changed, or whose steps, edges or tasks are not those
    of its text. A text that this version of NoETL cannot read is `verify_replay`'s to report."""
    with database.connect() as conn, database.transaction(conn, pipeline=False):
        rows = conn.execute(_ROWS).fetchall()
    return [f"{row[0]} version {row[1]}: {finding}" for row in rows if (finding := _difference(row))]


def _difference(row: tuple[Any, ...]) -> str:
    path, _version, kind, content, stored_hash, steps, edges, tasks = row
    if content_hash(content) != stored_hash:
        return "its text is not the one that was registered"
    if kind != "Playbook":
        return ""
    try:
        wanted = materialize(stored_playbook(content, path), content)
    except PlaybookError:
        return ""
    for what, found, rows, name in (
        ("workflow", steps, wanted[0], "node_id"),
        ("transition", edges, wanted[1], "edge"),
        ("workbook", tasks, wanted[2], "task_name"),
    ):
        lost = {str(one[name]) for one in rows} ^ set(found)
        if lost:
            return f"the rows of {what} are not those of its text: {', '.join(sorted(lost))}"
    return ""

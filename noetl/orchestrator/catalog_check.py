"""The check of the catalog: a version's text is what was registered, and its rows are those of the text."""

from noetl.database.connection.connect import Database
from noetl.database.schema.audit import CatalogSteps, select_catalog_steps
from noetl.errors import PlaybookError
from noetl.orchestrator.catalog_rows import materialize
from noetl.playbook.load import content_hash, stored_playbook


def verify_catalog(database: Database) -> list[str]:
    """Return one sentence for each catalog version whose text has changed, or whose steps, edges or tasks are not those
    of its text. A text that this version of NoETL cannot read is `verify_replay`'s to report."""
    with database.connect() as conn, database.transaction(conn, pipeline=False):
        rows = select_catalog_steps(conn)
    return [f"{row.path} version {row.version}: {finding}" for row in rows if (finding := _difference(row))]


def _difference(row: CatalogSteps) -> str:
    if content_hash(row.content) != row.content_hash:
        return "its text is not the one that was registered"
    if row.kind != "Playbook":
        return ""
    try:
        wanted = materialize(stored_playbook(row.content, row.path), row.content)
    except PlaybookError:
        return ""
    for table, stored, rows, name in (
        ("workflow", row.steps, wanted[0], "node_id"),
        ("transition", row.edges, wanted[1], "edge"),
        ("workbook", row.tasks, wanted[2], "task_name"),
    ):
        differing = {str(one[name]) for one in rows} ^ set(stored)
        if differing:
            return f"the rows of {table} are not those of its text: {', '.join(sorted(differing))}"
    return ""

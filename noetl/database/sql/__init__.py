"""The engine's SQL: one statement per file, named verb_noun like the function that runs it.

What several statements say of a job stands in `PARTS`, made of one list of columns; a file names it in braces.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Final

from noetl.database.rows import JOB_COLUMNS


def _listed(columns: list[str]) -> str:
    """Return a list of columns in lines of a readable length."""
    lines = [", ".join(columns[place : place + 5]) for place in range(0, len(columns), 5)]
    return ",\n          ".join(lines)


_INSERTED: Final = {name: kind for name, kind in JOB_COLUMNS.items() if name != "id"}
_JOB: Final = _listed([f"q.{name}::text" if kind == "json" else f"q.{name}" for name, kind in JOB_COLUMNS.items()])

PARTS: Final = {
    "job": _JOB,
    "job_names": _listed(list(_INSERTED)),
    "job_types": _listed([f"{name} {kind}" for name, kind in _INSERTED.items()]),
    "leased_job": _JOB
    + """,
          q.execution_id, (extract(epoch FROM q.created_at) * 1000000)::bigint,
          (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
          e.catalog_id, e.last_event_id, (extract(epoch FROM e.last_event_at) * 1000000)::bigint, e.state::text,
          e.root_execution_id, e.parent_execution_id, e.parent_job_id, e.status""",
}
"""Lists of columns: of a job, where the queue is `q`; their names alone, and with their types, but for the id; and of a
job with what its worker needs to know about its execution `e`."""

_PART: Final = re.compile(r"\{([a-z_]+)\}")


@cache
def sql(name: str) -> str:
    """Return the text of statement `name`."""
    text = (files(__package__) / f"{name}.sql").read_text(encoding="utf-8")
    return _PART.sub(lambda part: PARTS[part[1]], text)

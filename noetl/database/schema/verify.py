"""The invariants of log, state and queue over the whole database.

Each check is a query in `sql/checks` that finds what must not be, below the sentence that it breaks. Together they read
every event once; the orchestrator's `verify_replay` adds that each living execution's state equals the replay of its
events.
"""

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from noetl.database.connection.connect import Database
from noetl.database.sql import sql

SAMPLES = 5
"""How many findings of a kind are named."""


@dataclass(frozen=True)
class Check:
    """`says` is completed by the rows of `query`: an execution and a detail each."""

    says: str
    query: str


def _check(name: str) -> Check:
    """Return the check of a file: the comment at its beginning is what it says."""
    text = sql(f"checks/{name}")
    comment = re.match(r"(?:-- .*\n)+", text)
    assert comment is not None, f"{name} says nothing"
    says = " ".join(line.removeprefix("-- ") for line in comment[0].splitlines())
    return Check(says, f"SELECT x.*, count(*) OVER () FROM (\n{text[comment.end() :]}) AS x LIMIT {SAMPLES}")


_FOLDER: Final = files("noetl.database.sql") / "checks"

CHECKS: Final = tuple(_check(file.name.removesuffix(".sql")) for file in sorted(_FOLDER.iterdir(), key=str))


def verify(db: Database) -> list[str]:
    """Check the invariants over the whole database; return one sentence per violation, none if all hold.

    Reads one snapshot, so it can run beside live workers.
    """
    findings: list[str] = []
    with db.connect() as conn, db.transaction(conn, pipeline=False):
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for check in CHECKS:
            rows = conn.execute(check.query).fetchall()
            findings += [f"execution {row[0]}: {row[1]}; but {check.says}" for row in rows]
            if rows and rows[0][-1] > SAMPLES:
                findings.append(f"and {rows[0][-1] - SAMPLES} more where not: {check.says}")
    return findings

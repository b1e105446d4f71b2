"""Containers that workers left behind: an engine goes on with them when their worker is dead.

The next attempt of a step removes what the one before it left. Where none comes, since the execution was cancelled or
has failed meanwhile, the container would run for ever: so each worker looks for those whose job is no longer leased to
the worker that made them. Containers of other databases on the same engine have another label and are left alone.
"""

import logging
import threading

import psycopg
from psycopg import Connection

from noetl.database import runtime, store
from noetl.database.connection.connect import Database
from noetl.database.leases import HeldRun, select_unheld
from noetl.errors import DatabaseError
from noetl.tools.container import DATABASE_LABEL, WORKER_LABEL, Owned, list_containers, remove_containers

log = logging.getLogger("noetl.worker")

INTERVAL_SECONDS = 60.0
FIRST_SECONDS = 5.0
"""Seconds from the start until the first look: a short run need not load what talks to an engine."""


class LeftContainers:
    """Looks for containers that are left. `labels` are those of the containers that this worker makes."""

    def __init__(self, database: Database, worker_id: str) -> None:
        """Raises `DatabaseError` where the database cannot be read."""
        self._database = database
        with database.connect() as conn, store.transaction(conn, database.schema):
            self.labels = {DATABASE_LABEL: runtime.database_identity(conn), WORKER_LABEL: worker_id}
        self._looking: threading.Thread | None = None

    def __call__(self, conn: Connection) -> None:
        """Have containers that are left removed, in a thread of its own, since an engine can be slow."""
        with store.transaction(conn, self._database.schema, asynchronous=True):
            identity = runtime.database_identity(conn)
        self.look(identity)

    def look(self, identity: str) -> None:
        """Have containers of the database `identity` looked for, in a thread, unless one does so already."""
        self.labels[DATABASE_LABEL] = identity  # another one once the database was made anew
        if self._looking is None or not self._looking.is_alive():
            self._looking = threading.Thread(target=self._look, name="noetl-containers", daemon=True)
            self._looking.start()

    def _look(self) -> None:
        try:
            self.remove()
        except (psycopg.Error, DatabaseError) as error:
            log.warning("containers that dead workers left are looked for later (%s)", error)
        except Exception:  # the outermost frame of its thread: the next look is in a minute
            log.exception("containers that dead workers left could not be looked for or removed")

    def remove(self) -> None:
        """Remove the containers that their workers no longer hold."""
        labelled = [(_execution(each), each) for each in list_containers(self.labels[DATABASE_LABEL])]
        known = [(execution, each) for execution, each in labelled if execution is not None]
        if not known:
            return
        held = [HeldRun(execution, each.key, each.worker) for execution, each in known]
        with self._database.connect() as conn, store.transaction(conn, self._database.schema, asynchronous=True):
            unheld = select_unheld(conn, held)
        left = [known[place][1] for place in sorted(unheld)]
        for each in left:
            log.warning("the container of %s, which worker %s left behind, is removed", each.key, each.worker)
        remove_containers(each.id for each in left)


def _execution(container: Owned) -> int | None:
    """Return the execution that a container belongs to; None where its label is none of ours."""
    number = container.key.partition(":")[0]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else None

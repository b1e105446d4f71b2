"""The cache of compiled playbooks, by catalog version, which never changes.

Content is compiled once, however many versions share it.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from psycopg import Connection

from noetl.database import store
from noetl.errors import Conflict, PlaybookError
from noetl.playbook.load import stored_playbook
from noetl.playbook.model import Playbook

log = logging.getLogger("noetl.orchestrator")


@dataclass(slots=True)
class PlaybookCache:
    """Compiled playbooks by the id of their catalog version. `unreadable` says why a version cannot be compiled by this
    program."""

    by_id: dict[int, Playbook] = field(default_factory=dict)
    unreadable: dict[int, str] = field(default_factory=dict)
    _by_hash: dict[tuple[str, str], Playbook] = field(default_factory=dict)

    def load(self, conn: Connection, schema: str, catalogs: Iterable[int]) -> None:
        """Compile the versions that are not here yet, in a transaction of its own."""
        missing = sorted(set(catalogs) - self.by_id.keys() - self.unreadable.keys())
        if missing:
            with store.transaction(conn, schema, asynchronous=True):
                self.load_inside(conn, missing)

    def load_inside(self, conn: Connection, catalogs: Iterable[int]) -> None:
        """Compile versions, inside the caller's transaction."""
        for row in store.select_playbooks(conn, catalogs):
            catalog_id, path = row.catalog_id, row.path
            try:
                self.by_id[catalog_id] = self._compile(path, row.content, row.content_hash)
            except PlaybookError as error:
                self.unreadable[catalog_id] = f"this version of NoETL cannot read playbook {path}: {error}"
            except Exception as error:
                # Whatever reading one text raises, be it too deep for Python, is no trouble of the others.
                log.error("playbook %s cannot be read: %r", path, error, exc_info=error)
                reason = f"{type(error).__name__}: {error}"
                self.unreadable[catalog_id] = f"this version of NoETL cannot read playbook {path}: {reason}"

    def _compile(self, path: str, content: str, content_hash: str) -> Playbook:
        playbook = self._by_hash.get((path, content_hash))
        if playbook is None:
            playbook = self._by_hash[path, content_hash] = stored_playbook(content, path)
        return playbook

    def __getitem__(self, catalog_id: int) -> Playbook:
        """Return a playbook that was loaded. Raises `Conflict` for one that cannot be read."""
        if catalog_id in self.unreadable:
            raise Conflict(self.unreadable[catalog_id])
        return self.by_id[catalog_id]

"""The event stream: one thread reads for all watchers, one coroutine per watcher writes.

The thread asks once per tick how far every watched execution has come, and reads events only of those that have
moved on. A watcher that has not taken its last batch is left out, so a slow one holds nothing but one batch.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator
from typing import Any

import orjson
import psycopg

from noetl.database import read
from noetl.database.connection.connect import Database
from noetl.database.paging import Connection, Row
from noetl.errors import DatabaseError
from noetl.logs import TroubleLog
from noetl.words import TERMINAL_EVENTS, TERMINAL_STATUSES

log = logging.getLogger("noetl.server")

SHORTEST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.25
PAUSE_GROWTH = 1.1
"""Seconds between two reads of the log, and the factor by which the pause grows while nothing happens."""

RECONNECT_SECONDS = 0.5
"""Seconds to wait before a new connection after an error of the database."""

EVENTS_PER_BATCH = 100
"""Most events read at once for one watcher."""

KEEP_ALIVE_SECONDS = 15.0
"""Seconds of silence after which a comment shows that the connection lives."""


class Watcher:
    """One stream of one execution. Batches arrive in `batches`; None ends the stream."""

    def __init__(self, loop: asyncio.AbstractEventLoop, execution_id: int, after: int) -> None:
        self.execution_id = execution_id
        self.after = after
        self.idle = True  # the last batch has been taken
        self.batches: asyncio.Queue[list[Row] | None] = asyncio.Queue()
        self._loop = loop

    def give(self, batch: list[Row] | None) -> None:
        """Hand over a batch from the reader's thread."""
        self.idle = False
        try:
            self._loop.call_soon_threadsafe(self.batches.put_nowait, batch)
        except RuntimeError:  # the loop has been closed: nobody is there any more
            log.debug("a watcher of execution %s went away", self.execution_id)


class EventReader:
    """The one thread that reads events for all watchers. It runs while there are any."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed = threading.Condition()
        self._watchers: set[Watcher] = set()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._pause = 0.0

    def watch(self, execution_id: int, after: int) -> Watcher:
        """Begin to follow an execution behind event `after`. Called in the event loop."""
        watcher = Watcher(asyncio.get_running_loop(), execution_id, after)
        with self._changed:
            if self._stopped:
                watcher.give(None)
                return watcher
            self._watchers.add(watcher)
            self._pause = 0.0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="event-reader", daemon=True)
                self._thread.start()
            self._changed.notify()
        return watcher

    def taken(self, watcher: Watcher) -> None:
        """Note that a watcher is ready for its next batch, and look at once: there may be more."""
        with self._changed:
            watcher.idle = True
            self._changed.notify()

    def leave(self, watcher: Watcher) -> None:
        """Stop following."""
        with self._changed:
            self._watchers.discard(watcher)
            self._changed.notify()

    def stop(self) -> None:
        """End every stream and the thread."""
        with self._changed:
            self._stopped = True
            for watcher in self._watchers:
                watcher.give(None)
            self._watchers.clear()
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=5)

    def _run(self) -> None:
        conn: Connection | None = None
        trouble = TroubleLog(log)
        while True:
            with self._changed:
                if self._pause:
                    self._changed.wait(self._pause)
                self._changed.wait_for(lambda: self._stopped or self._watchers)
                if self._stopped:
                    break
                idle = [watcher for watcher in self._watchers if watcher.idle]
            try:
                conn = conn or self._database.connect()
                moved = self._deliver(conn, idle) if idle else False
            except Exception as error:
                if isinstance(error, psycopg.Error | DatabaseError):
                    trouble.happened(f"the event stream waits: {error}")
                else:  # without this thread every stream would be silent for ever: its watchers ask again instead
                    log.error("the event stream failed and goes on: %r", error, exc_info=error)
                    self._end(idle)
                if conn is not None:
                    conn.close()
                self._pause, conn = RECONNECT_SECONDS, None
            else:
                trouble.over("the event stream goes on")
                self._pause = (
                    0.0
                    if moved
                    else min(max(self._pause * PAUSE_GROWTH, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
                )
        if conn is not None:
            conn.close()

    def _end(self, watchers: list[Watcher]) -> None:
        """End some streams; their clients come back with the number of the last event they have seen."""
        with self._changed:
            for watcher in watchers:
                watcher.give(None)
                self._watchers.discard(watcher)

    def _deliver(self, conn: Connection, watchers: list[Watcher]) -> bool:
        """Give each watcher what is new for it; return whether there was anything."""
        moved = False
        with self._database.transaction(conn, asynchronous=True):
            positions = read.read_positions(conn, list({watcher.execution_id for watcher in watchers}))
            for watcher in watchers:
                last, status = positions.get(watcher.execution_id, (0, ""))
                if last > watcher.after:
                    batch = read.events(conn, watcher.execution_id, after=watcher.after, limit=EVENTS_PER_BATCH)
                    watcher.after = int(batch[-1]["event_id"]) if batch else last
                    watcher.give(batch)
                    moved = True
                elif not status or status in TERMINAL_STATUSES:
                    watcher.give(None)
        return moved


async def follow(reader: EventReader, execution_id: int, after: int) -> AsyncGenerator[bytes]:
    """Give the events of an execution as server-sent events, until it has ended."""
    watcher = reader.watch(execution_id, after)
    try:
        while True:
            try:
                batch = await asyncio.wait_for(watcher.batches.get(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield b": nothing new\n\n"
                continue
            if batch is None:
                return
            yield b"".join(_message(event) for event in batch)
            if batch and batch[-1]["event_type"] in TERMINAL_EVENTS:
                return
            reader.taken(watcher)
    finally:
        reader.leave(watcher)


def _message(event: dict[str, Any]) -> bytes:
    head = f"id: {event['event_id']}\nevent: {event['event_type']}\ndata: ".encode()
    return head + orjson.dumps(event) + b"\n\n"

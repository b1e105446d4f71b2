"""The connections of a server, bounded in number and in the time that each may take.

A connection over which the token was shown is known, and so is one through the home's socket. All others are strangers.
They are few at a time: one more takes the place of the oldest. No request may take long over its head, and a stranger
has a minute in all. So connections that only stay open cost nothing but a place among the strangers.
"""

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger("noetl.server.connections")

HEAD_SECONDS = 10.0
"""Seconds that the head of a request may take, from its first byte on, or from the connection's beginning."""

KEEP_ALIVE_SECONDS = 15
"""Seconds that a connection may be idle: longer than any client of ours keeps one."""

STRANGER_SECONDS = 60.0
"""Seconds that a connection may last without the token."""

MAX_CONNECTIONS, MAX_STRANGERS = 1000, 100
"""Most connections at a time, and most strangers among them, where there are descriptors enough."""

RESERVED_DESCRIPTORS = 32
"""Descriptors that are kept for the database, files and the home's socket."""

ACCEPT_PAUSE_SECONDS = 0.1
"""Seconds without accepting after the descriptors were used up."""

MAX_DESCRIPTORS = 65536

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_ACCEPTS_PER_TURN = 32


class OncePerMinute(logging.Filter):
    """Let a warning through once a minute: connections without a token could else fill the disk with it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        now, message = self._clock(), str(record.msg)
        if now - self._last.get(message, -60.0) < 60.0:
            return False
        self._last[message] = now
        return True


def descriptor_limit() -> int:
    """Return how many descriptors this process may have, after asking for as many as it may get."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


class Crowd:
    """All connections over TCP, the strangers' in the order in which they came."""

    def __init__(self, descriptors: int, in_use: int = 32) -> None:
        self.most = max(4, min(MAX_CONNECTIONS, descriptors - in_use - RESERVED_DESCRIPTORS))
        self.most_strangers = max(2, min(MAX_STRANGERS, self.most // 2))
        self._all: set[Connection] = set()
        self._strangers: dict[Connection, None] = {}

    def enter(self, connection: "Connection") -> None:
        """Take a connection in as a stranger; where there are too many, the oldest stranger goes."""
        self._all.add(connection)
        self._strangers[connection] = None
        if len(self._strangers) > self.most_strangers or len(self._all) > self.most:
            self.turn_out()

    def know(self, connection: "Connection") -> None:
        """Note that a connection has shown the token."""
        self._strangers.pop(connection, None)

    def leave(self, connection: "Connection") -> None:
        """Note that a connection has ended."""
        self._all.discard(connection)
        self._strangers.pop(connection, None)

    def turn_out(self, count: int = 1) -> None:
        """End the connections that have been strangers for the longest."""
        for connection in list(self._strangers)[:count]:
            self.leave(connection)
            connection.end()


class Connection(H11Protocol):
    """One connection: uvicorn's, with limits of time and a place in the crowd."""

    def __init__(self, crowd: Crowd, local: bool, **given: Any) -> None:
        super().__init__(app_state={"know": self._know}, **given)
        self._crowd = crowd
        self._local = local
        self._head_timer: asyncio.TimerHandle | None = None
        self._stranger_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._expect_head()
        if not self._local:
            self._stranger_timer = self.loop.call_later(STRANGER_SECONDS, self.end)
            self._crowd.enter(self)

    def data_received(self, data: bytes) -> None:
        if self._head_timer is None and not self._answering:
            self._expect_head()
        super().data_received(data)
        if self._answering:
            self._head_timer = _cancelled(self._head_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_timer = _cancelled(self._head_timer)
        self._stranger_timer = _cancelled(self._stranger_timer)
        self._crowd.leave(self)
        super().connection_lost(exc)

    def end(self) -> None:
        """End the connection at once, whatever it is about."""
        self.transport.abort()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.end)

    def _know(self) -> None:
        self._stranger_timer = _cancelled(self._stranger_timer)
        self._crowd.know(self)


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel a timer and return the one that is set now: none."""
    if timer is not None:
        timer.cancel()
    return None


class Acceptor:
    """Accept the connections of one listening socket.

    asyncio's own loop tries again two thousand times, with a line in the log each, when there is no descriptor left.
    """

    def __init__(self, listening: socket.socket, make: Callable[[], Connection], crowd: Crowd) -> None:
        self._listening = listening
        self._make = make
        self._crowd = crowd
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        listening.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accept no more."""
        self._closed = True
        self._loop.remove_reader(self._listening.fileno())

    async def wait_closed(self) -> None:
        """Do nothing: there is nothing to wait for."""

    def accept(self) -> None:
        """Accept connections that wait, but not endlessly many at once."""
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                peer, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._rest(error)
                return
            peer.setblocking(False)
            task = self._loop.create_task(self._begin(peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _begin(self, peer: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, peer)
        except OSError as error:  # it has ended already
            peer.close()
            log.debug("a connection ended as it began: %s", error)

    def _rest(self, error: OSError) -> None:
        """Let strangers go and look again in a moment."""
        log.warning("no connection can be accepted (%s): ulimit -n of the server is too low", error.strerror)
        self._loop.remove_reader(self._listening.fileno())
        self._crowd.turn_out(_ACCEPTS_PER_TURN)
        self._loop.call_later(ACCEPT_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listening.fileno(), self.accept)


class Web(uvicorn.Server):
    """Uvicorn with our connections, told to end the event streams first: it waits for open connections.

    `turn` is called ten times a second, as long as the event loop turns.
    """

    def __init__(self, app: Any, before_exit: Callable[[], None], turn: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=5,
            )
        )
        self._before_exit = before_exit
        self._turn = turn
        limit = descriptor_limit()
        self.crowd = Crowd(limit, _descriptors_in_use())
        if self.crowd.most < MAX_STRANGERS:
            log.warning("ulimit -n is %d: at most %d connections at a time", limit, self.crowd.most)
        for name in ("uvicorn.error", log.name):
            logger = logging.getLogger(name)
            if not any(isinstance(each, OncePerMinute) for each in logger.filters):
                logger.addFilter(OncePerMinute())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        threading.Thread(target=self._before_exit, daemon=True).start()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Say that the event loop turns; return whether to end."""
        self._turn()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept on these sockets."""
        await self.lifespan.startup()
        self.servers = [self._acceptor(each) for each in sockets or ()]  # type: ignore[misc]
        self.started = True

    def _acceptor(self, listening: socket.socket) -> Acceptor:
        local = listening.family == socket.AF_UNIX

        def make() -> Connection:
            return Connection(self.crowd, local, config=self.config, server_state=self.server_state)

        return Acceptor(listening, make, self.crowd)


def _descriptors_in_use() -> int:
    """Return how many descriptors are open, by a guess where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 32

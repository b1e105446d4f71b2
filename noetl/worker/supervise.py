"""The supervisor of N worker processes: it starts them, starts a crashed one again, and lets all of them drain.

The supervisor touches no database. It hands each worker one end of a pipe: a worker says "ready" through it and beats
once a second (`pulse`), and drains when the supervisor is gone, however it went. One that does not beat is ended.
"""

import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from noetl.errors import NoetlError

log = logging.getLogger("noetl.supervisor")

FIRST_RESTART_SECONDS = 0.5
MAX_RESTART_SECONDS = 30.0
"""Seconds before a crashed worker is started again: doubled each time, as long as it dies soon."""

STEADY_SECONDS = 30.0
"""A worker that lived this many seconds has proved itself: its delay begins anew."""

LOOK_INTERVAL_SECONDS = 0.2
"""Seconds between two looks at the workers."""

MAX_SILENCE_SECONDS = 30.0
"""Seconds without a beat after which a worker is ended: its interpreter is held, or its loop stands still."""

OWN_PAUSE_SECONDS = 5.0
"""Seconds between two looks after which the supervisor itself was stopped, and says nothing about its workers."""


class WorkerDied(NoetlError):
    """A worker could not even begin; its own message is in the log."""


@dataclass(slots=True)
class _Worker:
    """One place for a worker process, and who has it now."""

    process: subprocess.Popen[bytes] | None = None
    channel: int = -1  # our end of its pipe
    ready: bool = False
    begun: float = 0.0
    delay: float = FIRST_RESTART_SECONDS
    again_at: float = 0.0
    heard: float = 0.0  # when it last said something


def worker_command(slots: int, pools: Sequence[str]) -> list[str]:
    """Return the command that runs one worker process."""
    command = [sys.executable, "-P", "-m", "noetl.worker", "--slots", str(slots)]
    for pool in pools:
        command += ["--pool", pool]
    return command


class Supervisor:
    """Run `processes` workers until it is told to stop. Each gets `--channel N`, its end of the pipe."""

    def __init__(
        self,
        processes: int,
        command: Sequence[str],
        on_ready: Callable[[], None] = lambda: None,
        *,
        silence: float = MAX_SILENCE_SECONDS,
    ) -> None:
        self._places = [_Worker() for _ in range(processes)]
        self._command = list(command)
        self._on_ready = on_ready
        self._all_ready = False
        self._stopping = 0
        self._silence = silence
        self._looked = time.monotonic()
        self._wake_in, self._wake_out = os.pipe()
        self._channels = selectors.DefaultSelector()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._channels.register(self._wake_in, selectors.EVENT_READ, None)

    def stop(self, _number: int = 0, _frame: object = None) -> None:
        """Let the workers drain; the second time, kill them. May be called by a signal."""
        self._stopping += 1
        os.write(self._wake_out, b"x")

    def run(self) -> None:
        """Supervise until stopped and drained. Raises `WorkerDied` where the first start of a worker fails."""
        try:
            while not self._stopping:
                for place in self._places:
                    self._tend(place)
                self._listen()
            self._drain()
        finally:
            self._end()

    def _tend(self, place: _Worker) -> None:
        """Start the worker of one place if it is time to."""
        now = time.monotonic()
        if place.process is not None:
            code = place.process.poll()
            if code is None:
                return
            if not self._all_ready and not place.ready:
                raise WorkerDied("a worker ended before it was ready; what it said stands above")
            if now - place.begun >= STEADY_SECONDS:
                place.delay = FIRST_RESTART_SECONDS
            log.warning("worker %d ended with %d: again in %.1f s", place.process.pid, code, place.delay)
            place.again_at = now + place.delay
            place.delay = min(place.delay * 2, MAX_RESTART_SECONDS)
            self._forget(place)
        if now >= place.again_at:
            self._start(place, now)

    def _start(self, place: _Worker, now: float) -> None:
        ours, theirs = _pair()
        place.process = subprocess.Popen(
            [*self._command, "--channel", str(theirs)], stdin=subprocess.DEVNULL, pass_fds=(theirs,)
        )
        os.close(theirs)
        place.channel, place.ready, place.begun = ours, False, now
        self._channels.register(ours, selectors.EVENT_READ, place)

    def _listen(self) -> None:
        """Wait a moment, or until a worker says something or somebody calls `stop`."""
        for key, _ in self._channels.select(LOOK_INTERVAL_SECONDS):
            place = key.data
            if place is None:
                _read(self._wake_in)
                continue
            if not _read(place.channel):  # it has closed its end: it is ending
                self._channels.unregister(place.channel)
                os.close(place.channel)
                place.channel = -1
                continue
            place.heard = time.monotonic()
            if not place.ready:
                place.ready = True
                log.info("worker %d is ready", place.process.pid)
        self._end_silent()
        if not self._all_ready and all(place.ready for place in self._places):
            self._all_ready = True
            self._on_ready()

    def _end_silent(self) -> None:
        """Kill workers that have said nothing for long: what they held goes on when their leases have expired."""
        now = time.monotonic()
        paused, self._looked = now - self._looked > OWN_PAUSE_SECONDS, now
        for place in self._places:
            if paused or not place.ready:
                place.heard = now
            elif place.process is not None and place.channel >= 0 and now - place.heard > self._silence:
                log.error("worker %d has not answered for %.0f s: it is ended", place.process.pid, now - place.heard)
                place.process.kill()
                place.heard = now

    def _drain(self) -> None:
        living = [place.process for place in self._places if place.process is not None]
        log.info("draining %d workers", len(living))
        for process in living:
            process.send_signal(signal.SIGTERM)
        while any(process.poll() is None for process in living):
            if self._stopping > 1:
                return  # `_end` kills what is left
            self._listen()

    def _forget(self, place: _Worker) -> None:
        if place.channel >= 0:
            self._channels.unregister(place.channel)
            os.close(place.channel)
        place.process, place.channel = None, -1

    def _end(self) -> None:
        for place in self._places:
            if place.process is not None and place.process.poll() is None:
                place.process.kill()
                place.process.wait()
            self._forget(place)
        self._channels.close()
        os.close(self._wake_in)
        os.close(self._wake_out)


def _pair() -> tuple[int, int]:
    """Return two connected ends: each side reads the end of file when the other is gone."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except (BlockingIOError, ConnectionError):
        return b""


def watch_channel(descriptor: int, stop: threading.Event) -> Callable[[], None]:
    """Set `stop` when the supervisor is gone; return the function that tells it "ready". Called in the worker."""

    def watch() -> None:
        while True:
            try:
                if not os.read(descriptor, 1):
                    break
            except OSError:
                break
        stop.set()

    def ready() -> None:
        try:
            os.write(descriptor, b"r")
        except OSError:
            log.debug("the supervisor is gone")

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()
    return ready

"""Worker processes that a test kills, stops and starts again. Each is ended by its own process id."""

import contextlib
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noetl.settings import Settings
from noetl.worker.supervise import worker_command
from tests.support.postgres import environment
from tests.support.waiting import wait_for

LIMIT = 30.0


class Worker:
    """One worker process, as the supervisor starts it, with this test in the supervisor's place."""

    def __init__(self, settings: Settings, log: Path, *, lease: float, slots: int, **extra: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("NOETL_", "POSTGRES_"))}
        ours, theirs = socket.socketpair()
        self._channel = ours
        with theirs, log.open("ab") as file:
            os.set_inheritable(theirs.fileno(), True)
            self.process = subprocess.Popen(
                [*worker_command(slots, ["default"]), "--channel", str(theirs.fileno())],
                env={**kept, **environment(settings), "NOETL_LEASE_SECONDS": str(lease), **extra},
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stderr=file,
                pass_fds=(theirs.fileno(),),
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_ready(self) -> None:
        """Wait until it says that it is ready."""
        assert select.select([self._channel], [], [], LIMIT)[0], "the worker does not start"
        assert self._channel.recv(1) == b"r", f"the worker ended with {self.process.wait(LIMIT)} before it was ready"

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it as nobody can resist."""
        self.process.kill()
        self.process.wait(LIMIT)

    def drain(self) -> int:
        """Let it finish what runs; return its exit code."""
        self.process.terminate()
        return self.process.wait(60)

    def close(self) -> None:
        if self.alive:
            self.kill()
        self._channel.close()


class Crew:
    """The workers of one test."""

    def __init__(self, settings: Settings, folder: Path, *, lease: float, slots: int) -> None:
        self.settings = settings
        self.log = folder / "workers.log"
        self.lease, self.slots = lease, slots
        self.workers: list[Worker] = []

    def hire(self, count: int = 1, **extra: str) -> list[Worker]:
        """Start workers and wait until they are ready."""
        new = [Worker(self.settings, self.log, lease=self.lease, slots=self.slots, **extra) for _ in range(count)]
        self.workers += new
        for worker in new:
            worker.wait_ready()
        return new

    def replace(self, place: int) -> None:
        """Start a worker in the place of one that has gone, without waiting for it."""
        self.workers[place].close()
        self.workers[place] = Worker(self.settings, self.log, lease=self.lease, slots=self.slots)

    def keep(self) -> int:
        """Start those again that have died; return how many had."""
        dead = [place for place, worker in enumerate(self.workers) if not worker.alive]
        for place in dead:
            self.replace(place)
        return len(dead)


@contextmanager
def a_crew(settings: Settings, folder: Path, count: int, *, lease: float = 2.0, slots: int = 4) -> Iterator[Crew]:
    """Run so many workers; at the end all are gone, and none has met an error it did not know."""
    crew = Crew(settings, folder, lease=lease, slots=slots)
    try:
        crew.hire(count)
        yield crew
        for worker in crew.workers:
            if worker.alive:
                with contextlib.suppress(ProcessLookupError):
                    worker.signal(signal.SIGCONT)
                worker.process.terminate()
        wait_for(lambda: not any(worker.alive for worker in crew.workers), limit=60)
    except BaseException:
        print(crew.log.read_text()[-20_000:])
        raise
    finally:
        for worker in crew.workers:
            worker.close()
    assert "Traceback" not in crew.log.read_text(), crew.log.read_text()

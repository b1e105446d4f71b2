"""Processes in the background: a pid file that cannot go stale, a log, starting and stopping.

A process holds a lock on its pid file as long as it lives. Whether it runs is asked of the lock, never of the
number in the file: that may belong to somebody else by now.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from noetl.cli.terminal import note
from noetl.errors import Conflict, NoetlError, SettingsError
from noetl.home.files import UMASK, make_folder, make_home, open_file
from noetl.settings import Settings

MAX_LOG_BYTES = 10 * 1024 * 1024
"""A log that is larger when a process starts is moved aside."""

START_SECONDS = 120.0
"""Seconds that a process may take to be ready: the first start of an embedded Postgres is part of it."""

POLL_SECONDS = 0.05


class StartError(NoetlError):
    """A process in the background did not come up."""


@dataclass(frozen=True, slots=True)
class Background:
    """One kind of process of a home: `server`, or `worker-<name>`."""

    home: Path
    name: str

    @property
    def pid_file(self) -> Path:
        return self.home / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        return self.home / "logs" / f"{self.name}.log"

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Be that process while the block runs. Raises `Conflict` where another is."""
        with self._open() as file, private():
            limit = time.monotonic() + 1.0
            while not _lock(file.fileno(), fcntl.LOCK_EX):
                if time.monotonic() > limit:  # longer than anybody's look at it takes
                    raise Conflict(f"{name} runs already for {self.home} (process {self.pid()})")
                time.sleep(POLL_SECONDS)
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)

    def pid(self) -> int | None:
        """Return the id of the process that runs, or None."""
        words = self._held()
        return int(words[0]) if words else None

    def say_ready(self) -> None:
        """Tell whoever waits that this process, which holds the file, is ready."""
        with self.pid_file.open("ab") as file:
            file.write(b"ready\n")

    def is_ready(self, pid: int) -> bool:
        """Tell whether this very process runs and has said that it is ready."""
        return self._held() == [str(pid), "ready"]

    def _held(self) -> list[str]:
        """Return what the process that runs has written, or nothing."""
        try:
            file = self.pid_file.open("rb")
        except OSError:
            return []
        with file:
            for _ in range(20):
                if _lock(file.fileno(), fcntl.LOCK_SH):
                    return []
                file.seek(0)
                words = file.read().decode().split()
                if words and words[0].isdigit():
                    return words
                time.sleep(POLL_SECONDS)  # it is about to write, or to end
        return []

    def start(self, arguments: Sequence[str], ready: Callable[[int], bool]) -> int:
        """Run `noetl ARGUMENTS` in the background and return its id once it is ready.

        Raises `StartError` with what it said where it ended instead, or is not ready in time.
        """
        begin = self._rotate()
        with os.fdopen(open_file(self.log, os.O_WRONLY | os.O_APPEND), "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "noetl", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=UMASK,
            )
        limit = time.monotonic() + START_SECONDS
        while not ready(process.pid):
            if process.poll() is not None:
                raise StartError(self._last_words(begin))
            if time.monotonic() > limit:
                process.terminate()
                raise StartError(f"{self.name} was not ready after {START_SECONDS:.0f} s: see {self.log}")
            time.sleep(POLL_SECONDS)
        self._pass_on_warnings(begin)
        return process.pid

    def stop(self, timeout: float) -> bool:
        """End the process and wait until it is gone; after `timeout` seconds kill it. False: none ran."""
        pid = self.pid()
        if pid is None:
            return False
        for number, seconds in ((signal.SIGTERM, timeout), (signal.SIGKILL, 10.0)):
            _signal(pid, number)
            limit = time.monotonic() + seconds
            while time.monotonic() < limit:
                if self.pid() != pid:
                    return True
                time.sleep(POLL_SECONDS)
            if number == signal.SIGTERM:
                note(f"{self.name} (process {pid}) did not end within {timeout:g} s and is killed")
        raise Conflict(f"{self.name} (process {pid}) cannot be ended")

    def _open(self) -> FileIO:
        try:
            make_home(self.home)
            return FileIO(open_file(self.pid_file, os.O_RDWR), "r+")
        except OSError as error:
            raise SettingsError(f"{self.pid_file} cannot be written ({error.strerror}): set NOETL_HOME") from None

    def _rotate(self) -> int:
        """Make the log's folder and return where the new process will begin to write."""
        try:
            make_home(self.home)
            make_folder(self.log.parent)
            size = self.log.stat().st_size if self.log.exists() else 0
            if size > MAX_LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
                size = 0
        except OSError as error:
            raise SettingsError(f"{self.log} cannot be written ({error.strerror}): set NOETL_HOME") from None
        return size

    def _written(self, begin: int) -> list[str]:
        with self.log.open("rb") as file:
            file.seek(begin)
            return file.read(65536).decode(errors="replace").splitlines()

    def _last_words(self, begin: int) -> str:
        """Return the first error of a process that ended: what came of it says less."""
        lines = self._written(begin)
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return said[0] if said else f"{self.name} ended at once: see {self.log}"

    def _pass_on_warnings(self, begin: int) -> None:
        for line in self._written(begin):
            if " WARNING " in line:
                note(line)


@contextmanager
def private() -> Iterator[None]:
    """Let this process, and those it starts, write for their own account only while the block runs."""
    before = os.umask(UMASK)
    try:
        yield
    finally:
        os.umask(before)


def of_kind(settings: Settings, kind: str) -> list[Background]:
    """Return the processes of a kind that this home has had, running or not."""
    return [Background(settings.home, file.stem) for file in sorted(settings.home.glob(f"{kind}*.pid"))]


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Run the block while no other process is in it."""
    try:
        make_home(path.parent)
        file = FileIO(open_file(path, os.O_RDWR), "r+")
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror}): set NOETL_HOME") from None
    with file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        yield


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError:
        raise Conflict(f"process {pid} belongs to somebody else and cannot be ended") from None

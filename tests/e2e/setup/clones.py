"""Fresh clones of the project, for the tests of what a person does first.

A clone holds the files as they are now (what git knows, with uncommitted changes), nothing that was installed or
made here, and it stands in a folder that every account can reach.
"""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.process import Process

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 600.0
OWN = ("NOETL_", "POSTGRES_", "PG", "COMPOSE_", "MAKE", "MFLAGS", "PYTEST_", "VIRTUAL_ENV")
PARAMETERS = {"PLAYBOOK", "PAYLOAD", "INPUT", "SET", "ID", "DDL", "ARGS"}  # of the make that runs these tests

Env = Mapping[str, str] | None


@dataclass
class Clone:
    """One clone, and how to run a command in it as a person would: with no settings at all."""

    path: Path
    user: str | None = None
    environment: dict[str, str] = field(default_factory=dict, repr=False)

    def start(self, *argv: str, env: Env = None) -> Process:
        """Start a command without stdin; stdout and stderr are pipes."""
        return Process(
            argv,
            cwd=self.path,
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=self.user,
            group=self.user and _group(self.user),
            extra_groups=[] if self.user else None,
        )

    def run(self, *argv: str, expect: int | None = 0, env: Env = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; its exit code must be `expect` (None: any)."""
        with self.start(*argv, env=env) as process:
            out, err = process.communicate(timeout=LIMIT)
        assert expect is None or process.returncode == expect, f"{argv}: {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def make(self, *arguments: str, expect: int | None = 0, env: Env = None) -> str:
        """Run make and return its stdout."""
        return self.run("make", *arguments, expect=expect, env=env).stdout

    def verify(self) -> None:
        """Hold the clone's database to its invariants, if it has one; a schema that a test has dropped is applied."""
        home = self.path / ".noetl"
        if not home.exists():
            return
        self.make("install")
        for command in ("apply-schema", "verify"):
            self.run(".venv/bin/noetl", "db", command, env={"NOETL_HOME": str(home)})

    def remove(self) -> None:
        """Stop what runs, remove the database and the folder."""
        self.run("make", "clean-data", expect=None)
        shutil.rmtree(self.path.parent, ignore_errors=True)


def bare_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment without any setting of NoETL, Postgres, Make or an active virtual environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN) and name not in PARAMETERS}
    inside = str(Path(os.environ.get("VIRTUAL_ENV", ROOT / ".venv")) / "bin")
    kept["PATH"] = os.pathsep.join(part for part in kept["PATH"].split(os.pathsep) if part != inside)
    return {**kept, **(extra or {})}


def _group(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def make_clone(user: str | None = None) -> Clone:
    """Return a new clone; with a user, it belongs to that account, whose home folder cannot be written."""
    folder = Path(tempfile.mkdtemp(prefix="noetl-clone-"))
    folder.chmod(0o755)
    target = folder / "noetl"
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    environment = bare_environment({"HOME": "/nonexistent"} if user else None)
    if user:
        subprocess.run(["chown", "-R", user, str(folder)], check=True)
    return Clone(target, user, environment)


@functools.cache
def shared_clone() -> Clone:
    """Return the clone that the tests of this process share; it is removed at the end."""
    clone = make_clone()
    atexit.register(clone.remove)
    return clone

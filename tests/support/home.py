"""A home for real processes: the commands as a person gives them, on loopback, with a database of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from noetl.database.connection.connect import open_admin
from noetl.database.schema.verify import verify
from noetl.orchestrator.replay import verify_replay
from noetl.settings import Settings
from tests.support.postgres import TestServer, environment
from tests.support.process import Process

LIMIT = 120.0

Result = subprocess.CompletedProcess[str]


class Home:
    """One NOETL_HOME and the commands that use it."""

    def __init__(self, settings: Settings, work: Path, extra: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self.work = work
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("NOETL_", "POSTGRES_"))}
        self.environment = {**kept, **environment(settings), **(extra or {})}

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Process:
        """Start `noetl ARGUMENTS`; stdin, stdout and stderr are pipes."""
        return Process(
            [sys.executable, "-m", "noetl", *arguments],
            cwd=self.work,
            env={**self.environment, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *arguments: str, expect: int | None = 0, stdin: str | None = None, env: Mapping[str, str] | None = None
    ) -> Result:
        """Run `noetl ARGUMENTS` to its end; its exit code must be `expect`, and it shows no traceback."""
        with self.start(*arguments, env=env) as process:
            out, err = process.communicate(stdin, timeout=LIMIT)
        assert expect in (None, process.returncode), (
            f"noetl {arguments}: {process.returncode}\n{out}\n{err}\n{self.logs()}"
        )
        assert not any(line.startswith("Traceback") for line in err.splitlines()), err  # a step's stands indented
        return Result(arguments, process.returncode, out, err)

    def json(self, *arguments: str, expect: int | None = 0, **given: Any) -> Any:
        """Run a command with --json and return what it printed."""
        return json.loads(self.run(*arguments, "--json", expect=expect, **given).stdout)

    def write(self, path: str, text: str) -> str:
        """Write a playbook below the working folder and return its path without suffix."""
        file = self.work / f"{path}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return path

    @property
    def address(self) -> str:
        return str(json.loads((self.settings.home / "server.json").read_text())["address"])

    @property
    def token(self) -> str:
        return (self.settings.home / "token").read_text().strip()

    def logs(self) -> str:
        """Return what the processes in the background have written."""
        files = sorted((self.settings.home / "logs").glob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text()}" for file in files)

    def verify(self) -> None:
        """Hold the database to its invariants."""
        with open_admin(self.settings) as admin:
            assert verify(admin) == []
            assert verify_replay(admin) == []

    def stop(self) -> None:
        """Stop what runs."""
        self.run("worker", "stop", "--timeout", "5")
        self.run("server", "stop")


@contextmanager
def a_home(
    server: TestServer, tmp_path: Path, extra: Mapping[str, str] | None = None, *, with_schema: bool = True
) -> Iterator[Home]:
    """Give a home with a new database; stop what runs and verify the database at the end."""
    name = server.create_database(with_schema=with_schema)
    settings = server.settings(name, tmp_path / "home")
    home = Home(settings, tmp_path, extra)
    try:
        yield home
    finally:
        home.stop()
    if with_schema or (settings.home / "instance").exists():
        home.verify()
    server.drop_database(name)

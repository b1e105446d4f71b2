"""Compose and the image, where a Docker engine answers and the images are there."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from tests.e2e.setup.clones import bare_environment

ROOT = Path(__file__).resolve().parents[3]
POSTGRES_IMAGE = os.environ.get("POSTGRES_IMAGE") or "postgres:18"
PYTHON_IMAGE = os.environ.get("PYTHON_IMAGE") or "python:3.13-slim"
LIMIT = 900.0


def need(*images: str) -> None:
    """Skip, and say so loudly, where Docker or an image is missing."""
    for image in images:
        try:
            found = subprocess.run(
                ["docker", "image", "inspect", image], capture_output=True, text=True, check=False, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired):
            found = subprocess.CompletedProcess([], 1, "", "docker does not answer")
        if found.returncode:
            reason = f"NOT TESTED: Compose and the image need Docker and {image}: {found.stderr.strip()}"
            print(f"\n{'!' * 80}\n{reason}\n{'!' * 80}", file=sys.__stderr__)
            pytest.skip(reason)


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@dataclass
class Project:
    """A Compose project of its own: its names, ports and volume clash with no other."""

    environment: dict[str, str] = field(repr=False)

    def invoke(self, task: str) -> str:
        """Run one of the tasks behind Make with this interpreter; return its stdout."""
        argv = [sys.executable, "-m", "invoke", task]
        done = subprocess.run(
            argv, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def compose(self, *arguments: str) -> str:
        """Run Compose as the tasks do; return its stdout."""
        program = "from tasks import compose; print('\\n'.join(compose()))"
        command = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        done = subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout


@pytest.fixture
def project() -> Iterator[Project]:
    environment = bare_environment(
        {
            "COMPOSE_PROJECT_NAME": f"noetl-test-{os.getpid()}",
            "POSTGRES_PORT": free_port(),
            "POSTGRES_IMAGE": POSTGRES_IMAGE,
            "PYTHON_IMAGE": PYTHON_IMAGE,
            "NOETL_IMAGE": "noetl:test",
            "NOETL_PORT": free_port(),
            "NOETL_API_TOKEN": "token-of-the-test",
            "DOCKER_BUILDKIT": "0",
            "COMPOSE_DOCKER_CLI_BUILD": "0",
        }
    )
    made = Project(environment)
    yield made
    made.compose("--profile", "noetl", "down", "--volumes", "--timeout", "20")


@pytest.fixture
def profile(project: Project) -> Iterator[Project]:
    """Schema job, server and worker, up and ready; the invariants hold when the test is over."""
    need(POSTGRES_IMAGE, PYTHON_IMAGE)
    project.compose("--profile", "noetl", "up", "-d", "--build")
    wait_until_ready(project)
    yield project
    project.compose("exec", "-T", "worker", "noetl", "db", "verify")


def test_postgres_up_prints_the_settings_that_reach_it(project: Project) -> None:
    need(POSTGRES_IMAGE)
    lines = dict(line.split("=", 1) for line in project.invoke("postgres-up").splitlines() if line[0] != "#")
    assert set(lines) == {
        *(f"POSTGRES_{name}" for name in ("HOST", "PORT", "DB", "USER", "PASSWORD")),
        "NOETL_PASSWORD",
        "NOETL_PLAYBOOK_PASSWORD",
    }
    with psycopg.connect(
        host=lines["POSTGRES_HOST"],
        port=lines["POSTGRES_PORT"],
        dbname=lines["POSTGRES_DB"],
        user=lines["POSTGRES_USER"],
        password=lines["POSTGRES_PASSWORD"],
    ) as conn:
        assert conn.info.server_version >= 170000
        conn.execute("CREATE TABLE kept (x integer)")
    project.invoke("postgres-down")
    project.invoke("postgres-up")
    with psycopg.connect(
        host="127.0.0.1", port=lines["POSTGRES_PORT"], dbname="noetl", user="postgres", password="postgres"
    ) as conn:
        assert conn.execute("SELECT count(*) FROM kept").fetchone() == (0,)


@pytest.mark.parametrize("task", ["postgres-up", "postgres-down"])
def test_where_no_engine_answers_it_is_one_sentence(task: str, tmp_path: Path) -> None:
    environment = bare_environment({"DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"})
    done = subprocess.run(
        [sys.executable, "-m", "invoke", task], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Docker does not answer (")
    assert "Traceback" not in done.stderr


def call(project: Project, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
    """Send a request to the server's published port and return its JSON."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{project.environment['NOETL_PORT']}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Bearer token-of-the-test", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        document = json.loads(answer.read())
    assert isinstance(document, dict)
    return document


def wait_until_ready(project: Project) -> None:
    limit = time.monotonic() + 90
    while True:
        try:
            call(project, "/readyz")
        except OSError:  # refused, reset, or 503
            assert time.monotonic() < limit, project.compose("--profile", "noetl", "logs", "--no-color")
            time.sleep(0.2)
        else:
            return


def test_the_profile_applies_the_schema_and_runs_a_playbook(profile: Project) -> None:
    content = (ROOT / "examples/test/simple_test.yaml").read_text("utf-8")
    registered = call(profile, "/api/catalog", {"content": content})
    execution_id = call(profile, "/api/executions", {"path": registered["path"]})["execution_id"]
    limit = time.monotonic() + 60
    while (status := call(profile, f"/api/executions/{execution_id}")["status"]) == "running":
        assert time.monotonic() < limit, profile.compose("--profile", "noetl", "logs", "--no-color")
        time.sleep(0.1)
    assert status == "completed"
    who = profile.compose("exec", "-T", "worker", "id", "-u")
    assert who.strip() == "10001"

"""A server that is held for good ends, with a traceback; one that has much to do does not."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.home import Home, a_home
from tests.support.postgres import TestServer
from tests.support.process import Process
from tests.support.waiting import wait_for

SERVE = """
import itertools, resource, sys, threading
from noetl.server import serve, watchdog
from noetl.settings import load_settings

resource.setrlimit(resource.RLIMIT_CPU, (60, 60))  # should nobody else end it
HELD_SECONDS = 1.0
serve.Watchdog = lambda: watchdog.Watchdog(HELD_SECONDS)

def held():
    sys.stdin.readline()
    sum(itertools.repeat(1))  # in C, without an end, and the interpreter's lock is never let go

def busy():
    while True:
        pass

def announce(host, port, local, instance):
    print(port, flush=True)
    threading.Thread(target=globals()[sys.argv[1]], daemon=True).start()

serve.serve(load_settings(), token=lambda: "t" * 32, announce=announce)
"""


@pytest.fixture
def home(server: TestServer, tmp_path: Path) -> Iterator[Home]:
    with a_home(server, tmp_path) as home:
        yield home


@contextmanager
def serving(home: Home, does: str) -> Iterator[tuple[Process, str]]:
    """Serve in a process of its own beside a thread that does something; give the process and the URL of /livez."""
    process = Process(
        [sys.executable, "-c", SERVE, does],
        env=home.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{int(process.stdout.readline())}/livez"
            wait_for(lambda: lives(url), limit=60)
            yield process, url
        finally:
            process.kill()


def lives(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def processor_seconds(pid: int) -> float:
    """Return how long a process has been on a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_server_that_is_held_in_c_ends_with_a_traceback(home: Home) -> None:
    with serving(home, "held") as (process, _):
        _, said = process.communicate("now\n", timeout=120)
        assert process.returncode == -signal.SIGPROF
        assert "in held" in said


def test_a_server_beside_much_work_continues(home: Home) -> None:
    """Its event loop turns, however much its other threads compute."""
    with serving(home, "busy") as (process, url):
        begun = processor_seconds(process.pid)
        wait_for(lambda: processor_seconds(process.pid) - begun > 3.0, limit=120)
        assert process.poll() is None
        assert lives(url)

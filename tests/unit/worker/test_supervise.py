"""The supervisor keeps its workers alive, lets them drain, and they notice when it is gone."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from noetl.worker import supervise
from noetl.worker.pulse import Pulse
from noetl.worker.supervise import Supervisor, WorkerDied, worker_command

WORKER = """
import os, re, signal, sys, threading
from noetl.worker.pulse import Pulse, beat
from noetl.worker.supervise import watch_channel
folder, mode, channel = sys.argv[1], sys.argv[2], int(sys.argv[4])
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
if mode == "early":
    sys.exit(3)
ready = watch_channel(channel, stop)
open(f"{folder}/{os.getpid()}", "w").close()
if mode != "slow":
    ready()
if mode == "held":
    beat(channel, Pulse(), threading.Event())
    if len(os.listdir(folder)) < 2:
        re.match("(a+)+b", "a" * 100)  # never ends, and lets no other thread run
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Event().wait()
if mode == "crash" and len(os.listdir(folder)) < 3:
    os._exit(1)
stop.wait()
open(f"{folder}/{os.getpid()}-drained", "w").close()
"""

SUPERVISOR = """
import sys
from noetl.worker.supervise import Supervisor
Supervisor(2, sys.argv[1:], lambda: print("ready", flush=True)).run()
"""


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "LOOK_INTERVAL_SECONDS", 0.02)
    monkeypatch.setattr(supervise, "FIRST_RESTART_SECONDS", 0.01)


def command(folder: Path, mode: str) -> list[str]:
    return [sys.executable, "-c", WORKER, str(folder), mode]


def wait_for(condition: Callable[[], bool], limit: float = 20.0) -> None:
    """Look until it is so."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def run_until(supervisor: Supervisor, condition: Callable[[], bool], stops: int = 1) -> None:
    """Run a supervisor, and stop it when something is so."""

    def stop() -> None:
        wait_for(condition)
        for _ in range(stops):
            supervisor.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    supervisor.run()
    thread.join()


def test_it_says_ready_when_all_workers_are_and_drains_them(tmp_path: Path) -> None:
    ready = threading.Event()
    run_until(Supervisor(2, command(tmp_path, "well"), ready.set), ready.is_set)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert len(names) == 4
    assert [name.endswith("-drained") for name in names] == [False, True, False, True]


def test_a_worker_that_crashes_is_started_again(tmp_path: Path) -> None:
    run_until(Supervisor(1, command(tmp_path, "crash")), lambda: len(list(tmp_path.iterdir())) == 3)
    assert sum(file.name.endswith("-drained") for file in tmp_path.iterdir()) == 1


def test_a_worker_that_cannot_begin_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WorkerDied):
        Supervisor(2, command(tmp_path, "early")).run()


def test_a_second_stop_does_not_wait(tmp_path: Path) -> None:
    run_until(Supervisor(1, command(tmp_path, "deaf")), lambda: len(list(tmp_path.iterdir())) == 1, stops=2)
    pid = int(next(tmp_path.iterdir()).name)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_workers_of_a_killed_supervisor_drain(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, *command(tmp_path, "well")], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: sum(file.name.endswith("-drained") for file in tmp_path.iterdir()) == 2)


def test_the_command_of_a_worker_carries_slots_and_pools() -> None:
    assert worker_command(4, ["a", "b"])[1:] == [
        "-P",
        "-m",
        "noetl.worker",
        "--slots",
        "4",
        "--pool",
        "a",
        "--pool",
        "b",
    ]


def test_a_worker_whose_interpreter_is_held_is_ended_and_another_started(tmp_path: Path) -> None:
    """Nothing inside it can notice: a loop in C lets no thread of its run."""
    supervisor = Supervisor(1, command(tmp_path, "held"), silence=3.0)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2, limit=60)
    supervisor.stop()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert [one.name for one in tmp_path.iterdir() if one.name.endswith("-drained")], "the second one drained"


def test_a_supervisor_that_was_stopped_itself_ends_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Supervisor(1, command(tmp_path, "plain"), silence=10.0)
    place = supervisor._places[0]
    supervisor._start(place, time.monotonic())
    assert place.process is not None

    def listened() -> bool:
        supervisor._listen()
        return place.ready

    wait_for(listened)
    now = time.monotonic()
    monkeypatch.setattr("noetl.worker.supervise.time.monotonic", lambda: now + 100)  # nobody looked for so long
    supervisor._end_silent()
    assert place.process.poll() is None
    assert place.heard == now + 100
    monkeypatch.undo()
    supervisor._end()


def test_a_loop_that_waits_has_a_pulse_and_one_that_computes_without_end_has_none() -> None:
    """What counts is the time on a processor since the last turn, not that on the wall."""
    pulse, released, computed, ended = Pulse(longest_turn=0.05), threading.Event(), threading.Event(), threading.Event()

    def turn() -> None:
        pulse.turn()
        assert released.wait(20)
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass
        computed.set()
        assert ended.wait(20)
        pulse.turn()
        pulse.rest()

    assert not pulse.stands_still(), "it has not begun"
    thread = threading.Thread(target=turn)
    thread.start()
    assert not pulse.stands_still()
    released.set()
    assert computed.wait(20)
    still = pulse.stands_still()
    ended.set()
    thread.join()
    assert still
    assert not pulse.stands_still()

"""The maintenance thread does every duty in its interval, and goes on after whatever one of them raises."""

import threading
from pathlib import Path

import pytest
from psycopg import Connection

from noetl.worker import maintenance
from noetl.worker.maintenance.containers import LeftContainers
from noetl.worker.maintenance.parts import WorkerParts
from noetl.worker.maintenance.thread import Duty, MaintenanceThread, duties_of
from tests.support.waiting import wait_for

NO_DUTY = {"__init__", "parts", "thread"}


@pytest.mark.parametrize(("sooner", "due"), [(None, 110.0), (60.0, 110.0), (0.5, 105.5), (0.0, 105.001)])
def test_a_duty_is_due_after_its_interval_or_as_much_sooner_as_it_says(
    conn: Connection, sooner: float | None, due: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noetl.worker.maintenance.thread.time.monotonic", lambda: 105.0)
    duty = Duty(10.0, lambda _conn: sooner)
    duty.do(conn, 100.0)
    assert duty.due_at == due


def test_a_duty_that_fails_is_done_again_and_the_others_continue(
    worker: WorkerParts, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    again = threading.Event()

    def fail(_conn: Connection) -> None:
        seen.append("failed")
        if len(seen) == 1:
            raise ValueError("not today")
        again.set()

    thread = MaintenanceThread(worker, [Duty(0.01, fail), Duty(0.01, lambda _conn: seen.append("other"))])
    thread.start()
    try:
        assert again.wait(20)
        wait_for(lambda: "other" in seen)
    finally:
        thread.stop()
        thread.join(20)
    assert "maintenance failed and is tried again: ValueError('not today')" in caplog.text


def test_every_module_of_the_room_is_a_duty_of_every_worker(worker: WorkerParts) -> None:
    modules = {path.stem for path in Path(maintenance.__path__[0]).glob("*.py")} - NO_DUTY
    assert len(duties_of(worker, LeftContainers(worker.database, "worker"))) == len(modules)

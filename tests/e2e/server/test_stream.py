"""The event stream: one reader for all watchers, nothing missed, nothing held for the slow."""

import asyncio
from collections.abc import Callable, Iterator

import psycopg
import pytest

from noetl.database import read
from noetl.database.connection.connect import Database, open_database
from noetl.orchestrator.commands import Orchestrator
from noetl.orchestrator.start import StartRequest
from noetl.server.stream import EVENTS_PER_BATCH, EventReader, follow
from noetl.settings import Settings

PLAYBOOK = """
apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: work, path: test/work}
workflow:
  - {step: start, type: python, code: "def main(): return 1"}
"""


@pytest.fixture
def reader(database: Database) -> Iterator[EventReader]:
    reader = EventReader(database)
    yield reader
    reader.stop()


@pytest.fixture
def orchestrator(settings: Settings, database: Database) -> Orchestrator:
    orchestrator = Orchestrator(database, settings)
    orchestrator.register(PLAYBOOK, filename="x")
    return orchestrator


def start(orchestrator: Orchestrator) -> int:
    return orchestrator.start(StartRequest(path="test/work")).execution_id


def kinds(messages: list[bytes]) -> list[str]:
    lines = b"".join(messages).decode().splitlines()
    return [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]


async def first(reader: EventReader, execution_id: int) -> bytes:
    """Return the first message of a stream, and leave it."""
    stream = follow(reader, execution_id, 0)
    try:
        return await asyncio.wait_for(anext(stream), 10)
    finally:
        await stream.aclose()


async def collect(reader: EventReader, execution_id: int, after: int = 0) -> list[bytes]:
    return [message async for message in follow(reader, execution_id, after)]


def test_many_watchers_of_a_living_execution_see_its_end(reader: EventReader, orchestrator: Orchestrator) -> None:
    number = start(orchestrator)

    async def go() -> list[list[bytes]]:
        tasks = [asyncio.create_task(collect(reader, number)) for _ in range(20)]
        assert b"execution_start" in await first(reader, number)
        await asyncio.to_thread(orchestrator.cancel, number, by="me")
        return await asyncio.wait_for(asyncio.gather(*tasks), 10)

    seen = [kinds(messages) for messages in asyncio.run(go())]
    assert len({tuple(each) for each in seen}) == 1
    assert seen[0][0] == "execution_start"
    assert seen[0][-1] == "execution_cancelled"


def test_a_reader_that_stops_ends_all_streams(reader: EventReader, orchestrator: Orchestrator) -> None:
    number = start(orchestrator)
    seen: list[bytes] = []

    async def go() -> None:
        begun = asyncio.Event()

        async def watch() -> None:
            async for message in follow(reader, number, 0):
                seen.append(message)
                begun.set()

        task = asyncio.create_task(watch())
        await asyncio.wait_for(begun.wait(), 10)
        await asyncio.to_thread(reader.stop)
        await asyncio.wait_for(task, 10)

    asyncio.run(go())
    assert kinds(seen)[0] == "execution_start"
    assert asyncio.run(collect(reader, number)) == []


def test_a_lost_connection_misses_nothing(
    settings: Settings, database: Database, reader: EventReader, orchestrator: Orchestrator
) -> None:
    number = start(orchestrator)

    async def go() -> list[bytes]:
        task = asyncio.create_task(collect(reader, number))
        await first(reader, number)
        await asyncio.to_thread(cut, settings)
        await asyncio.to_thread(orchestrator.cancel, number, by="me")
        return await asyncio.wait_for(task, 20)

    seen = kinds(asyncio.run(go()))
    assert seen.count("execution_start") == 1
    assert seen[-1] == "execution_cancelled"


def test_a_reader_that_fails_ends_its_streams_and_serves_the_next(
    reader: EventReader, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever for a thread that is gone."""
    number = start(orchestrator)

    def broken(*_given: object, **_options: object) -> None:
        raise ValueError("a fault of ours")

    async def within(limit: float) -> list[bytes]:
        return await asyncio.wait_for(collect(reader, number), limit)

    with monkeypatch.context() as patch:
        patch.setattr(read, "events", broken)
        assert asyncio.run(within(10)) == []
    orchestrator.cancel(number, by="me")
    assert kinds(asyncio.run(within(10)))[-1] == "execution_cancelled"


def cut(settings: Settings) -> None:
    """Terminate every other connection to this database, and wait for their ends."""
    with psycopg.connect(str(settings.database_url), autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_slow_watcher_holds_one_batch_and_gets_everything(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    total = 3 * EVENTS_PER_BATCH + 7
    with open_database(settings) as database:
        orchestrator = Orchestrator(database, settings)
        orchestrator.register(PLAYBOOK, filename="x")
        number = start(orchestrator)
        with database.session() as conn:  # events that nobody decided: this database is not verified
            conn.execute(
                "INSERT INTO event_log (execution_id, event_id, event_type)"
                " SELECT execution_id, n, 'step_skipped'"
                " FROM execution, generate_series(last_event_id + 1, %s::bigint) AS n WHERE execution_id = %s",
                (total, number),
            )
            conn.execute("UPDATE execution SET last_event_id = %s WHERE execution_id = %s", (total, number))
        reader = EventReader(database)
        assert asyncio.run(take_slowly(reader, number, total)) == [
            EVENTS_PER_BATCH,
            EVENTS_PER_BATCH,
            EVENTS_PER_BATCH,
            7,
        ]
        reader.stop()


async def take_slowly(reader: EventReader, number: int, total: int) -> list[int]:
    """Take one batch after the other; meanwhile there must be no second one."""
    watcher = reader.watch(number, 0)
    sizes: list[int] = []
    while sum(sizes) < total:
        batch = await asyncio.wait_for(watcher.batches.get(), 10)
        assert batch is not None
        assert watcher.batches.empty()
        sizes.append(len(batch))
        reader.taken(watcher)
    reader.leave(watcher)
    return sizes

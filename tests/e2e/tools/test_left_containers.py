"""Containers of workers that were killed end, though no next attempt comes; those of others go on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from noetl.database import runtime
from noetl.database.connection.connect import Database, open_database
from noetl.settings import Settings
from noetl.tools.container import DATABASE_LABEL, KEY_LABEL, WORKER_LABEL
from noetl.worker.maintenance.containers import LeftContainers
from tests.support.chaos import playbook
from tests.support.crew import a_crew
from tests.support.docker import engine, small_image
from tests.support.waiting import wait_for
from tests.support.working import Engine

SLEEPER = playbook(
    "sleeper",
    """
  - step: start
    type: container
    image: "{{ workload.image }}"
    command: [sleep, "600"]
    next: [end]
  - {step: end}
""",
)


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    found = engine()
    yield found
    found.close()


@pytest.fixture(scope="module")
def image(client: docker.DockerClient) -> Iterator[str]:
    with small_image(client) as tag:
        yield tag


class Made:
    """Containers of one image, which a test makes and finds again."""

    def __init__(self, client: docker.DockerClient, image: str) -> None:
        self.client, self.image = client, image

    def make(self, labels: dict[str, str]) -> Any:
        return self.client.containers.run(self.image, ["sleep", "600"], labels=labels, detach=True)

    def ids(self) -> set[str]:
        return {each.id for each in self.client.containers.list(filters={"ancestor": self.image})}


@pytest.fixture
def made(client: docker.DockerClient, image: str) -> Iterator[Made]:
    yield Made(client, image)
    for each in client.containers.list(all=True, filters={"ancestor": image}):
        each.remove(force=True)


@pytest.fixture
def identity(database: Database) -> str:
    with database.session() as conn:
        return runtime.database_identity(conn)


def test_the_container_of_a_cancelled_step_ends_though_its_worker_was_killed(
    made: Made, database: Database, settings: Settings, tmp_path: Path
) -> None:
    """No other attempt comes, which would have removed it."""
    engine = Engine(database, settings)
    engine.register(SLEEPER)
    with a_crew(settings, tmp_path, 1) as crew:
        execution = engine.start("sleeper", payload={"image": made.image})
        wait_for(made.ids, limit=40)
        crew.workers[0].kill()
        engine.orchestrator.cancel(execution)
        assert len(made.ids()) == 1
        crew.replace(0)
        assert engine.wait(execution) == "cancelled"
        wait_for(lambda: not made.ids(), limit=90)
    assert f"the container of {execution}:start:1:-1, which worker" in crew.log.read_text()


def test_a_container_goes_on_while_its_worker_has_its_job(
    made: Made, database: Database, settings: Settings, identity: str
) -> None:
    """A job that another worker has, another visit of the step, another execution: each is none of the worker's."""
    engine = Engine(database, settings)
    engine.register(SLEEPER)
    execution = engine.start("sleeper", payload={"image": made.image})
    with database.session() as conn:
        conn.execute(
            "UPDATE queue SET status = 'leased', worker_id = 'alive', lease_until = now() + interval '1 hour',"
            " attempts = 1 WHERE execution_id = %s",
            [execution],
        )
    left = LeftContainers(database, "another")

    def make(key: str, worker: str, **other: str) -> str:
        return str(made.make({DATABASE_LABEL: identity, WORKER_LABEL: worker, KEY_LABEL: f"{key}", **other}).id)

    kept = {make(f"{execution}:start:1:-1", "alive"), make(f"{execution}:start:1:-1:2", "alive")}
    for key in (f"{execution}:start:2:-1", f"{execution}:start:1:-12", f"{execution + 1}:start:1:-1"):
        make(key, "alive")
    make(f"{execution}:start:1:-1", "dead")
    assert len(made.ids()) == 6
    left.remove()
    assert made.ids() == kept
    left.remove()
    assert made.ids() == kept


def test_containers_of_others_are_left_alone(made: Made, database: Database, identity: str) -> None:
    """Those of another database, those whose labels are not whole, and somebody's who uses the same words."""
    whole = {DATABASE_LABEL: identity, WORKER_LABEL: "dead", KEY_LABEL: "1:start:1:-1"}
    for change in ({DATABASE_LABEL: f"{identity}0"}, {KEY_LABEL: "mine"}, {KEY_LABEL: f"{'9' * 30}:a:1:-1"}):
        made.make({**whole, **change})
    for name in whole:
        made.make({label: value for label, value in whole.items() if label != name})
    made.make({})
    LeftContainers(database, "another").remove()
    assert len(made.ids()) == 7


def test_two_databases_of_one_server_are_not_taken_for_one(identity: str, make_settings: Any) -> None:
    """Not even where one is a copy of the other."""
    with open_database(make_settings()) as other, other.session() as conn:
        assert runtime.database_identity(conn) != identity


def test_without_an_engine_nothing_is_looked_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    left = LeftContainers(database, "another")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setattr(database, "connect", None)
    left.remove()

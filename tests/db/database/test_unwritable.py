"""A database that cannot be written to: the server says so, is not ready, and serves whoever only reads."""

import logging

import psycopg
import pytest

from noetl.database.connection.connect import Database, translate
from noetl.errors import DatabaseError
from noetl.orchestrator.commands import Orchestrator
from noetl.server.app import build_app
from noetl.server.service import Service
from noetl.settings import Settings
from tests.support.api import ApiClient
from tests.support.waiting import wait_for

QUICK = """apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: test, path: quick}
workflow:
  - {step: start, type: python, code: 'def main(): return 1'}
"""


def read_only(admin: Database, switch: str) -> None:
    with admin.connect() as conn:
        conn.execute("SET default_transaction_read_only = off")
        name = conn.info.dbname
        conn.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {switch}".encode())
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
                     [name, conn.info.backend_pid])  # fmt: skip


def test_a_read_only_database_is_not_ready_and_says_why(
    database: Database, settings: Settings, admin: Database, caplog: pytest.LogCaptureFixture
) -> None:
    orchestrator = Orchestrator(database, settings)
    orchestrator.register(QUICK, filename="quick.yaml")
    service = Service(database, orchestrator)
    api = ApiClient(build_app(service, token="token", bound="127.0.0.1"), token="token")
    assert api.get("/readyz").status_code == 200
    read_only(admin, "on")
    try:
        with caplog.at_level(logging.WARNING, "noetl"):
            wait_for(lambda: api.get("/readyz").status_code == 503)
            answers = [api.get("/readyz"), api.post("/api/executions", json={"path": "quick"})] * 3
        for answer in answers:
            assert answer.status_code == 503
            assert answer.json()["error"]["type"] == "database"
            assert "read-only" in answer.json()["error"]["message"]
        assert api.get("/api/executions").status_code == 200
        said = [record for record in caplog.records if record.getMessage().startswith("calls cannot be served")]
        assert len(said) == 1
    finally:
        read_only(admin, "off")
    assert api.get("/readyz").status_code == 200
    assert api.post("/api/executions", json={"path": "quick"}).status_code in (200, 201)


def test_a_disk_that_is_full_is_said_as_it_is() -> None:
    """Not as a fault of the server's, with a traceback for each request."""
    for error in (psycopg.errors.DiskFull("could not extend file"), psycopg.errors.IoError("could not read block")):
        with pytest.raises(DatabaseError, match="could not"), translate():
            raise error


def test_a_write_that_failed_makes_the_server_unready_until_one_succeeds(
    database: Database, settings: Settings
) -> None:
    """On a full disk everything can still be read."""
    service = Service(database, Orchestrator(database, settings))
    service.wrote(DatabaseError("the disk is full"))
    assert str(service.look()) == "the disk is full"
    with service.session() as conn:
        conn.execute("SELECT 1")
    service.wrote(None)
    assert service.look() is None

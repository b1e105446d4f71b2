"""What commands read without a server, where no route has checked their parameters."""

import pytest

from noetl.database import read
from noetl.database.connection.connect import Database
from noetl.errors import NotFound
from noetl.settings import Settings
from tests.support.working import Engine

PLAYBOOK = """apiVersion: noetl.io/v1
kind: Playbook
metadata: {name: test, path: test}
workflow:
  - {step: start, next: [end]}
  - {step: end}
"""


@pytest.mark.parametrize("version", [2, 2**31, 2**63])
def test_a_version_that_is_not_there_is_not_found(database: Database, settings: Settings, version: int) -> None:
    Engine(database, settings).register(PLAYBOOK)
    with database.session() as conn, pytest.raises(NotFound, match=f"no version {version}; its newest is 1"):
        read.show_catalog(conn, "test", version)
    with database.session() as conn:
        assert read.show_catalog(conn, "test", 1) == read.show_catalog(conn, "test")

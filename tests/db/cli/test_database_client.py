"""Reading without a server."""

from contextlib import closing

import pytest

from noetl.cli.connection.client import segment
from noetl.cli.connection.database_client import DatabaseClient
from noetl.errors import NotFound
from noetl.settings import Settings


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"/api/executions/{segment('')}", "there is nothing at /api/executions/"),
        (f"/api/executions/1/steps/{segment('')}", "there is nothing at /api/executions/1/steps/"),
        (f"/api/catalog/{segment('')}", "the catalog has nothing at ''"),
    ],
)
def test_an_empty_name_is_not_found_as_by_a_server(settings: Settings, path: str, message: str) -> None:
    with closing(DatabaseClient(settings)) as client, pytest.raises(NotFound, match=message):
        client.get(path)

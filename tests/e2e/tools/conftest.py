"""`bench`: a worker with a vault of credentials, and a service that they log in to."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from noetl.database.connection.connect import Database
from noetl.settings import Settings
from tests.e2e.conftest import check
from tests.e2e.tools.bench import KEY, PASSWORD, TOKEN, Bench
from tests.support.stub import serving
from tests.support.vault import Vault
from tests.support.working import working


@pytest.fixture(scope="module")
def bench(
    shared_settings: Settings, shared_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    vault = Vault(shared_database, shared_settings, KEY)
    environment = {"SERVICE_TOKEN": TOKEN, "NUMBER": "48151623", "NOETL_HIDDEN": "canary"}
    settings = replace(vault.settings, environment=environment)
    with serving() as stub, working(settings, slots=4):
        bench = Bench(shared_database, settings)
        bench.vault, bench.stub = vault, stub
        vault.put("service", "bearer", token=TOKEN)
        vault.put("login", "basic", username="ada", password=PASSWORD)
        vault.put("key", "api_key", value=TOKEN)
        vault.put("query_key", "api_key", value=TOKEN, name="k", **{"in": "query"})
        vault.put("own", "header", name="X-Own", value=TOKEN)
        vault.put("database", "postgres", host="h", database="d", user="u", password=PASSWORD)
        vault.put("many", "generic", one=TOKEN, two="second-value", three={"deep": ["inner-value"]})
        yield bench
        check(settings)

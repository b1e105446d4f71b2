"""A pump for tests that call what its loop calls."""

from noetl.database.connect import Database
from noetl.database.keys import Keys
from noetl.orchestrator.execution_cache import Views
from noetl.settings import Settings
from noetl.worker.executor import Slots
from noetl.worker.loop import Pump
from noetl.worker.secrets.inject import Secrets
from noetl.worker.secrets.seals import Seals
from noetl.worker.secrets.sources import Sources


def a_pump(database: Database, settings: Settings, slots: Slots) -> Pump:
    """Return a pump that nobody runs, named `pump`."""
    keys = Keys(settings)
    secrets = Secrets(Sources(database, settings, keys), Seals(keys))
    return Pump(database, settings, Views(database.schema, {}), slots, secrets, "pump", pools=("default",))

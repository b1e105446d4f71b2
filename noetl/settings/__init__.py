"""Settings: flag > environment > `.env` in the working folder > default, gathered into a frozen `Settings`.

A wrong value is reported when it is used, by one sentence that names the setting. A missing one is reported likewise,
by `Settings.admin_conninfo`.
"""

from noetl.settings.load import TABLE, load_settings
from noetl.settings.model import DEFAULT_PORT, Settings
from noetl.settings.parsers import encryption_keys

__all__ = ["DEFAULT_PORT", "TABLE", "Settings", "encryption_keys", "load_settings"]

"""`noetl db`: the schema and the embedded Postgres."""

from noetl.cli.db.command import app

__all__ = ["app"]

"""`noetl run`: everything in one process, without a server."""

from noetl.cli.run.command import run

__all__ = ["run"]

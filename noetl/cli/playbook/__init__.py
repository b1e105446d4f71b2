"""`noetl playbook`: lint, show, draw, test and record files."""

from noetl.cli.playbook.command import app

__all__ = ["app"]

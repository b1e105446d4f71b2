"""`noetl execute`: playbook, status, result, watch, logs, list, cancel; and the report of an execution to people."""

from noetl.cli.execute.command import app

__all__ = ["app"]

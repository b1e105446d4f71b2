"""`noetl dev`: all processes that playbooks need, in the foreground."""

from noetl.cli.dev.command import dev

__all__ = ["dev"]

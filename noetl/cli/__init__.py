"""The command `noetl`: one module per noun, imported when it is called."""

from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process and end it with 0, 1 (failed or cancelled) or 2 (usage, not reachable)."""
    from noetl.cli.app import run

    run()

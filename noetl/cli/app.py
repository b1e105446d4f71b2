"""The command line: its nouns put together, and each error as one sentence with an exit code."""

import os
import sys
from importlib import import_module
from typing import NoReturn

import typer

from noetl import __version__
from noetl.cli.terminal import complain
from noetl.errors import NoetlError

NOUNS = ("server", "worker", "db", "catalog", "credential", "execute", "playbook")
COMMANDS = ("dev", "run", "export")

LONG_RUNNING = ("server", "worker", "run", "dev")
"""Commands that run long enough for a step to read their environment."""

HELP = """Run YAML playbooks durably with nothing but Postgres.

Exit codes: 0 completed, 1 failed or cancelled, 2 wrong usage or not reachable."""


def build(only: str | None = None) -> typer.Typer:
    """Return the command line, or as much of it as the noun `only` needs: the rest is not imported."""
    app = typer.Typer(
        name="noetl",
        help=HELP,
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        version: bool = typer.Option(False, "--version", help="Print the version.", callback=_version, is_eager=True),
    ) -> None:
        pass

    for noun in NOUNS:
        if only is None or only == noun:
            app.add_typer(import_module(f"noetl.cli.{noun}").app, name=noun)
    for name in COMMANDS:
        if only is None or only == name:
            app.command(name)(getattr(import_module(f"noetl.cli.{name}"), name))
    return app


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


def _first_word() -> str | None:
    """Return the noun of the command, also of one that a shell wants to complete: only that is imported."""
    completing = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS")
    words = completing.split() if completing and "_NOETL_COMPLETE" in os.environ else sys.argv
    return words[1] if len(words) > 1 else None


def run() -> NoReturn:
    """Run the command line; never show a traceback, unless NOETL_DEBUG asks for it."""
    debug = os.environ.get("NOETL_DEBUG", "") not in ("", "0", "false")
    first = _first_word()
    if first in LONG_RUNNING:
        from noetl.process_memory import hide_environment

        hide_environment()
    try:
        build(first if first in (*NOUNS, *COMMANDS) else None)()
    except NoetlError as error:
        if debug:
            raise
        complain(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone: say nothing, and let the interpreter close a harmless stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # the outermost loop
        if debug:
            raise
        complain(f"{type(error).__name__}: {error}; NOETL_DEBUG=1 shows where")
        sys.exit(2)
    sys.exit(0)

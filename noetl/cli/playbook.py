"""`noetl playbook`: what one does with a playbook's file before it is run."""

import typer

from noetl.cli.playbook_test import run_playbook_tests

app = typer.Typer(help="Playbook files: test.", no_args_is_help=True)
app.command("test")(run_playbook_tests)

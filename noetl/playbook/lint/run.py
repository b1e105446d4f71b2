"""The list of checks, which run when somebody writes or registers a playbook.

One that stands in the catalog is loaded without them, since they may have become stricter.
"""

from collections.abc import Callable
from typing import Final

from noetl.playbook.lint.arguments import check_arguments
from noetl.playbook.lint.commands import check_commands
from noetl.playbook.lint.credentials import check_credentials
from noetl.playbook.lint.cycles import check_cycles
from noetl.playbook.lint.dead_steps import check_dead_steps
from noetl.playbook.lint.expressions import check_expressions
from noetl.playbook.lint.field_rules import check_field_rules
from noetl.playbook.lint.handlers import check_handlers
from noetl.playbook.lint.loops import check_loops
from noetl.playbook.lint.names import check_names
from noetl.playbook.lint.number_texts import check_number_texts
from noetl.playbook.lint.overwritten_files import check_overwritten_files
from noetl.playbook.lint.python_steps import check_python_steps
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.lint.truth_words import check_truth_words

CHECKS: Final[tuple[Callable[[PlaybookSource], None], ...]] = (
    check_cycles,
    check_handlers,
    check_dead_steps,
    check_commands,
    check_field_rules,
    check_loops,
    check_credentials,
    check_python_steps,
    check_arguments,
    check_names,
    check_expressions,
    check_number_texts,
    check_truth_words,
    check_overwritten_files,
)


def run_checks(source: PlaybookSource) -> None:
    """Report the findings of all checks to the reader of a playbook."""
    for check in CHECKS:
        check(source)

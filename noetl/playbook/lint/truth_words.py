"""The check of truth words: `yes`, `on`, `no`, `off` in the workload, which YAML 1.1 read as truth values, and are
text."""

from collections.abc import Mapping
from typing import Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.source import PlaybookSource

_TRUTH_WORDS: Final[Mapping[str, str]] = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def check_truth_words(source: PlaybookSource) -> None:
    """Hint at such words where they stand without quotes."""
    lines = source.reader.lines
    for scalar in source.workload.texts() if source.workload is not None else ():
        value = _TRUTH_WORDS.get(scalar.value.lower())
        line = lines[scalar.line - 1] if scalar.line <= len(lines) else ""
        if value and line.startswith(scalar.value, scalar.column - 1):
            message = (
                f"{scalar.value} is text: write {value} for a truth value, or '{scalar.value}' in quotes for the text"
            )
            source.reader.report(scalar.line, scalar.column, "hint", Code.VALUE, message)

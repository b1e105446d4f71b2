"""The check of truth words in the workload: `yes`, `on`, `no`, `off` are text, and were truth values in YAML 1.1."""

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.yaml.scalars import TRUTH_WORDS


def check_truth_words(source: PlaybookSource) -> None:
    """Hint at such words where they stand without quotes."""
    lines = source.reader.lines
    for scalar in source.workload.texts() if source.workload is not None else ():
        value = TRUTH_WORDS.get(scalar.value.lower())
        line = lines[scalar.line - 1] if scalar.line <= len(lines) else ""
        if value and line.startswith(scalar.value, scalar.column - 1):
            message = (
                f"{scalar.value} is text: write {value} for a truth value, or '{scalar.value}' in quotes for the text"
            )
            source.reader.report(scalar.line, scalar.column, "hint", Code.VALUE, message)

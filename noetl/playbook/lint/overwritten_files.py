"""The check of overwritten files: those that a step behind a pager writes again with every page."""

from collections.abc import Iterator

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.scopes import Section
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.lint.template_reads import reads_of
from noetl.playbook.read.reader import Reader
from noetl.playbook.yaml.tree import Node

_SAME_ON_EVERY_PAGE: tuple[str, ...] = ("workload", "execution_id", "env", "job")
"""Names that are the same on every page."""


def check_overwritten_files(source: PlaybookSource) -> None:
    """Hint at steps that run once for each pass of a cycle before them and write the same file each time."""
    for section in source.sections:
        _check_section(source.reader, section)


def _check_section(reader: Reader, section: Section) -> None:
    for name, step in section.steps.items():
        node = section.nodes[name]
        source = section.flow.repeated_by(name) if not step.loops else None
        if source is None:
            continue
        for save in _saves(node, step.type):
            path = save.value.get("path")
            storage = save.value.get("storage")
            if path is not None and storage is not None and storage.value == "file" and _same(path):
                message = (
                    f"the step {name!r} runs each time that {source!r} leads to it, and writes the same file each time:"
                    " add 'join: true' to run it once, after the last time"
                )
                reader.report(path.line, path.column, "hint", Code.EACH_PAGE, message)


def _saves(node: Node, type_: str) -> Iterator[Node]:
    if type_ == "save" and "task" not in node.value:
        yield node
    block = node.value.get("save")
    if block is not None and block.kind == "mapping":
        yield block


def _same(path: Node) -> bool:
    """Whether a path is the same whenever it is rendered, for all that is known."""
    return isinstance(path.value, str) and all(read.name in _SAME_ON_EVERY_PAGE for read in reads_of(path.value).reads)

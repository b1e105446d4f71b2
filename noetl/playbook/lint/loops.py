"""The check of loops: those over an empty list, and orders that are the same for every item."""

from collections.abc import Iterator

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.templates.template import is_template
from noetl.playbook.yaml.tree import Node


def check_loops(source: PlaybookSource) -> None:
    """Report loops over an empty list, and an `order_by` that is the same for every item."""
    for owner in source.steps_and_tasks:
        for level in owner.levels if owner.step is not None else ():
            items, order = level.value.get("in"), level.value.get("order_by")
            if items is not None and items.kind == "list" and not items.value:
                message = f"the loop of {owner.label} runs over an empty list: it does nothing"
                source.reader.warning(items, Code.EMPTY_LOOP, message)
            if order is not None and not order.null and not any(map(is_template, _texts(order))):
                message = f"order_by in loop of {owner.label} is the same for every item: write '{{{{ item.name }}}}'"
                source.reader.error(order, Code.VALUE, message)


def _texts(node: Node) -> Iterator[str]:
    """Yield the texts in a value."""
    for item in node.value if node.kind == "list" else [node]:
        if isinstance(item.value, str):
            yield item.value

"""The texts of numbers, for fields whose values are texts."""

from dataclasses import replace

from noetl.playbook.yaml.tree import Node


def written_alike(text: str, own: str) -> bool:
    """Whether a number's text is its own; hexadecimal and octal ones are written so on purpose."""
    return text == own or text.startswith(("0x", "0o"))


def as_texts(node: Node) -> Node:
    """Return a mapping with its numbers as the texts in the file, for fields whose values are texts."""
    if node.kind == "scalar":
        number = isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
        return replace(node, value=node.text) if number else node
    if node.kind == "list":
        return replace(node, value=[as_texts(item) for item in node.value], _plain=None)
    return replace(node, value={name: as_texts(item) for name, item in node.value.items()}, _plain=None)

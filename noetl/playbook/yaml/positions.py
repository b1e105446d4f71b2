"""The positions of characters of a scalar in the file."""

from collections.abc import Sequence

from noetl.playbook.yaml.tree import Node

_MAX_SEARCHED_LINES = 400
"""Lines of a scalar that are searched, where its text stands in the file otherwise than it reads."""


def place_in(lines: Sequence[str], node: Node, index: int, token: str) -> tuple[int, int]:
    """Return line and column of `token`, which begins at `index` of a scalar's text.

    `lines` are the file's. Exact for plain and literal text; where the file writes the text otherwise (escapes,
    folded lines), the token is searched; where it is not found, and where the file has the text in Base64, the
    scalar's own place is returned.
    """
    if node.apart:
        return node.line, node.column  # written otherwise: no sign of it is in the file
    text: str = node.value
    place = _in_block(lines, node, text, index) if node.block else _in_line(lines, node, text, index)
    return place or _searched(lines, node, text[:index].count(token), token) or (node.line, node.column)


def _in_block(lines: Sequence[str], node: Node, text: str, index: int) -> tuple[int, int] | None:
    number = text.count("\n", 0, index)
    start = text.rfind("\n", 0, index) + 1
    own = text[start:].split("\n", 1)[0]
    if node.line + number >= len(lines):
        return None
    line = lines[node.line + number]
    if not line.endswith(own) or line[: len(line) - len(own)].strip():
        return None  # folded
    return node.line + number + 1, len(line) - len(own) + index - start + 1


def _in_line(lines: Sequence[str], node: Node, text: str, index: int) -> tuple[int, int] | None:
    if not 0 < node.line <= len(lines):
        return None
    line, at = lines[node.line - 1], node.column - 1
    at += line[at : at + 1] in ("'", '"')
    return (node.line, at + index + 1) if line.startswith(text[: index + 1], at) else None


def _searched(lines: Sequence[str], node: Node, before: int, token: str) -> tuple[int, int] | None:
    """Return the place of a token behind `before` others like it."""
    at = node.column - 1
    for number in range(node.line - 1, min(len(lines), node.line + _MAX_SEARCHED_LINES)):
        while token and (place := lines[number].find(token, at)) >= 0:
            if before == 0:
                return number + 1, place + 1
            before -= 1
            at = place + len(token)
        at = 0
    return None

"""Older spellings, turned into the canonical one in front of the model, so that nothing behind knows them.

The tree goes in as it was read and comes out canonical; what is moved keeps its line and column. Each spelling that
was replaced is a note: `lint` points to the canonical one with it, and nothing else looks at it.
"""

from noetl.errors import Problem
from noetl.playbook.yamltree import Node


def normalise(root: Node, filename: str) -> tuple[Node, list[Problem]]:
    """Return a document in canonical spelling, and a note (severity `hint`) for each spelling that was replaced."""
    return root, []

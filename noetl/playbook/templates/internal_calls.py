"""Internal calls of compiled templates: methods of the environment that neither a template nor data can name.

In the tree of a template they are attributes of the environment, which have no spelling; they stand in no table of
filters, where `map(name)` looks names up at run time.
"""

from typing import Final

from jinja2 import nodes

_METHODS: Final = {"iterate", "refer", "take", "check_condition"}


def internal_call(method: str, *args: nodes.Node, line: int) -> nodes.Call:
    """Return the node that calls one of the environment's own methods."""
    assert method in _METHODS
    return nodes.Call(nodes.EnvironmentAttribute(method), list(args), [], None, None, lineno=line)


def is_internal_call(node: nodes.Node, method: str) -> bool:
    """Whether a node is such a call."""
    return (
        isinstance(node, nodes.Call) and isinstance(node.node, nodes.EnvironmentAttribute) and node.node.name == method
    )

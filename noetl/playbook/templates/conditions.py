"""The conditions of playbooks: which values are true, which texts are ambiguous, and the filter `bool`.

JSON's values are true or false by themselves. Text is not: `false` as text would be true for no better reason than
having letters, so text that reads as a boolean, a number or nothing is an error, and all other text is true unless it
is empty.
"""

import re
from typing import Any, Final

from jinja2 import nodes
from jinja2.exceptions import FilterArgumentError

from noetl.errors import TemplateError
from noetl.playbook.templates.internal_calls import internal_call
from noetl.playbook.templates.result_views import raw
from noetl.playbook.values import brief

_BOOLEANS: Final = {
    **dict.fromkeys(("true", "yes", "on", "y", "t"), True),
    **dict.fromkeys(("false", "no", "off", "n", "f"), False),
}
_DIGITS: Final = {"1": True, "0": False}
_NOTHING: Final = frozenset({"", "none", "null", "nil", "~", "undefined", "[]", "{}", '""', "''"})
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|[+-]?(?:nan|inf(?:inity)?)")
_MAX_WORD_CHARACTERS: Final = 64
"""Characters of a text that can read as anything but itself."""


class AmbiguousCondition(TemplateError):
    """A condition is a text that could be meant as true and as false."""


def check_condition(value: object) -> Any:
    """Return the value of a condition. Raises `AmbiguousCondition` for a text that is neither true nor false."""
    reason = ambiguity(value) if isinstance(value, str) else None
    if reason:
        raise AmbiguousCondition(reason)
    return value


def ambiguity(text: str) -> str | None:
    """Return why a text is no condition, with the way to write one; None where its truth is clear.

    >>> ambiguity("https://example.com/?page=2") is None and ambiguity("") is None
    True
    """
    word = text.strip() if text else "-"
    if len(word) > _MAX_WORD_CHARACTERS:
        return None
    word = word.casefold()
    if word not in _BOOLEANS and word not in _NOTHING and not _NUMBER.fullmatch(word):
        return None
    if word in _BOOLEANS or word in _DIGITS:
        advice = "write '... | bool' to read it as a truth value, or a comparison"
    elif word in _NOTHING:
        advice = f"write a comparison, as '... == {text!r}'" if word else "write '... | trim', or a comparison"
    else:
        advice = "write '... | float' to read it as a number, or a comparison"
    return (
        f"the text {text!r} is no condition, since a text that reads as a truth value, a number or nothing could be"
        f" meant either way: {advice}"
    )


def to_bool(value: object) -> bool:
    """Return the truth value that a value stands for: the filter `bool`.

    Truth values, 1 and 0, null (false), and the texts true, yes, on, y, t, 1 and false, no, off, n, f, 0 in any case,
    with blanks around; an empty text is false. Raises `FilterArgumentError` for everything else.
    """
    value = raw(value)
    if value is None:
        return False
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and len(value) <= _MAX_WORD_CHARACTERS:
        word = value.strip().casefold()
        truth = _BOOLEANS.get(word, _DIGITS.get(word)) if word else False
        if truth is not None:
            return truth
    raise FilterArgumentError(
        f"bool: {brief(value, 80)} is no truth value: it reads true, yes, on, 1, false, no, off, 0 and nothing else"
    )


# ---- in the tree of a condition --------------------------------------------------------------------------------------


def guarded_condition(node: nodes.Expr) -> nodes.Expr:
    """Return the expression of a condition with each operand that decides it run through `check_condition`.

    These are the operands of `not`, `and`, `or`, and the test of `a if b else c`, as far as the condition's own value
    comes from them.
    """
    match node:
        case nodes.Not():
            node.node = guarded_condition(node.node)
        case nodes.And() | nodes.Or():
            node.left, node.right = guarded_condition(node.left), guarded_condition(node.right)
        case nodes.CondExpr():
            node.test, node.expr1 = guarded_condition(node.test), guarded_condition(node.expr1)
            node.expr2 = guarded_condition(node.expr2) if node.expr2 is not None else None
        case nodes.Compare() | nodes.Test():
            pass
        case _:
            return internal_call("check_condition", node, line=node.lineno)
    return node

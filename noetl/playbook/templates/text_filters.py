"""The filters of templates that make text: Jinja's, each charged before it works, and linear in what it takes."""

import base64
import html
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from jinja2 import Environment, filters, pass_environment, pass_eval_context
from jinja2.exceptions import FilterArgumentError, SecurityError
from jinja2.nodes import EvalContext
from markupsafe import escape

from noetl.playbook.templates.budget import BUDGET, MAX_NUMBER, plain_value, text
from noetl.playbook.templates.secret_references import APOSTROPHE, in_json
from noetl.playbook.values import brief

_WORD: Final = re.compile(r"\w+")
_LONG_WORD: Final = 200
"""Characters beyond which a word is no link, and is wrapped without a look at its hyphens."""


def _of_text(change: Callable[[str], str], grows: int = 1) -> Callable[[Any], str]:
    """Return a filter of a text alone, whose result has up to `grows` times as many characters."""

    def call(value: object) -> str:
        source = text(value)
        BUDGET.charge_steps(1 + len(source) // 50)
        BUDGET.charge_characters(len(source) * grows)
        return change(source)

    return call


def _title(source: str) -> str:
    return filters.do_title(source)


# ---- JSON and Base64 ---------------------------------------------------------------------------------------------


def fromjson(value: object) -> Any:
    """Return the value that a JSON text stands for."""
    if not isinstance(value, str):
        raise FilterArgumentError(f"fromjson takes text, not {type(value).__name__}")
    BUDGET.charge_characters(len(value))
    BUDGET.charge_steps(1 + (value.count(",") + value.count("[") + value.count("{")) // 2)
    return json.loads(value, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def tojson(value: object, indent: int | None = None) -> str:
    """Return a value as JSON text, which may stand within apostrophes: its own are written as \\u0027."""
    plain = plain_value(value)
    if indent is not None:
        if not isinstance(indent, int) or not 0 <= indent <= 16:
            raise FilterArgumentError("tojson: indent is between 0 and 16")
        _charge_depths(plain, indent, 1)
    json_text = json.dumps(plain, ensure_ascii=False, indent=indent)
    return text(in_json(json_text.replace("'", APOSTROPHE)))


def _charge_depths(value: object, width: int, depth: int) -> None:
    """Take from the budget what each part of a value costs on its level: `width` characters for each around it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    BUDGET.charge_steps(3 * len(inner))
    BUDGET.charge_characters(len(inner) * (1 + width * depth))
    for item in inner:
        if isinstance(item, (dict, list)):
            _charge_depths(item, width, depth + 1)


def pprint(value: object) -> str:
    """Jinja's `pprint`, bounded."""
    plain = plain_value(value)
    _charge_repeats(plain, 1)
    return filters.do_pprint(plain)


def _charge_repeats(value: object, depth: int) -> None:
    """Take from the budget what each part of a value costs where it is written anew for all that are around it."""
    if isinstance(value, str):
        BUDGET.charge_characters(len(value) * 4 * depth)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    BUDGET.charge_steps(20 * depth * (1 + len(inner)))
    for item in inner:
        if isinstance(item, (dict, list, str)):
            _charge_repeats(item, depth + 1)


def b64encode(value: object) -> str:
    """Return text, as UTF-8, in Base64."""
    return text(base64.b64encode(text(value).encode()).decode())


def b64decode(value: object) -> str:
    """Return the UTF-8 text that Base64 stands for."""
    return text(base64.b64decode(text(value), validate=True).decode())


# ---- markup and links --------------------------------------------------------------------------------------------


def striptags(value: object) -> str:
    """Jinja's `striptags`: without comments and tags, blanks made one, in one go through the text."""
    source = text(value)
    BUDGET.charge_steps(1 + len(source) // 20)
    pieces, at, comments = [], 0, True
    while (start := source.find("<", at)) >= 0:
        BUDGET.charge_steps(2)
        end = source.find("-->", start) + 2 if comments and source.startswith("<!--", start) else 1
        if end == 1:  # no comment, or one without an end
            comments = comments and not source.startswith("<!--", start)
            end = source.find(">", start)
        if end < 0:
            break
        pieces.append(source[at:start])
        at = end + 1
    return html.unescape(" ".join("".join([*pieces, source[at:]]).split()))


def urlencode(value: object) -> str:
    """Jinja's `urlencode`, bounded."""
    plain = plain_value(value)
    if isinstance(plain, dict):
        pairs = [(str(key), _as_text(item)) for key, item in plain.items()]
    elif isinstance(plain, list):
        pairs = [(_as_text(key), _as_text(item)) for key, item in plain]
    else:
        return filters.do_urlencode(_as_text(plain))
    BUDGET.charge_steps(20 * len(pairs))
    return filters.do_urlencode(pairs)


def _as_text(value: object) -> str:
    source = text(value)
    BUDGET.charge_steps(1 + len(source) // 20)
    BUDGET.charge_characters(12 * len(source))
    return source


@pass_eval_context
def urlize(context: EvalContext, value: object, *args: Any, **kwargs: Any) -> str:
    """Jinja's `urlize`, word by word; a word beyond 200 characters is no link."""
    arguments_size = sum(len(text(each)) for each in (*args, *kwargs.values()))
    pieces = []
    for piece in re.split(r"(\s+)", text(value)):
        BUDGET.charge_steps(30 + arguments_size // 50 + len(piece) ** 2 // 500 if len(piece) <= _LONG_WORD else 5)
        short = len(piece) <= _LONG_WORD and not piece.isspace()
        link = filters.do_urlize(context, piece, *args, **kwargs) if short else str(escape(piece))
        BUDGET.charge_characters(len(link))
        pieces.append(str.__str__(link))
    return "".join(pieces)


# ---- lines and words ---------------------------------------------------------------------------------------------


@pass_environment
def wordwrap(
    environment: Environment,
    value: object,
    width: int = 79,
    break_long_words: bool = True,
    wrapstring: str | None = None,
    break_on_hyphens: bool = True,
) -> str:
    """Jinja's `wordwrap`; a line with a word beyond 200 characters is cut without a look at hyphens."""
    if not isinstance(width, int) or not 1 <= width <= MAX_NUMBER:
        raise SecurityError(f"wordwrap: a width is between 1 and {MAX_NUMBER:,}, not {brief(width)}")
    end = environment.newline_sequence if wrapstring is None else text(wrapstring)
    lines: list[str] = []
    for line in text(value).splitlines():
        words = line.split()
        longest = max(map(len, words), default=0)
        BUDGET.charge_steps(5 + len(line) // 2)
        if longest <= _LONG_WORD:
            BUDGET.charge_steps(sum(len(word) ** 2 for word in words) // 20)
            made = filters.do_wordwrap(environment, line, width, break_long_words, "\n", break_on_hyphens).split("\n")
        else:
            made = list(_wrapped(words, width, break_long_words))
        BUDGET.charge_characters(len(line) + len(made) * len(end))
        lines += made
    return end.join(lines)


def _wrapped(words: list[str], width: int, break_long: bool) -> Iterator[str]:
    """Yield lines of whole words, one blank between them; words beyond the width are cut where `break_long` says so."""
    line: list[str] = []
    size = 0
    for word in words:
        pieces = [word[at : at + width] for at in range(0, len(word), width)] if break_long else [word]
        BUDGET.charge_steps(1 + len(pieces))
        for piece in pieces:
            if line and size + 1 + len(piece) > width:
                yield " ".join(line)
                line, size = [], 0
            size += len(piece) + bool(line)
            line.append(piece)
    if line:
        yield " ".join(line)


@pass_environment
def truncate(
    environment: Environment,
    value: object,
    length: int = 255,
    killwords: bool = False,
    end: str = "...",
    leeway: int | None = None,
) -> str:
    """Jinja's `truncate`."""
    source, tail = text(value), text(end)
    if not isinstance(length, int) or length < len(tail):
        raise FilterArgumentError(f"truncate: the length {brief(length)} is less than that of its end, {len(tail)}")
    if leeway is not None and (not isinstance(leeway, int) or leeway < 0):
        raise FilterArgumentError(f"truncate: the leeway {brief(leeway)} is no number from 0 on")
    BUDGET.charge_characters(length if length < len(source) else 0)
    return filters.do_truncate(environment, source, length, killwords, tail, leeway)


def indent(value: Any, width: Any = 4, first: bool = False, blank: bool = False) -> str:
    """Jinja's `indent`, bounded."""
    source = text(value)
    if isinstance(width, int) and width > MAX_NUMBER:
        raise SecurityError(f"indent: {brief(width)} is more than {MAX_NUMBER:,}")
    margin = text(width) if isinstance(width, str) else " " * width
    BUDGET.charge_steps(1 + len(source) // 10)
    BUDGET.charge_characters(len(source) + len(margin) * (len(source.splitlines()) + 1))
    return filters.do_indent(source, margin, first, blank)


def center(value: object, width: int = 80) -> str:
    """Jinja's `center`, bounded."""
    if not isinstance(width, int) or width > MAX_NUMBER:
        raise SecurityError(f"center: {brief(width)} is more than {MAX_NUMBER:,}")
    BUDGET.charge_characters(max(width, 0))
    return text(value).center(width)


def trim(value: object, chars: str | None = None) -> str:
    """Jinja's `trim`, bounded."""
    source = text(value)
    BUDGET.charge_steps(1 + len(source) * (1 + len(chars or "")) // 500)
    return source.strip(chars)


def replace(value: object, old: object, new: object, count: int | None = None) -> str:
    """Jinja's `replace`, bounded."""
    source, old, new = text(value), text(old), text(new)
    BUDGET.charge_steps(1 + len(source) // 50)
    count_replaced = source.count(old) if count is None or count < 0 else min(source.count(old), count)
    BUDGET.charge_characters(len(source) + count_replaced * len(new))
    return source.replace(old, new, -1 if count is None else count)


def wordcount(value: object) -> int:
    """Jinja's `wordcount`, bounded."""
    source = text(value)
    BUDGET.charge_steps(1 + len(source) // 8)
    return sum(1 for _ in _WORD.finditer(source))


capitalize: Final = _of_text(str.capitalize, 3)
escaped: Final = _of_text(lambda source: str(escape(source)), 5)
lower: Final = _of_text(str.lower, 3)
title: Final = _of_text(_title, 3)
upper: Final = _of_text(str.upper, 3)

"""Advice for files that are not YAML: a sentence that names the likely cause, at its place.

The parser tells where it could not go on; the cause often stands before: a quote that is never closed, a template that
no quotes surround. Each rule looks at the lines themselves, so that it holds whatever words the parser uses.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

_VALUE: Final = r"(?:^|(?<=[\s:\[,{-]))"
_TEMPLATE: Final = re.compile(_VALUE + r"(\{\{|\{%)")
_QUOTED_TEMPLATE: Final = re.compile(r"\{\{.*?\}\}[^\s,}\]]*")
_KEY: Final = re.compile(r"\s*(?:- +)*(?:\"[^\"]*\"|'[^']*'|[^\s:#'\"{\[][^:#]*?)\s*(:)(?=\s|$)")
_JOINED: Final = re.compile(r"\s*(?:- +)*([\w.-]+):(\S.*)")
_QUOTE: Final = re.compile(r"(?:^|[:,\[{-])\s*(?P<quote>[\"'])")
_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_SPECIAL: Final = "@`%*&!|>"
_LOOK_BACK: Final = 100
"""Lines in which an open quote is looked for."""


@dataclass(frozen=True, slots=True)
class _ParserPlace:
    """The place at which the parser stopped, and the begin of the value it was reading: lines and columns from 0."""

    lines: list[str]
    line: int
    column: int
    began_line: int
    began_column: int
    parser_message: str

    @property
    def row(self) -> str:
        return self.lines[self.line] if self.line < len(self.lines) else ""

    @property
    def began(self) -> str:
        return self.lines[self.began_line] if self.began_line < len(self.lines) else ""

    @property
    def rest(self) -> str:
        return self.row[self.column :]


Advice = tuple[int, int, str]
"""A line and a column from 0, and the sentence."""


def rows(text: str) -> list[str]:
    """Return a text's lines as the parser counts them.

    >>> rows("a\\r\\nb")
    ['a', 'b']
    """
    return _BREAK.split(text)


def explain(text: str, problem: Any) -> Advice:
    """Return place and sentence for an error of the parser (`yaml.MarkedYAMLError`)."""
    mark = problem.problem_mark or problem.context_mark
    began = problem.context_mark or mark
    message = ", ".join(part for part in (problem.context, problem.problem) if part)
    if mark is None:
        return 0, 0, f"invalid YAML: {message}"
    place = _ParserPlace(rows(text), mark.line, mark.column, began.line, began.column, message)
    for rule in _RULES:
        advice = rule(place)
        if advice is not None:
            line, column, sentence = advice
            return line, column, f"invalid YAML: {sentence}"
    return mark.line, mark.column, f"invalid YAML: {message}"


def open_template(row: str, column: int) -> tuple[int, str] | None:
    """Return column and sentence of a template in a row that no quotes surround, None where none begins before."""
    opening = next((one for one in _TEMPLATE.finditer(row[: column + 2]) if not _inside_quotes(row, one.start())), None)
    if opening is None:
        return None
    rest = _without_comment(row[opening.start() :])
    flow = row[: opening.start()].count("{") > row[: opening.start()].count("}") or "[" in row[: opening.start()]
    whole = _QUOTED_TEMPLATE.match(rest)
    value = whole[0] if flow and whole else rest
    return opening.start(), f"a value that begins with a template stands in quotes: write {_quoted(value)}"


# ---- rules -----------------------------------------------------------------------------------------------------------


def _template(place: _ParserPlace) -> Advice | None:
    for line in (place.line, place.began_line):
        row = place.row if line == place.line else place.began
        opening = open_template(row, place.column if line == place.line else len(row))
        if opening is not None:
            return line, opening[0], opening[1]
    return None


def _tab(place: _ParserPlace) -> Advice | None:
    indent = place.row[: len(place.row) - len(place.row.lstrip())]
    if "\t" in indent and place.column <= len(indent):
        return place.line, indent.index("\t"), "a tab stands in the indentation: put blanks in its place"
    if place.rest.startswith("\t"):
        return place.line, place.column, "a tab stands where YAML takes blanks only: put a blank in its place"
    return None


def _sign(place: _ParserPlace) -> Advice | None:
    """Text that begins with a sign that means something in YAML."""
    for column in (place.column, place.began_column):
        row = place.began if column != place.column else place.row
        line = place.began_line if column != place.column else place.line
        value = _without_comment(row[column:])
        if value[:1] and value[0] in _SPECIAL and row[:column].rstrip()[-1:] in (":", "-", "[", ",", "{"):
            return line, column, f"text that begins with {value[0]!r} stands in quotes: write {_quoted(value)}"
    return None


def _bullet(place: _ParserPlace) -> Advice | None:
    if "not allowed in this context" not in place.parser_message or place.rest[:2] not in ("- ", "? "):
        return None
    message = (
        f"text that begins with {place.rest[:2]!r} stands in quotes: write {_quoted(_without_comment(place.rest))}"
    )
    return place.line, place.column, message + (", or begin a list on the next line" if place.rest[0] == "-" else "")


def _open_quote(place: _ParserPlace) -> Advice | None:
    if "unexpected end of stream" in place.parser_message and "quoted" in place.parser_message:
        quote = place.began[place.began_column : place.began_column + 1]
        return place.began_line, place.began_column, f"the quote {quote} that opens here is never closed"
    return None


def _escape(place: _ParserPlace) -> Advice | None:
    if "unknown escape" not in place.parser_message:
        return None
    message = "a backslash in double quotes begins an escape: write it twice, or put the text in single quotes"
    return place.line, max(place.row.rfind("\\", 0, place.column + 1), 0), message


def _behind_a_quote(place: _ParserPlace) -> Advice | None:
    """Text goes on where a quoted one has ended, in its line or where a quote of an earlier line was open."""
    if "flow" in place.parser_message and re.match(r"[\w'\"-]+\s*:", place.rest):
        return None  # a comma is missing
    before = place.row[: place.column].rstrip()
    if before[-1:] not in ("'", '"') or not place.rest.strip():
        return _quote_of_before(place)
    quote = before[-1]
    opened = next((one for one in _QUOTE.finditer(before) if one["quote"] == quote), None)
    if opened is None or opened.end() > len(before) - 1:
        return _quote_of_before(place)
    if quote == "'" and place.rest[:1].isalpha():
        message = "an apostrophe ends the text in single quotes: write it twice (''), or put the text in double quotes"
    else:
        message = "the text goes on behind the closing quote: put all of it in quotes, inner ones of the other kind"
    return place.line, place.column, message


def _quote_of_before(place: _ParserPlace) -> Advice | None:
    if "expected key" not in place.parser_message and "expected ','" not in place.parser_message:
        return None
    for line in range(place.line - 1, max(place.line - _LOOK_BACK, -1), -1):
        row = place.lines[line]
        for quote in _QUOTE.finditer(row):
            at = quote.start("quote")
            if not _inside_quotes(row, at) and row.count(quote["quote"], at) % 2 and place.row.count(quote["quote"]):
                return line, at, f"the quote {quote['quote']} that opens here is not closed in its line"
    return None


def _colon(place: _ParserPlace) -> Advice | None:
    """A second `: ` in a line, or a line that is indented as if it went on with the text before."""
    if "mapping values are not allowed" not in place.parser_message:
        return None
    key = _KEY.match(place.row)
    if key is not None and key.start(1) < place.column:
        value = _without_comment(place.row[key.end(1) :].lstrip())
        message = f"a text with ': ' in it stands in quotes: write {_quoted(value)}"
        return place.line, len(place.row) - len(place.row[key.end(1) :].lstrip()), message
    return place.line, _indent(place.row), _indented(place)


def _indentation(place: _ParserPlace) -> Advice | None:
    if place.column == _indent(place.row) and place.rest.strip() and "expected" in place.parser_message and place.line:
        if "flow" in place.parser_message or "':'" in place.parser_message:
            return None
        return place.line, place.column, _indented(place)
    return None


def _bracket(place: _ParserPlace) -> Advice | None:
    if "flow" in place.parser_message:
        sign = place.began[place.began_column : place.began_column + 1]
        closing = {"{": "}", "[": "]"}.get(sign)
        if closing is None:
            return None
        if place.line > place.began_line:
            return place.began_line, place.began_column, f"the {sign!r} that opens here is never closed"
        return place.line, place.column, f"a ',' or a {closing!r} is missing before this"
    if place.rest[:1] in ("}", "]"):
        return place.line, place.column, f"this {place.rest[0]!r} closes nothing: remove it"
    return None


def _missing_colon(place: _ParserPlace) -> Advice | None:
    if "':'" not in place.parser_message:
        return None
    joined = _JOINED.fullmatch(place.began)
    if joined is not None:
        message = f"a blank is missing behind the ':': write {joined[1]}: {joined[2].strip()}"
    else:
        word = place.began[place.began_column :].strip()
        message = f"there is no ':' behind {word!r}: write a key, a ':', a blank and a value"
    return place.began_line, place.began_column, message


_RULES: Final = (
    *(_template, _tab, _bullet, _sign, _open_quote, _escape, _behind_a_quote, _colon, _indentation, _bracket),
    _missing_colon,
)
"""The first one that finds its cause counts."""


# ---- texts -----------------------------------------------------------------------------------------------------------


def _indented(place: _ParserPlace) -> str:
    own = _indent(place.row)
    rows = [row for row in place.lines[: place.line] if row.strip() and not row.lstrip().startswith("#")]
    before = {indent for row in rows for indent in (_indent(row), _indent(row.replace("-", " ", 1)))}
    near = sorted({*sorted(one for one in before if one < own)[-1:], *sorted(one for one in before if one > own)[:1]})
    around = f", lines before it by {' or '.join(map(str, near))}" if near else ""
    blanks = "blank" if own == 1 else "blanks"
    return f"the line is indented by {own} {blanks}{around}: give it the indentation of the lines that it belongs to"


def _indent(row: str) -> int:
    return len(row) - len(row.lstrip(" "))


def _without_comment(value: str) -> str:
    return re.split(r"\s#", value, maxsplit=1)[0].strip()


def _quoted(value: str) -> str:
    """Return a text as it can be written: in double quotes, in single ones where it holds double ones."""
    if '"' not in value and "\\" not in value:
        return f'"{value}"'
    return "'" + value.replace("'", "''") + "'"


def _inside_quotes(row: str, column: int) -> bool:
    """Whether a column of a row stands between quotes, as far as the row says."""
    quote = ""
    for at, sign in enumerate(row[:column]):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"" and (at == 0 or row[at - 1] in " \t:[{,"):
            quote = sign
    return bool(quote)

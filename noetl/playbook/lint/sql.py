"""Checks SQL without a database: whether what is opened is closed, whether there is a command, and how it begins.

It knows no grammar, so that it never complains about SQL that some server would take. What templates put into the
text cannot be known; a text with blocks (`{% %}`) is not looked at at all.
"""

import difflib
import re
from dataclasses import dataclass, field
from typing import Final

from noetl.rules.sql import PLACEHOLDERS, Kind, OpenCommand, Placeholder, placeholder_of, tokens

_COMMANDS: Final = """
abort alter analyze begin call checkpoint close cluster comment commit copy create deallocate declare delete discard do
drop end execute explain fetch grant import insert listen load lock merge move notify prepare reassign refresh reindex
release reset revoke rollback savepoint security select set show start table truncate unlisten update vacuum values with
attach describe desc detach export from install pivot pivot_longer pivot_wider pragma summarize unpivot use
"""
_WORDS: Final = frozenset(_COMMANDS.split())
"""What a command can begin with. Another word is a mistake only where it is nearly one of these."""

_TEMPLATE: Final = re.compile(r"\{\{.*?\}\}|\{#.*?#\}", re.DOTALL)
_OPENING: Final = re.compile(r"""['"]|\$[^$]*\$""")
_UNICODE_SPACE: Final = re.compile(r"[^\S \t\n\r\f\v]")
"""Spaces that are letters to Postgres, and spaces to DuckDB."""

_MASK: Final = "\x01"
"""Stands for each character of a template."""

_MASKS: Final = re.compile(_MASK + "+")

# A template is a value where one of these stands before it; elsewhere it may be a name, which no parameter can be.
_VALUE_BEFORE: Final = re.compile(r"(?:[=<>+/|]|\b(?:limit|offset|like|ilike|between|interval))\s*$", re.IGNORECASE)
_VALUES_BEFORE: Final = re.compile(r"\b(?:values|in)\s*$", re.IGNORECASE)
_PATH_BEFORE: Final = re.compile(
    r"\b(?:to|from|attach|database|location|program|import|export|install|load|\w*(?:read|scan|glob)\w*\s*\(\s*\[?)\s*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake in SQL, at an index of its text; `sign` is what stands there."""

    index: int
    sign: str
    message: str


@dataclass(slots=True)
class SqlFindings:
    """What there is to say about a text: its first mistake, where templates stand for values, the placeholders (if
    there are params), and the index and the first words of each command."""

    fault: Fault | None = None
    values: list[int] = field(default_factory=list)
    placeholders: list[Placeholder] = field(default_factory=list)
    commands: list[tuple[int, list[str]]] = field(default_factory=list)


def look_at(text: str) -> SqlFindings:
    """Return the first mistake in SQL, its placeholders, and where a template stands for a value."""
    if "{%" in text:
        return SqlFindings()
    masked = _TEMPLATE.sub(lambda template: _MASK * len(template[0]), text)
    return _Scan(_UNICODE_SPACE.sub(" ", masked)).run()


def template_at(text: str, index: int) -> str:
    """Return the template that begins at an index, of those where `look_at` found a value."""
    template = _TEMPLATE.match(text, index)
    return template[0] if template else ""


class _Scan:
    """Goes through the tokens of a text once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.findings = SqlFindings()
        self.parentheses: list[int] = []  # where those begin that are open
        self.command = OpenCommand()
        self.begun = False  # the command at hand has begun

    def run(self) -> SqlFindings:
        for kind, start, end in tokens(self.text):
            if kind == "semicolon" and self.command.may_end:
                self.command, self.begun = OpenCommand(), False
            elif kind != "space":
                self.token(kind, start, end)
            if self.findings.fault is not None:
                return self.findings
        if self.parentheses:
            self.report(self.parentheses[0], "(", "this parenthesis is not closed")
        elif not self.findings.commands:
            self.report(0, "", "there is no command in it")
        return self.findings

    def report(self, index: int, sign: str, message: str) -> None:
        self.findings.fault = Fault(index, sign, message)

    def token(self, kind: Kind, start: int, end: int) -> None:
        text, sign = self.text, self.text[start]
        if kind == "unclosed" and sign == "/":
            self.report(start, "/*", "this comment is not closed")
            return
        self.command.add(kind, text, start, end)
        if not self.begun and sign not in "(;":
            self.begin(kind, start, end)
        if kind in ("text", "unclosed"):
            self.string(kind, start, end)
        elif kind in PLACEHOLDERS:
            behind_template = sign == ":" and text[start - 1 : start] == _MASK  # it ends an expression, as a word does
            if kind != "percent" and not behind_template:
                self.findings.placeholders.append(placeholder_of(kind, text, start, end))
        elif sign == "(":
            self.parentheses.append(start)
        elif sign == ")" and self.parentheses:
            self.parentheses.pop()
        elif sign == ")":
            self.report(start, ")", "this parenthesis closes nothing")
        elif sign == _MASK and text[start - 1 : start] != _MASK and self.is_value(start):
            self.findings.values.append(start)

    def begin(self, kind: Kind, start: int, end: int) -> None:
        """Look at the first word of a command."""
        self.begun = True
        self.findings.commands.append((start, self.command.words))
        word = self.text[start:end].lower()
        if kind != "word" or word in _WORDS or len(word) <= 3 or self.text[end : end + 1] == _MASK:
            return
        near = difflib.get_close_matches(word, _WORDS, n=1, cutoff=0.75)
        if near:
            written = self.text[start:end]
            self.report(start, written, f"no command begins with {written!r} (did you mean {near[0].upper()!r}?)")

    def string(self, kind: Kind, start: int, end: int) -> None:
        """Look at a string or a quoted name, and at the templates in it."""
        opening = _OPENING.search(self.text, start)
        assert opening is not None
        index, sign = opening.start(), opening[0]
        if sign == "'" and not _PATH_BEFORE.search(self.text, 0, index):
            self.findings.values += [mask.start() for mask in _MASKS.finditer(self.text, index, end)]
        if kind == "text":
            return
        if sign.startswith("$"):
            self.report(index, sign, f"{sign} is not closed: the text goes on to the end")
        else:
            thing = "text" if sign == "'" else "name"
            self.report(index, sign, f"this quote is not closed: the {thing} goes on to the end")

    def is_value(self, start: int) -> bool:
        """Tell whether a template outside of quotes stands for a value, as far as what is before it can say."""
        before = self.text[:start]
        if _VALUE_BEFORE.search(before):
            return True
        if not before.rstrip().endswith(("(", ",")) or not self.parentheses:
            return False
        return bool(_VALUES_BEFORE.search(self.text[: self.parentheses[-1]]))

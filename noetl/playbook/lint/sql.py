"""Checks SQL without a database: whether what is opened is closed, whether there is a command, and how it begins.

It knows no grammar, so that it never complains about SQL that some server would take. What templates put into the
text cannot be known; a text with blocks (`{% %}`) is not looked at at all.
"""

import difflib
import re
from dataclasses import dataclass, field
from typing import Final

_COMMANDS: Final = """
abort alter analyze begin call checkpoint close cluster comment commit copy create deallocate declare delete discard do
drop end execute explain fetch grant import insert listen load lock merge move notify prepare reassign refresh reindex
release reset revoke rollback savepoint security select set show start table truncate unlisten update vacuum values with
attach describe desc detach export from install pivot pivot_longer pivot_wider pragma summarize unpivot use
"""
_WORDS: Final = frozenset(_COMMANDS.split())
"""What a command can begin with. Another word is a mistake only where it is nearly one of these."""

_TEMPLATE: Final = re.compile(r"\{\{.*?\}\}|\{#.*?#\}", re.DOTALL)
_DOLLAR: Final = re.compile(r"\$(?:[A-Za-z_]\w*)?\$")
_WORD: Final = re.compile(r"[^\W\d][\w$]*")
_PLACEHOLDER: Final = re.compile(
    r"""(?P<number>\$\d+) | (?P<name>\$[^\W\d]\w* | %\([^\W\d]\w*\)s | (?<![\w$'")\]:\x01]):[^\W\d]\w*)
      | (?P<format>%s(?![\w$])) | (?P<question>\?) | (?P<percent>%%)""",
    re.VERBOSE,
)
_MASK: Final = "\x01"
"""Stands for each character of a template."""

# A template is a value where one of these stands before it; elsewhere it may be a name, which no parameter can be.
_VALUE_BEFORE: Final = re.compile(r"(?:[=<>+/|]|\b(?:limit|offset|like|ilike|between|interval))\s*$", re.IGNORECASE)
_VALUES_BEFORE: Final = re.compile(r"\b(?:values|in)\s*$", re.IGNORECASE)
_PATH_BEFORE: Final = re.compile(
    r"\b(?:to|from|attach|database|location|program|import|export|install|load|\w*(?:read|scan|glob)\w*\s*\(\s*\[?)\s*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A placeholder, if there are params. `kind` is number, name, format (`%s`) or question."""

    index: int
    sign: str
    kind: str

    @property
    def name(self) -> str:
        """The number of `$1`, the name of `:name`, `$name` and `%(name)s`."""
        return self.sign.lstrip("%($:").removesuffix(")s")


@dataclass(slots=True)
class Sql:
    """What there is to say about a text. `fault` is its first mistake: index, the sign that stands there, message."""

    fault: tuple[int, str, str] | None = None
    values: list[int] = field(default_factory=list)  # where templates stand for values
    marks: list[Mark] = field(default_factory=list)
    commands: list[tuple[int, str]] = field(default_factory=list)  # with which word each begins


def look_at(text: str) -> Sql:
    """Return the first mistake in SQL, and where a template stands for a value."""
    if "{%" in text:
        return Sql()
    masked = _TEMPLATE.sub(lambda found: _MASK * len(found[0]), text)
    scan = _Scan(masked)
    scan.run()
    return Sql(scan.fault, scan.values, scan.marks, scan.commands)


def template_at(text: str, index: int) -> str:
    """Return the template that begins at an index, of those where `look_at` found a value."""
    found = _TEMPLATE.match(text, index)
    return found[0] if found else ""


class _Scan:
    """Goes through a text once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.open: list[int] = []
        self.fault: tuple[int, str, str] | None = None
        self.values: list[int] = []
        self.marks: list[Mark] = []
        self.commands: list[tuple[int, str]] = []
        self.begun = False  # the command at hand has begun

    def run(self) -> None:
        while self.at < len(self.text) and self.fault is None:
            self.step()
        if self.fault is None and self.open:
            self.fault = self.open[0], "(", "this parenthesis is not closed"
        if self.fault is None and not self.commands:
            self.fault = 0, "", "there is no command in it"

    def step(self) -> None:
        text, at = self.text, self.at
        char = text[at]
        if char.isspace():
            self.at += 1
        elif text.startswith("--", at):
            end = text.find("\n", at)
            self.at = len(text) if end < 0 else end
        elif text.startswith("/*", at):
            self.comment()
        elif char == ";":
            self.at += 1
            self.begun = bool(self.open)
        else:
            self.begin(char)
            self.token(char)

    def begin(self, char: str) -> None:
        """Look at the first word of a command."""
        if self.begun or char == "(":
            return
        self.begun = True
        word = _WORD.match(self.text, self.at)
        self.commands.append((self.at, word[0] if word else char))
        if word is None or word[0].lower() in _WORDS or self.text[word.end() : word.end() + 1] == _MASK:
            return
        near = difflib.get_close_matches(word[0].lower(), _WORDS, n=1, cutoff=0.75)
        if near and len(word[0]) > 3:
            told = f"no command begins with {word[0]!r} (did you mean {near[0].upper()!r}?)"
            self.fault = word.start(), word[0], told

    def token(self, char: str) -> None:
        dollar = _DOLLAR.match(self.text, self.at) if char == "$" else None
        if char == "'":
            self.quoted("'", "text", backslash=self.is_escaping())
        elif char == '"':
            self.quoted('"', "name", backslash=False)
        elif dollar is not None:
            self.dollar(dollar[0])
        elif char == "(":
            self.open.append(self.at)
            self.at += 1
        elif char == ")":
            if self.open:
                self.open.pop()
            else:
                self.fault = self.at, ")", "this parenthesis closes nothing"
            self.at += 1
        elif char == _MASK:
            if self.is_value():
                self.values.append(self.at)
            self.skip(_MASK)
        elif mark := _PLACEHOLDER.match(self.text, self.at):
            if mark.lastgroup != "percent":
                self.marks.append(Mark(self.at, mark[0], str(mark.lastgroup)))
            self.at = mark.end()
        else:
            word = _WORD.match(self.text, self.at)
            self.at = word.end() if word else self.at + 1

    def skip(self, char: str) -> None:
        while self.at < len(self.text) and self.text[self.at] == char:
            self.at += 1

    def is_escaping(self) -> bool:
        """Whether a quote belongs to E'...', in which a backslash escapes."""
        before = self.text[max(0, self.at - 2) : self.at]
        return before[-1:] in ("e", "E") and not (before[:-1].isalnum() or before[:-1] == "_")

    def quoted(self, quote: str, what: str, *, backslash: bool) -> None:
        start = self.at
        self.at += 1
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == quote:
                if self.text[self.at + 1 : self.at + 2] != quote:
                    self.at += 1
                    return
                self.at += 1
            elif char == "\\" and backslash:
                self.at += 1
            elif char == _MASK and quote == "'" and not _PATH_BEFORE.search(self.text, 0, start):
                self.values.append(self.at)
                self.skip(_MASK)
                continue
            self.at += 1
        self.fault = start, quote, f"this quote is not closed: the {what} goes on to the end"

    def dollar(self, tag: str) -> None:
        end = self.text.find(tag, self.at + len(tag))
        if end < 0:
            self.fault = self.at, tag, f"{tag} is not closed: the text goes on to the end"
        self.at = end + len(tag)

    def comment(self) -> None:
        start, depth = self.at, 0
        for found in re.compile(r"/\*|\*/").finditer(self.text, self.at):
            depth += 1 if found[0] == "/*" else -1
            if not depth:
                self.at = found.end()
                return
        self.fault = start, "/*", "this comment is not closed"

    def is_value(self) -> bool:
        """Whether a template outside of quotes stands for a value, as far as can be told by what is before it."""
        before = self.text[: self.at]
        if _VALUE_BEFORE.search(before):
            return True
        return bool(
            before.rstrip().endswith(("(", ",")) and self.open and _VALUES_BEFORE.search(self.text[: self.open[-1]])
        )

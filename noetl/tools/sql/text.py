"""SQL as text: split into commands, and its placeholders found, by a scanner that knows what is a string or a comment.

    text --tokens--> words, strings, comments, placeholders, ; --split--> Command --bind--> (SQL with $1 ..., values)

It knows as much of the lexical rules of Postgres (and DuckDB, which has them from there) as it takes to tell where a
command ends: strings, E'' with backslashes, also continued on a later line, $tag$ ... $tag$, quoted identifiers,
comments to the end of the line, nested block comments, parentheses, and the bodies of SQL functions between BEGIN
ATOMIC and END. What is not closed goes on to the end; the database says so better than we could.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["space", "text", "word", "number", "format", "question", "name", "percent", "semicolon", "other"]
"""What a token is: `text` is a string or a quoted identifier. Placeholders: `number` $1, `format` %s, `question` ?,
`name` $name, :name and %(name)s; `percent` is %%, which stands for % where there are placeholders."""

PLACEHOLDERS: Final = frozenset({"number", "format", "question", "name", "percent"})

_LETTER: Final = r"A-Za-z_\u0080-\U0010ffff"
_TOKEN: Final = re.compile(
    rf"""
      (?P<space>   [ \t\n\r\f\v]+ | --[^\n\r]* )
    | (?P<comment> /\* )
    | (?P<escaped> [eE]' )
    | (?P<plain>   (?: [uU]& | [bBxXnN] )? ' )
    | (?P<quoted>  (?: [uU]& )? " )
    | (?P<dollar>  \$ (?: [{_LETTER}] [{_LETTER}0-9]* )? \$ )
    | (?P<number>  \$ [0-9]+ )
    | (?P<named>   \$ [{_LETTER}] [{_LETTER}0-9]* | % \( [{_LETTER}] [{_LETTER}0-9]* \) s )
    | (?P<colon>   ::|:= | : [{_LETTER}] [{_LETTER}0-9]* )
    | (?P<word>    [{_LETTER}] [{_LETTER}0-9$]* )
    | (?P<digits>  [0-9] [0-9a-zA-Z_.]* )
    | (?P<percent> %% )
    | (?P<format>  %s (?! [{_LETTER}0-9$] ) )
    | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
_PLAIN_END: Final = re.compile(r"(?:[^']|'')*+(?:'|\Z)", re.DOTALL)
_ESCAPED_END: Final = re.compile(r"(?:[^'\\]|''|\\.)*+(?:'|\Z|\\\Z)", re.DOTALL)
_QUOTED_END: Final = re.compile(r'(?:[^"]|"")*+(?:"|\Z)', re.DOTALL)
_CONTINUED: Final = re.compile(r"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+'")
_COMMENT: Final = re.compile(r"/\*|\*/")
_BEFORE_COLON: Final = re.compile(rf"[{_LETTER}0-9$'\")\]:]")
_WORDS_KEPT: Final = 4


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Where a value goes. `name` is the number of `$1`, the name of `:name`; empty for the others."""

    start: int
    end: int
    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command of SQL, without the `;`. `words` are its first ones, in capitals."""

    text: str
    words: tuple[str, ...]
    placeholders: tuple[Placeholder, ...]


def tokens(sql: str) -> Iterator[tuple[Kind, int, int]]:
    """Yield what SQL is made of, as kind, start and end; nothing is left out."""
    at = 0
    while at < len(sql):
        found = _TOKEN.match(sql, at)
        if found is None:  # cannot be: the last alternative takes any character
            raise AssertionError(f"no token at {at}")
        kind, end = _kind(sql, found)
        yield kind, at, end
        at = end


def _kind(sql: str, found: re.Match[str]) -> tuple[Kind, int]:
    start, end, text = found.start(), found.end(), found.group()
    match found.lastgroup:
        case "space":
            return "space", end
        case "comment":
            close = _comment_end(sql, end)
            return ("text", len(sql)) if close is None else ("space", close)
        case "escaped":
            return "text", _escaped_end(sql, end)
        case "plain":
            return "text", _end(_PLAIN_END, sql, end)
        case "quoted":
            return "text", _end(_QUOTED_END, sql, end)
        case "dollar":
            close = sql.find(text, end)
            return "text", len(sql) if close < 0 else close + len(text)
        case "number":
            return "number", end
        case "named":
            return "name", end
        case "colon":
            # a[1:n] and {'a':b} are no placeholders: those have something in front of them that ends an expression
            free = start == 0 or not _BEFORE_COLON.match(sql[start - 1])
            return ("name" if text not in ("::", ":=") and free else "other"), end
        case "word":
            return "word", end
        case "percent":
            return "percent", end
        case "format":
            return "format", end
        case _:
            return ("semicolon" if text == ";" else "question" if text == "?" else "other"), end


def _end(pattern: re.Pattern[str], sql: str, at: int) -> int:
    found = pattern.match(sql, at)
    return len(sql) if found is None else found.end()


def _escaped_end(sql: str, at: int) -> int:
    """Return where E'...' ends, with the pieces on later lines that continue it."""
    end = _end(_ESCAPED_END, sql, at)
    while (more := _CONTINUED.match(sql, end)) is not None:
        end = _end(_ESCAPED_END, sql, more.end())
    return end


def _comment_end(sql: str, at: int) -> int | None:
    depth = 1
    for mark in _COMMENT.finditer(sql, at):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return mark.end()
    return None


def split(sql: str) -> list[Command]:
    """Return the commands of a text, those without any content left out."""
    commands: list[Command] = []
    current = _Open(0)
    for kind, start, end in tokens(sql):
        if kind == "semicolon" and current.may_end:
            current.close(sql, start, commands)
            current = _Open(end)
        else:
            current.add(kind, sql, start, end)
    current.close(sql, len(sql), commands)
    return commands


class _Open:
    """A command whose end is not reached yet."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.first: int | None = None  # where its content begins
        self.last = start
        self.parentheses = 0
        self.blocks = 0  # BEGIN and CASE in the body of a function, not closed yet
        self.words: list[str] = []
        self.placeholders: list[tuple[Kind, int, int]] = []

    @property
    def may_end(self) -> bool:
        return self.parentheses == 0 and self.blocks == 0

    def add(self, kind: Kind, sql: str, start: int, end: int) -> None:
        if kind == "space":
            return
        self.first = start if self.first is None else self.first
        self.last = end
        if kind in PLACEHOLDERS:
            self.placeholders.append((kind, start, end))
        elif kind == "word":
            self._word(sql[start:end].upper())
        elif sql[start] == "(":
            self.parentheses += 1
        elif sql[start] == ")":
            self.parentheses = max(0, self.parentheses - 1)

    def _word(self, word: str) -> None:
        if len(self.words) < _WORDS_KEPT:
            self.words.append(word)
        if self.parentheses or not _makes_function(self.words):
            return
        if word == "BEGIN" or (word == "CASE" and self.blocks):
            self.blocks += 1
        elif word == "END" and self.blocks:
            self.blocks -= 1

    def close(self, sql: str, end: int, commands: list[Command]) -> None:
        if self.first is None:
            return
        first = self.first
        commands.append(
            Command(
                sql[first : self.last],
                tuple(self.words),
                tuple(
                    Placeholder(start - first, end - first, kind, _name(kind, sql[start:end]))
                    for kind, start, end in self.placeholders
                ),
            )
        )


def _makes_function(words: list[str]) -> bool:
    rest = [word for word in words[1:] if word not in ("OR", "REPLACE")]
    return words[0] == "CREATE" and bool(rest) and rest[0] in ("FUNCTION", "PROCEDURE")


def _name(kind: Kind, text: str) -> str:
    if kind == "number":
        return text[1:]
    return text.lstrip("%($:").removesuffix(")s") if kind == "name" else ""

"""SQL as text: the one scanner, which tells strings and comments from SQL, and the rules of placeholders.

    text --tokens--> words, strings, comments, placeholders, ; --split--> commands with their placeholders

Lint looks for mistakes with it before a run; `noetl/tools/sql` binds values with it during one. It knows as much of the
lexical rules of Postgres (and DuckDB, which has them from there) as it takes to tell where a command ends: strings,
E'' with backslashes, also continued on a later line, $tag$ ... $tag$, quoted identifiers, comments to the end of the
line, nested block comments, parentheses, and the bodies of SQL functions between BEGIN ATOMIC and END. What is not
closed goes on to the end.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "space", "text", "unclosed", "word", "number", "format", "question", "name", "percent", "semicolon", "other"
]
"""The kinds of tokens: `text` is a string or a quoted identifier, `unclosed` one without an end, or such a comment;
`space` is also a comment. Placeholders: `number` $1, `format` %s, `question` ?,
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
_KINDS: Final[Mapping[str, Kind]] = {
    "space": "space",
    "number": "number",
    "named": "name",
    "word": "word",
    "percent": "percent",
    "format": "format",
    ";": "semicolon",
    "?": "question",
}
"""The kinds of tokens that their group in the pattern, or their sign, decides."""

_PLAIN_END: Final = re.compile(r"(?:[^']|'')*+(?:(?P<close>')|\Z)", re.DOTALL)
_ESCAPED_END: Final = re.compile(r"(?:[^'\\]|''|\\.)*+(?:(?P<close>')|\Z|\\\Z)", re.DOTALL)
_QUOTED_END: Final = re.compile(r'(?:[^"]|"")*+(?:(?P<close>")|\Z)', re.DOTALL)
_CONTINUED: Final = re.compile(r"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+'")
_COMMENT: Final = re.compile(r"/\*|\*/")
_BEFORE_COLON: Final = re.compile(rf"[{_LETTER}0-9$'\")\]:]")
_WORDS_KEPT: Final = 4
_TRANSACTION_WORDS: Final = frozenset({"BEGIN", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"})
_TRANSACTION_PAIRS: Final = frozenset({("START", "TRANSACTION"), ("PREPARE", "TRANSACTION")})


@dataclass(frozen=True, slots=True)
class Placeholder:
    """The place of a value in SQL. `name` is the number of `$1`, the name of `:name`; empty for the others."""

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
    """Yield the tokens of SQL as kind, start and end; nothing is left out.

    >>> [(kind, start) for kind, start, _ in tokens("SELECT :a -- b")]
    [('word', 0), ('space', 6), ('name', 7), ('space', 9), ('space', 10)]
    """
    at = 0
    while at < len(sql):
        match = _TOKEN.match(sql, at)
        if match is None:  # cannot be: the last alternative takes any character
            raise AssertionError(f"no token at {at}")
        kind, end = _kind(sql, match)
        yield kind, at, end
        at = end


def _kind(sql: str, token: re.Match[str]) -> tuple[Kind, int]:
    start, end, text = token.start(), token.end(), token.group()
    match token.lastgroup:
        case "comment":
            close = _comment_end(sql, end)
            return ("unclosed", len(sql)) if close is None else ("space", close)
        case "escaped":
            return _escaped(sql, end)
        case "plain":
            return _string(_PLAIN_END, sql, end)
        case "quoted":
            return _string(_QUOTED_END, sql, end)
        case "dollar":
            close = sql.find(text, end)
            return ("unclosed", len(sql)) if close < 0 else ("text", close + len(text))
        case "colon" if text not in ("::", ":="):
            # a[1:n] and {'a':b} are no placeholders: those have something in front of them that ends an expression
            free = start == 0 or not _BEFORE_COLON.match(sql[start - 1])
            return ("name", end) if free else ("other", start + 1)
        case group:
            return _KINDS.get(str(group)) or _KINDS.get(text, "other"), end


def _string(pattern: re.Pattern[str], sql: str, at: int) -> tuple[Kind, int]:
    match = pattern.match(sql, at)
    if match is None or match["close"] is None:
        return "unclosed", len(sql)
    return "text", match.end()


def _escaped(sql: str, at: int) -> tuple[Kind, int]:
    """Return the kind and the end of E'...', with the pieces on later lines that continue it."""
    kind, end = _string(_ESCAPED_END, sql, at)
    while (more := _CONTINUED.match(sql, end)) is not None:
        kind, end = _string(_ESCAPED_END, sql, more.end())
    return kind, end


def _comment_end(sql: str, at: int) -> int | None:
    depth = 1
    for mark in _COMMENT.finditer(sql, at):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return mark.end()
    return None


def split(sql: str) -> list[Command]:
    """Return the commands of a text, those without any content left out.

    >>> [command.text for command in split("SELECT ';'; SELECT 2;")]
    ["SELECT ';'", 'SELECT 2']
    """
    commands: list[Command] = []
    current = OpenCommand()
    for kind, start, end in tokens(sql):
        if kind == "semicolon" and current.may_end:
            current.close(sql, commands)
            current = OpenCommand()
        else:
            current.add(kind, sql, start, end)
    current.close(sql, commands)
    return commands


class OpenCommand:
    """A command whose end is not reached yet: it takes its tokens, and tells whether a `;` would end it."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._start: int | None = None  # of its content
        self._end = 0
        self._parentheses = 0
        self._blocks = 0  # BEGIN and CASE in the body of a function, not closed yet
        self._placeholders: list[tuple[Kind, int, int]] = []

    @property
    def may_end(self) -> bool:
        return self._parentheses == 0 and self._blocks == 0

    def add(self, kind: Kind, sql: str, start: int, end: int) -> None:
        """Take the next token."""
        if kind == "space":
            return
        self._start = start if self._start is None else self._start
        self._end = end
        if kind in PLACEHOLDERS:
            self._placeholders.append((kind, start, end))
        elif kind == "word":
            self._word(sql[start:end].upper())
        elif sql[start] == "(":
            self._parentheses += 1
        elif sql[start] == ")":
            self._parentheses = max(0, self._parentheses - 1)

    def _word(self, word: str) -> None:
        if len(self.words) < _WORDS_KEPT:
            self.words.append(word)
        if self._parentheses or not _makes_function(self.words):
            return
        if word == "BEGIN" or (word == "CASE" and self._blocks):
            self._blocks += 1
        elif word == "END" and self._blocks:
            self._blocks -= 1

    def close(self, sql: str, commands: list[Command]) -> None:
        """Append the command, if it has any content."""
        if self._start is None:
            return
        text, first = sql[self._start : self._end], self._start
        placeholders = (placeholder_of(kind, sql, start, end, first) for kind, start, end in self._placeholders)
        commands.append(Command(text, tuple(self.words), tuple(placeholders)))


def _makes_function(words: list[str]) -> bool:
    rest = [word for word in words[1:] if word not in ("OR", "REPLACE")]
    return words[0] == "CREATE" and bool(rest) and rest[0] in ("FUNCTION", "PROCEDURE")


def placeholder_of(kind: Kind, sql: str, start: int, end: int, first: int = 0) -> Placeholder:
    """Return a token as a placeholder, its place counted from `first`."""
    text = sql[start:end]
    name = text[1:] if kind == "number" else text.lstrip("%($:").removesuffix(")s") if kind == "name" else ""
    return Placeholder(start - first, end - first, kind, name)


class Numbering:
    """Counts through the placeholders of all commands of a step whose params are a list.

    `$1` names the place of its value; `%s`, and with `question` also `?`, take the values in their order.
    """

    def __init__(self, *, question: bool) -> None:
        self._question = question
        self._following = 0

    def place(self, placeholder: Placeholder) -> int | None:
        """Return the place of a placeholder's value in the list, None where it takes none from there."""
        if placeholder.kind == "number":
            return int(placeholder.name) - 1
        if placeholder.kind == "format" or (placeholder.kind == "question" and self._question):
            self._following += 1
            return self._following - 1
        return None


def is_about_transactions(words: Sequence[str]) -> bool:
    """Tell whether a command that begins with these words, in capitals, begins or ends a transaction.

    >>> is_about_transactions(("COMMIT",)), is_about_transactions(("START", "TRANSACTION")), is_about_transactions(())
    (True, True, False)
    """
    return bool(words) and (words[0] in _TRANSACTION_WORDS or tuple(words[:2]) in _TRANSACTION_PAIRS)

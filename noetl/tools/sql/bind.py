"""Commands of a step and their values, read from its fields.

Values never become text of the SQL: every placeholder turns into `$1`, `$2` ..., which the driver binds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from noetl.rules.sql import Command, Numbering, Placeholder, is_about_transactions, split
from noetl.rules.text import text_fault
from noetl.tools.base import InvalidCall

_EXAMPLES: Final = {"number": "$1", "format": "%s", "question": "?", "name": ":name"}


@dataclass(frozen=True, slots=True)
class Bound:
    """A command ready for the driver. `values` stand for `$1`, `$2` ...; None: the text goes as it is."""

    text: str
    words: tuple[str, ...]
    values: tuple[Any, ...] | None


def commands_of(fields: Mapping[str, object]) -> list[Command]:
    """Return the commands of `command` or `commands`, which are text or a list of texts. Raises `InvalidCall`."""
    named = [name for name in ("command", "commands") if fields.get(name) is not None]
    if len(named) != 1:
        raise InvalidCall("give the SQL as command or as commands" + (", not both" if named else ""))
    name, value = named[0], fields[named[0]]
    texts = value if isinstance(value, list) else [value]
    commands: list[Command] = []
    for number, text in enumerate(texts):
        place = f"{name}[{number}]" if isinstance(value, list) else name
        if not isinstance(text, str):
            raise InvalidCall(f"{place} must be SQL as text, not {kind_of(text)}")
        check_text(place, text)
        commands += split(text)
    if not commands:
        raise InvalidCall(f"{name} has no command in it")
    return commands


def bind(commands: list[Command], params: object, *, question: bool = False) -> list[Bound]:
    """Return commands with their values; without `params` (None) nothing is a placeholder, and the text is untouched.

    A list gives values to `$1`, or to `%s` in their order in all commands; a mapping to `:name`, `$name` and
    `%(name)s`. With `question`, `?` is another `%s`. Raises `InvalidCall`.
    """
    if params is None:
        return [Bound(command.text, command.words, None) for command in commands]
    if not isinstance(params, Mapping | list):
        raise InvalidCall(f"params must be a list or a mapping, not {kind_of(params)}")
    binder = _ByName(params) if isinstance(params, Mapping) else _ByPlace(params, question)
    bound = [_bind(command, binder) for command in commands]
    binder.end()
    return bound


def _bind(command: Command, binder: "_ByName | _ByPlace") -> Bound:
    text, at = "", 0
    places: dict[Any, int] = {}  # what the binder calls a value -> its number in this command
    values: list[Any] = []
    for placeholder in command.placeholders:
        if placeholder.kind == "percent":
            new = "%"
        else:
            parameter = binder.find(placeholder)
            if parameter is None:
                continue
            if parameter not in places:
                values.append(binder.params[parameter])
                places[parameter] = len(values)
            new = f"${places[parameter]}"
        text += command.text[at : placeholder.start] + new
        at = placeholder.end
    return Bound(text + command.text[at:], command.words, tuple(values))


class _ByName:
    def __init__(self, params: Mapping[str, object]) -> None:
        self.params: Any = params

    def find(self, placeholder: Placeholder) -> str | None:
        """Return the name of a placeholder's value, None where a mapping gives none."""
        if placeholder.kind == "name":
            if placeholder.name not in self.params:
                known = ", ".join(sorted(map(str, self.params))) or "nothing"
                raise InvalidCall(f"the SQL names :{placeholder.name}, which is not in params (there is {known})")
            return placeholder.name
        if placeholder.kind == "number":
            raise InvalidCall(f"the SQL has ${placeholder.name}, but params is a mapping: give a list, or write :name")
        return None

    def end(self) -> None:
        """Accept values that are not used: one mapping may serve many commands."""


class _ByPlace:
    def __init__(self, params: list[Any], question: bool) -> None:
        self.params: Any = params
        self._numbering = Numbering(question=question)
        self._style = ""
        self._used: set[int] = set()

    def find(self, placeholder: Placeholder) -> int | None:
        """Return the place of a placeholder's value in the list, None where it takes none."""
        kind = placeholder.kind
        if kind == "name":
            raise InvalidCall(f"the SQL names {placeholder.name!r}, but params is a list: give a mapping")
        place = self._numbering.place(placeholder)
        if place is None:
            return None
        if kind != self._style and self._style:
            raise InvalidCall(f"the SQL has both {_EXAMPLES[self._style]} and {_EXAMPLES[kind]}: keep to one of them")
        self._style = kind
        if not 0 <= place < len(self.params):
            wanted = f"${placeholder.name}" if kind == "number" else f"a placeholder number {place + 1}"
            raise InvalidCall(f"the SQL has {wanted}, but params has {len(self.params)} values")
        self._used.add(place)
        return place

    def end(self) -> None:
        """Raise `InvalidCall` for a value that no placeholder takes."""
        unused = [f"params[{place}]" for place in range(len(self.params)) if place not in self._used]
        if unused:
            listed = ", ".join(unused[:5]) + (" ..." if len(unused) > 5 else "")
            raise InvalidCall(f"no placeholder of the SQL takes {listed}: write $1 or %s where a value goes")


def refuse_transactions(commands: Sequence[Bound]) -> None:
    """Raise `InvalidCall` where the SQL begins or ends transactions itself."""
    for number, command in enumerate(commands):
        if is_about_transactions(command.words):
            raise InvalidCall(
                f"command_{number} is {command.words[0]}, but a step is one transaction from its first command to"
                " its last: leave it out, or give once: false, where each command stands for itself"
            )


def check_text(place: str, text: str) -> None:
    """Raise `InvalidCall` for text that no database stores: with NUL or lone surrogates."""
    fault = text_fault(text)
    if fault:
        raise InvalidCall(f"{place} {fault}")


def kind_of(value: object) -> str:
    """Return a name for the type of a JSON value."""
    names = {type(None): "nothing", bool: "a boolean", int: "a number", float: "a number", str: "a text"}
    return names.get(type(value), "a list" if isinstance(value, list | tuple) else "a mapping")

"""The exceptions of NoETL.

    NoetlError
     ├── InputError            somebody gave something wrong: a flag, a setting, a file, a payload
     │    ├── SettingsError    a setting is missing or wrong
     │    ├── PlaybookError    a playbook has problems; carries all of them
     │    ├── TemplateError    a template cannot be rendered
     │    ├── ValueNotJson     a value cannot be stored as plain JSON
     │    ├── TooLarge         a body or a result is over its limit
     │    ├── NotFound         no such playbook, version, execution ...
     │    └── Conflict         it exists already, or is not in the state that the request needs
     ├── Unauthorized          no or wrong token
     └── DatabaseError         the database cannot serve
          ├── Unreachable      no connection
          │    └── AnswerLost  a server ended the connection before its answer: the call may have taken effect
          ├── SchemaMissing    the schema is not there, or half of it
          ├── SchemaMismatch   the schema is older or newer than this program
          └── Locked           a lock could not be had in time

The message is always one sentence that says what was wrong, with which value, and what to do. The server maps the
tree to HTTP statuses, the CLI to exit codes; nobody else needs to know either.
"""

from dataclasses import dataclass


class NoetlError(Exception):
    """The base of every error that NoETL raises on purpose."""


class InputError(NoetlError):
    """Somebody gave something wrong."""


class SettingsError(InputError):
    """A setting is missing or wrong."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in a playbook file. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    severity: str  # "error" | "warning" | "hint"
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.code}: {self.message}"


class PlaybookError(InputError):
    """A playbook has problems; `problems` lists all of them, the message is one line each."""

    def __init__(self, problems: "list[Problem]") -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class TemplateError(InputError):
    """A template cannot be rendered.

    `playbook`, `step` and `field` say where it stands, `template` is its text.
    """

    def __init__(self, reason: str, *, playbook: str = "", step: str = "", field: str = "", template: str = "") -> None:
        self.reason = reason
        self.playbook = playbook
        self.step = step
        self.field = field
        self.template = template
        where = ": ".join(part for part in (playbook, step, field) if part)
        text = f" in {template!r}" if template else ""
        super().__init__(f"{where}: {reason}{text}" if where else f"{reason}{text}")


class ValueNotJson(InputError):
    """A value cannot be stored as plain JSON; the message names the path to it."""


class TooLarge(InputError):
    """A body or a result is over its limit."""


class NotFound(InputError):
    """What was asked for does not exist."""


class Conflict(InputError):
    """It exists already, or is not in the state that the request needs."""


class Unauthorized(NoetlError):
    """No token, or a wrong one."""


class DatabaseError(NoetlError):
    """The database cannot serve."""


class Unreachable(DatabaseError):
    """No connection to the database, or to the server."""


class AnswerLost(Unreachable):
    """A server ended the connection before it answered; whether the call took effect is not known."""


class SchemaMissing(DatabaseError):
    """The schema is not there, or only half of it."""


class SchemaMismatch(DatabaseError):
    """The schema is older or newer than this program."""


class Locked(DatabaseError):
    """A lock could not be had in time."""

"""Errors of the postgres tool, made from those of the client library."""

import re
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from noetl.outcomes import Failed
from noetl.rules.text import storable
from noetl.tools.base import failed_at
from noetl.tools.postgres.login import PostgresLogin
from noetl.tools.postgres.session import is_lost

_RETRYABLE_STATES: Final = frozenset({"40001", "40P01", "55P03", "57014"})
"""States that another attempt may mend, beside lost connections and a server without resources (class 53)."""

_FINAL_REFUSAL: Final = re.compile(
    r"authentication failed|no password supplied|does not exist|is not permitted to log in|no pg_hba\.conf entry"
    r"|could not translate host name|certificate|does not support SSL|not accept password"
)
"""Messages of connections that would be refused again. The client library gives them no code."""

ERROR_SQL_CHARACTERS: Final = 2000
"""The beginning of a command's text that its error keeps."""

_DETAIL_NAMES: Final = {
    "message_detail": "detail",
    "message_hint": "hint",
    "context": "context",
    "schema_name": "schema",
    "table_name": "table",
    "column_name": "column",
    "datatype_name": "datatype",
    "constraint_name": "constraint",
}


def of_connect(where: str, login: PostgresLogin, failure: psycopg.Error) -> Failed:
    """Return the failure of a connection that could not be made."""
    text = str(failure).strip()
    reason = (text.splitlines() or [type(failure).__name__])[0]
    for marker in ("FATAL:  ", "failed: ", "ERROR:  "):  # without the client library's repetition of the address
        reason = reason.split(marker)[-1]
    message = login.hide(f"no connection to {login.where}: {reason}")
    retryable = not _FINAL_REFUSAL.search(text)
    return failed_at(where, "postgres", message, retryable=retryable, detail={"sqlstate": failure.sqlstate})


@dataclass(frozen=True, slots=True)
class FailedCommand:
    """A command that failed. `number` is None between commands, `text` its SQL where it is the playbook's; `refused`
    are the row and the column of a save's data that were refused."""

    number: int | None
    text: str | None = None
    refused: tuple[int, str] | None = None

    def described(self, diagnostic: psycopg.errors.Diagnostic) -> tuple[dict[str, Any], str]:
        """Return what the error's detail says of the command, and the place in it for the message."""
        detail: dict[str, Any] = {}
        place = ""
        if self.text is not None:
            detail["sql"] = self.text[:ERROR_SQL_CHARACTERS]  # its params are apart: no value stands in it
        if self.refused is not None:
            detail |= {"row": self.refused[0], "column": self.refused[1]}
            place = f" (data[{self.refused[0]}].{self.refused[1]})"
        if diagnostic.statement_position and self.text is not None:
            before = self.text[: int(diagnostic.statement_position) - 1]
            line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
            detail |= {"line": line, "position": column}
            place = f" (line {line}, column {column})"
        return detail, place


def of_command(where: str, login: PostgresLogin, failure: psycopg.Error, command: FailedCommand) -> Failed:
    """Return the failure of a command, or of the statements around the commands."""
    diagnostic, state, lost = failure.diag, failure.sqlstate or "", is_lost(failure)
    primary = diagnostic.message_primary or str(failure).strip() or type(failure).__name__
    if lost:
        primary = f"the connection to {login.where} was lost: {primary}"
    elif state == "25001":
        primary += _hint_on_transactions(primary)
    own, place = command.described(diagnostic)
    from_server = {
        name: value for key, name in _DETAIL_NAMES.items() if (value := getattr(diagnostic, key)) is not None
    }
    detail = {
        name: storable(login.hide(value)) if isinstance(value, str) else value
        for name, value in {"sqlstate": failure.sqlstate, "command": command.number, **from_server, **own}.items()
    }
    number = "" if command.number is None else f"command_{command.number}: "
    retryable = lost or state in _RETRYABLE_STATES or state.startswith("53")
    return failed_at(where, "postgres", login.hide(f"{number}{primary}{place}"), retryable=retryable, detail=detail)


def _hint_on_transactions(primary: str) -> str:
    if "ISOLATION LEVEL" in primary:
        return ": give the step the field isolation"
    return ": with once: false each command runs on its own, outside a transaction"

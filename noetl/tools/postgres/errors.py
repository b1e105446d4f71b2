"""Errors of the postgres tool, made from those of the client library."""

import re
from typing import Any, Final

import psycopg

from noetl.outcomes import Failed, error_value
from noetl.rules.text import storable
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
    message = login.hide(f"{where}: no connection to {login.where}: {reason}")
    retryable = not _FINAL_REFUSAL.search(text)
    return Failed(
        error_value("postgres", storable(message), retryable=retryable, detail={"sqlstate": failure.sqlstate})
    )


def of_command(
    where: str,
    login: PostgresLogin,
    failure: psycopg.Error,
    command: int | None,
    text: str | None,
    refused: tuple[int, str] | None = None,
) -> Failed:
    """Return the failure of a command, or of the statements around them where `command` is None. `text` is its SQL,
    `refused` the row and the column of a save's data."""
    diagnostic = failure.diag
    primary = diagnostic.message_primary or str(failure).strip() or type(failure).__name__
    detail: dict[str, Any] = {"sqlstate": failure.sqlstate, "command": command}
    detail |= {name: value for key, name in _DETAIL_NAMES.items() if (value := getattr(diagnostic, key)) is not None}
    if text is not None:
        detail["sql"] = text[:ERROR_SQL_CHARACTERS]  # its params are apart: no value stands in it
    where_in_it = ""
    if refused is not None:
        detail |= {"row": refused[0], "column": refused[1]}
        where_in_it = f" (data[{refused[0]}].{refused[1]})"
    if diagnostic.statement_position and text is not None:
        before = text[: int(diagnostic.statement_position) - 1]
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        detail |= {"line": line, "position": column}
        where_in_it = f" (line {line}, column {column})"
    if is_lost(failure):
        primary = f"the connection to {login.where} was lost: {primary}"
    elif failure.sqlstate == "25001" and "ISOLATION LEVEL" in primary:
        primary += ": give the step the field isolation"
    elif failure.sqlstate == "25001":
        primary += ": with once: false each command runs on its own, outside a transaction"
    number = "" if command is None else f"command_{command}: "
    message = login.hide(f"{where}: {number}{primary}{where_in_it}")
    state = failure.sqlstate or ""
    retryable = is_lost(failure) or state in _RETRYABLE_STATES or state.startswith("53")
    hidden = {name: login.hide(value) if isinstance(value, str) else value for name, value in detail.items()}
    kept = {name: storable(value) if isinstance(value, str) else value for name, value in hidden.items()}
    return Failed(error_value("postgres", storable(message), retryable=retryable, detail=kept))

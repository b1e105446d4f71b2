"""The duckdb tool: SQL in a DuckDB.

Fields: `command` or `commands`, `params` (a list for `$1`, `?` or `%s`, a mapping for `$name` or `:name`), `database`
(a path or `:memory:`; default: a file of the execution's own). `auth` gives databases of Postgres, attached under its
aliases. The result has the shape of the postgres tool's; each command runs on its own, the first error ends the step.

It runs in a runner, since the SQL is somebody's code: it reads and writes files of the worker's account.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from noetl.calls import Call
from noetl.errors import TooLarge, ValueNotJson
from noetl.outcomes import Done, Failed, error_value
from noetl.rules.text import storable
from noetl.tools.base import InvalidCall, Tool, failed_at
from noetl.tools.duckdb.open import (
    DatabaseUnavailable,
    Opened,
    asked_for,
    file_of,
    first_line,
    load_extension,
    log_in,
    needed_by,
    open_duckdb,
)
from noetl.tools.duckdb.values import ValueReader, columns_of, rewritten
from noetl.tools.exact_json import exact_json
from noetl.tools.own_folder import refuse_home
from noetl.tools.sql.bind import Bound, bind, commands_of
from noetl.tools.sql.values import Results, jsonable

IMPORTS: Final = ("duckdb", "pytz")
"""DuckDB, and the module that it imports for times with a zone."""

CHUNK_ROWS: Final = 100
"""Rows fetched at once."""

_RETRYABLE_MESSAGES: Final = (
    "Unable to connect",
    "Transaction conflict",
    "Could not set lock",
    "terminating connection",
)
_COUNT_COLUMNS: Final = (["Count"], ["Success"])
"""The columns of commands that return no rows."""


def run(call: Call) -> Done | Failed:
    """Run a call's SQL. Errors: `validation`, `duckdb`, `too_large`, `not_json`."""
    opened: list[Opened] = []
    at: list[int] = []

    def work() -> bytes:
        commands = bind(commands_of(call.fields), call.fields.get("params"), question=True)
        refuse_home(call, "params", call.fields.get("params"))
        loads = [asked_for(command) for command in commands]
        opened.append(open_duckdb(file_of(call)))
        for needed in needed_by(commands):
            load_extension(opened[0], needed)
        log_in(opened[0], call.auth, commands)
        results = Results(call.limit)
        for number, (command, extension) in enumerate(zip(commands, loads, strict=True)):
            at[:] = [number]
            if extension is None:
                execute(opened[0], command, results)
            else:
                load_extension(opened[0], extension)
                results.begin()
                results.end()
        at.clear()
        _end(opened[0])
        return results.text()

    return failed_as(call, work, opened, at)


def failed_as(call: Call, work: Callable[[], bytes], opened: list[Opened], at: Sequence[int] = ()) -> Done | Failed:
    """Return the outcome of some work and close the databases it has `opened`. `at`: the number of the command."""
    hide = _hiding(opened)
    try:
        return Done(work())
    except InvalidCall as failure:
        return failed_at(call.where, "validation", hide(str(failure)))
    except DatabaseUnavailable as failure:
        return failed_at(call.where, "duckdb", hide(str(failure)), retryable=True)
    except OSError as failure:
        return failed_at(call.where, "duckdb", failure)
    except TooLarge as failure:
        return failed_at(call.where, "too_large", failure)
    except (ValueNotJson, UnicodeDecodeError) as failure:
        return failed_at(call.where, "not_json", failure)
    except _errors() as failure:
        return _failed(call.where, hide, failure, at[0] if at else None)
    finally:
        for each in opened:
            each.conn.close()


def execute(opened: Opened, command: Bound, results: Results) -> None:
    """Run one command and add its rows as they arrive. Raises `duckdb.Error`, `TooLarge`, `ValueNotJson`."""
    import duckdb

    conn = opened.conn
    kinds = [statement.type for statement in duckdb.extract_statements(command.text)]
    columns = columns_of(conn, command) if len(kinds) == 1 else None
    text = command.text if columns is None else rewritten(command, columns)
    cursor = conn.execute(text, list(command.values)) if command.values else conn.execute(text)
    described = cursor.description or []
    names, types = [column[0] for column in described], [str(column[1]) for column in described]
    if names in _COUNT_COLUMNS and kinds[-1:] != [duckdb.StatementType.SELECT]:
        rows = cursor.fetchall()
        results.begin()
        results.end(rows[0][0] if rows and names == ["Count"] else 0)
        return
    json = [place for place, type_ in enumerate(types) if type_ == "JSON"]
    if columns is not None:
        names = [column.name for column in columns]
    readers: list[ValueReader] = [jsonable for _ in names] if columns is None else [column.read for column in columns]
    results.begin(names)
    while rows := cursor.fetchmany(CHUNK_ROWS):
        for row in rows:
            results.row(_plain(row, readers, json))
    results.end()


def _plain(row: tuple[Any, ...], readers: list[ValueReader], json: list[int]) -> list[Any]:
    values = [read(value) for read, value in zip(readers, row, strict=True)]
    for place in json:
        if isinstance(row[place], str):
            values[place] = exact_json(row[place].encode())
    return values


def _end(opened: Opened) -> None:
    """Raise `InvalidCall` where the SQL has left a transaction open; closing rolls it back."""
    import duckdb

    try:
        opened.conn.execute("ROLLBACK")
    except duckdb.TransactionException:
        return  # none is open
    raise InvalidCall("the SQL leaves a transaction open, which is rolled back: end it with COMMIT")


def _errors() -> tuple[type[BaseException], ...]:
    """Return the exceptions of DuckDB; none where it is not installed."""
    try:
        import duckdb
    except ImportError:
        return ()
    return (duckdb.Error,)


def _hiding(opened: list[Opened]) -> Callable[[str], str]:
    return lambda text: opened[0].hide(text) if opened else text


def _failed(where: str, hide: Callable[[str], str], failure: BaseException, number: int | None) -> Failed:
    command = "" if number is None else f"command_{number}: "
    detail = {
        "command": number,
        "exception": type(failure).__name__,
        "message": storable(hide(str(failure).strip())),
    }
    retryable = any(sign in str(failure) for sign in _RETRYABLE_MESSAGES)
    message = storable(hide(f"{where}: {command}{first_line(failure)}"))
    return Failed(error_value("duckdb", message, retryable=retryable, detail=detail))


TOOL: Final = Tool("duckdb", run, default_timeout=3600.0, imports=IMPORTS)

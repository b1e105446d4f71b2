"""The save tool: data into the event log, a table of Postgres or DuckDB, or a file.

Fields: `storage` (event_log), `data` (a mapping or a list of mappings), then for postgres and duckdb `table`, `mode`
(insert, upsert), `key` (a name or a list), or `statement` with `params`; for duckdb also `database`; for file `path`
and `format` (parquet, csv, json; default by the path's suffix). The result is `{saved, table|path, row_count}`.

It runs in a thread where it only waits for a Postgres, else in a runner, as DuckDB does.
"""

from noetl.calls import Call
from noetl.errors import TooLarge, ValueNotJson
from noetl.outcomes import Done, Failed
from noetl.playbook.values import plain
from noetl.rules.save import EVENT_LOG
from noetl.tools.base import InvalidCall, Place, Tool, failed_at
from noetl.tools.duckdb import tool as duckdb_tool
from noetl.tools.postgres.tool import Postgres
from noetl.tools.save.duckdb import store
from noetl.tools.save.order import read_order, storage_of


class Save:
    """The tool. Rows for Postgres go through `postgres`, its connections and its inbox."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def run(self, call: Call) -> Done | Failed:
        """Carry out a save. Errors: `validation`, and those of the storage's own tool."""
        try:
            storage = storage_of(call)
            if storage == EVENT_LOG:
                return _log(call)
            order = read_order(call, storage)
        except InvalidCall as failure:
            return failed_at(call.where, "validation", failure)
        if storage == "postgres":
            from noetl.tools.save.postgres import job_of  # it imports psycopg, which runners have no use for

            return self._postgres.transact(call, job_of(order))
        return store(call, order)


def make_tool(postgres: Postgres) -> Tool:
    """Return the save tool."""
    return Tool(
        "save",
        Save(postgres).run,
        default_timeout=3600.0,
        cancel=postgres.cancel,
        place_of=place_of,
        imports=duckdb_tool.IMPORTS,
    )


def place_of(call: Call) -> Place:
    """Return the place where a call runs."""
    return "runner" if call.fields.get("storage") in ("duckdb", "file") else "thread"


def _log(call: Call) -> Done | Failed:
    """Return the data as the step's own result, which the log keeps."""
    data = call.fields.get("data")
    if data is None:
        raise InvalidCall("there is nothing to save: give data")
    count = len(data) if isinstance(data, list) else 1
    try:
        return Done(plain({"saved": EVENT_LOG, "data": data, "row_count": count}, call.limit))
    except TooLarge as failure:
        return failed_at(call.where, "too_large", failure)
    except ValueNotJson as failure:
        return failed_at(call.where, "not_json", failure)

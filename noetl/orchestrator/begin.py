"""Begin leased jobs: values that they lack are read for all of them in one round trip."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import psycopg
from psycopg import Connection

from noetl.database import store
from noetl.engine.values import NotLoaded
from noetl.errors import DatabaseError
from noetl.orchestrator.attempt import Leased
from noetl.orchestrator.batch import Broken
from noetl.orchestrator.execution_cache import MissingValues, load_values

MAX_ROUNDS: Final = 100
"""How often a job may ask for values before it counts as broken."""


def begin_jobs(
    conn: Connection, schema: str, jobs: Sequence[Leased], begin: Callable[[Leased], None]
) -> list[tuple[Leased, Broken]]:
    """Call `begin` with each job, again when the values have been read that it lacked (`NotLoaded`).

    Return the jobs that could not be begun by a fault of the engine's own or of their log: each is the trouble of its
    execution only. Raises what the database raises.
    """
    broken: list[tuple[Leased, Broken]] = []
    for _ in range(MAX_ROUNDS):
        wanted: dict[int, MissingValues] = {}
        later: list[Leased] = []
        for leased in jobs:
            try:
                begin(leased)
            except NotLoaded as missing:
                execution = leased.execution
                wanted.setdefault(execution.execution_id, MissingValues(execution)).add(missing)
                later.append(leased)
            except (psycopg.OperationalError, psycopg.InterfaceError, DatabaseError):
                raise
            except Exception as error:  # noqa: BLE001 - told with the completion, which quarantines the execution
                broken.append((leased, Broken(error)))
        if not later:
            return broken
        damaged = _load(conn, schema, wanted)
        broken += [
            (job, Broken(damaged[job.execution.execution_id])) for job in later if job.execution.execution_id in damaged
        ]
        jobs = [leased for leased in later if leased.execution.execution_id not in damaged]
    return [*broken, *((leased, Broken(RuntimeError("its job asked for values a hundred times"))) for leased in jobs)]


def _load(conn: Connection, schema: str, wanted: Mapping[int, MissingValues]) -> dict[int, LookupError]:
    """Read missing values, in one round trip; return the executions whose log does not have them.

    A damaged log is the trouble of its execution only: the others are read one by one then.
    """
    try:
        with store.transaction(conn, schema, asynchronous=True):
            load_values(conn, wanted.values())
    except LookupError as damaged:
        if len(wanted) == 1:
            return dict.fromkeys(wanted, damaged)
        broken: dict[int, LookupError] = {}
        for execution_id, one in wanted.items():
            broken |= _load(conn, schema, {execution_id: one})
        return broken
    return {}

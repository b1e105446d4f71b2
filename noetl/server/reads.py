"""The reading requests of the API as functions of a connection.

Routes call them, and so do commands where no server runs: those would pay a second for the framework around the routes.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from noetl.database import read
from noetl.database.paging import Connection, Page, Row
from noetl.database.results import step_result
from noetl.errors import InputError
from noetl.orchestrator.why import explain, waits_of


def page_of(page: Page) -> Row:
    """Return one page of a list as the API shows it."""
    return {"items": page.items, "next": page.next}


def list_executions(
    conn: Connection,
    *,
    status: Sequence[str] = (),
    label: Sequence[str] = (),
    path: str | None = None,
    key: str | None = None,
    parent: str | None = None,
    root: str | None = None,
    since: datetime | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Row:
    """List executions, the newest first. Raises `InputError`."""
    wanted = read.ExecutionFilter(
        statuses=[str(each) for each in status],
        path=path,
        key=key,
        labels=_labels(label),
        parent=read.id_filter("parent", parent),
        root=read.id_filter("root", root),
        since=since,
    )
    return page_of(read.list_executions(conn, wanted, after=after, limit=limit))


def _labels(pairs: Sequence[str]) -> dict[str, str]:
    labels = {}
    for text in pairs:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"label is {text!r}; write it as key=value")
        labels[name] = value
    return labels


def show_execution(conn: Connection, execution_id: str) -> Row:
    """Show one execution. Raises `NotFound`."""
    return read.show_execution(conn, read.parse_id(execution_id))


def explain_execution(conn: Connection, execution_id: str, *, only: str | None = None) -> Row:
    """Explain an execution, or say what it waits for alone (`only`: waits). Raises `NotFound`."""
    number = read.parse_id(execution_id)
    return explain(conn, number) if only is None else {"waits": waits_of(conn, number)}


def list_events(conn: Connection, execution_id: str, *, after: str | None = None, limit: int | None = None) -> Row:
    """List the events of an execution in order. Raises `NotFound`, `InputError`."""
    return page_of(read.list_events(conn, read.parse_id(execution_id), after=after, limit=limit))


def show_step(
    conn: Connection, execution_id: str, step: str, *, visit: int | None = None, item: str | None = None
) -> Row:
    """Show the result of a step. Raises `NotFound`, `InputError`."""
    number = read.parse_id(execution_id)
    read.execution_status(conn, number)
    return step_result(conn, number, step, visit, item)


def list_output(conn: Connection, execution_id: str, *, after: str | None = None, limit: int | None = None) -> Row:
    """List the output of an execution's steps, in the order it was recorded. Raises `NotFound`, `InputError`."""
    page = read.list_output(conn, read.parse_id(execution_id), after=after, limit=limit)
    return {**page_of(page), "last": page.last or after}


def list_documents(
    conn: Connection,
    *,
    path: str | None = None,
    kind: str | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Row:
    """List the newest version of each path; with `path` all versions of that one. Raises `InputError`."""
    return page_of(read.list_catalog(conn, path=path, kind=kind, after=after, limit=limit))


def show_document(conn: Connection, path: str, *, version: int | None = None) -> Row:
    """Show one version of a document, the newest unless `version` says another. Raises `NotFound`."""
    return read.show_catalog(conn, path, version)


def list_runtime(
    conn: Connection,
    *,
    kind: str | None = None,
    status: str | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Row:
    """List servers and workers, the newest first. Raises `InputError`."""
    return page_of(read.list_runtime(conn, kind=kind, status=status, after=after, limit=limit))


READS: dict[str, Callable[..., Any]] = {
    "/api/executions": list_executions,
    "/api/executions/{execution_id}": show_execution,
    "/api/executions/{execution_id}/why": explain_execution,
    "/api/executions/{execution_id}/events": list_events,
    "/api/executions/{execution_id}/steps/{step}": show_step,
    "/api/executions/{execution_id}/output": list_output,
    "/api/catalog": list_documents,
    "/api/catalog/{path:path}": show_document,
    "/api/runtime": list_runtime,
}
"""The function of each path, as commands call it that find no server."""

"""Executions over HTTP."""

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from pydantic import AwareDatetime
from starlette.responses import Response, StreamingResponse

from noetl.database import read
from noetl.orchestrator.start import StartRequest
from noetl.playbook.values import plain
from noetl.server import reads
from noetl.server.routes import answers
from noetl.server.routes.bodies import CancelBody, StartBody, Text
from noetl.server.routes.parameters import After, CurrentService, Filter, Limit
from noetl.server.service import answer
from noetl.server.stream import follow
from noetl.words import ExecutionStatus

Statuses = Annotated[list[ExecutionStatus], Query(default_factory=list, description="may be given more than once")]
Labels = Annotated[
    list[Text], Query(default_factory=list, description="key=value; may be given more than once, all must be there")
]

router = APIRouter(prefix="/api/executions", tags=["executions"])


@router.post("", status_code=201, response_model=answers.StartedAnswer)
def start_execution(service: CurrentService, body: StartBody) -> Response:
    """Start an execution: 201, or 200 with the first one when its `key` exists for this path."""
    service.require()
    for name, value in (("payload", body.payload), ("set", body.set)):
        plain(value, service.settings.body_limit, name)
    started = service.orchestrator.start(
        StartRequest(
            path=body.path,
            version=body.version,
            payload=body.payload,
            merge=body.merge,
            overlay=body.set,
            labels=body.labels,
            priority=body.priority,
            key=body.key,
            by=body.by,
        )
    )
    shown = {
        "execution_id": str(started.execution_id),
        "path": started.path,
        "version": started.version,
        "status": str(started.status),
        "created": started.created,
    }
    return answer(shown, 201 if started.created else 200)


@router.get("", response_model=answers.PageAnswer)
def list_executions(
    service: CurrentService,
    status: Statuses,
    label: Labels,
    path: Filter = None,
    key: Filter = None,
    parent: Filter = None,
    root: Filter = None,
    since: Annotated[AwareDatetime | None, Query(description="started at this time or later, with its zone")] = None,
    after: After = None,
    limit: Limit = None,
) -> Response:
    """List executions, the newest first."""
    with service.session() as conn:
        return answer(
            reads.list_executions(
                conn,
                status=status,
                label=label,
                path=path,
                key=key,
                parent=parent,
                root=root,
                since=since,
                after=after,
                limit=limit,
            )
        )


@router.get("/{execution_id}", response_model=answers.ExecutionAnswer)
def show_execution(service: CurrentService, execution_id: str) -> Response:
    """Show one execution, with result and error once it has ended."""
    with service.session() as conn:
        return answer(reads.show_execution(conn, execution_id))


@router.get("/{execution_id}/why", response_model=answers.ExplanationAnswer)
def explain_execution(
    service: CurrentService, execution_id: str, only: Annotated[Literal["waits"] | None, Query()] = None
) -> Response:
    """Explain an execution: its steps, the reasons of its failures, and what it waits for (`only`: waits)."""
    with service.session() as conn:
        return answer(reads.explain_execution(conn, execution_id, only=only))


@router.post("/{execution_id}/cancel", status_code=202, response_model=answers.StatusAnswer)
def cancel_execution(service: CurrentService, execution_id: str, body: CancelBody | None = None) -> Response:
    """Ask an execution to end. A second request also ends its `finally`."""
    service.require()
    request = body or CancelBody()
    number = read.parse_id(execution_id)
    status = service.orchestrator.cancel(number, by=request.by, reason=request.reason)
    return answer({"execution_id": str(number), "status": str(status)}, 202)


@router.get("/{execution_id}/events", response_model=answers.PageAnswer)
def list_events(service: CurrentService, execution_id: str, after: After = None, limit: Limit = None) -> Response:
    """List the events of an execution in order; `after` is an event's number."""
    with service.session() as conn:
        return answer(reads.list_events(conn, execution_id, after=after, limit=limit))


@router.get("/{execution_id}/steps/{step}", response_model=answers.StepResultAnswer)
def show_step(
    service: CurrentService,
    execution_id: str,
    step: Text,
    visit: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    item: Filter = None,
) -> Response:
    """Show the result of a step: of its last visit that has ended, or of `visit`; of `item` of its loop, as 3 or 3/5.

    A result stored by reference is loaded; the result of a loop is the list of its items' results.
    """
    with service.session() as conn:
        return answer(reads.show_step(conn, execution_id, step, visit=visit, item=item))


@router.get("/{execution_id}/output", response_model=answers.OutputAnswer)
def list_output(service: CurrentService, execution_id: str, after: After = None, limit: Limit = None) -> Response:
    """List the output of an execution's steps in order; `last`, given as `after`, continues with later output."""
    with service.session() as conn:
        return answer(reads.list_output(conn, execution_id, after=after, limit=limit))


@router.get("/{execution_id}/stream", response_class=StreamingResponse)
def stream_events(
    service: CurrentService,
    execution_id: str,
    after: After = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """Follow the events of an execution as server-sent events, until it has ended.

    `after` (or the header Last-Event-ID, which a client sends when it comes back) is an event's number.
    """
    number = read.parse_id(execution_id)
    name, text = ("Last-Event-ID", last_event_id) if last_event_id is not None else ("after", after)
    begin = read.event_number(text, name)
    with service.session() as conn:
        read.execution_status(conn, number)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(follow(service.reader, number, begin), media_type="text/event-stream", headers=headers)

"""Routes of operations: liveness, readiness, health, queue, runtime and errors."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from noetl import __version__
from noetl.database import read
from noetl.server import failures, reads
from noetl.server.routes import answers
from noetl.server.routes.parameters import After, CurrentService, Filter, Limit
from noetl.server.service import answer
from noetl.words import JobStatus, RuntimeStatus

probes = APIRouter(tags=["probes"])  # the two routes without a token
router = APIRouter(prefix="/api", tags=["operations"])


@probes.get("/livez")
async def show_liveness(service: CurrentService) -> Response:
    """Say that the process lives, and which instance it serves (null: it has no schema yet)."""
    # A coroutine, which answers though every thread waits for the database.
    return answer({"status": "alive", "instance": service.instance, "version": __version__})


@probes.get("/readyz")
def show_readiness(service: CurrentService) -> Response:
    """Say whether calls can be served, and if not, what to run."""
    problem = service.look()
    if problem is None:
        return answer({"status": "ready", "instance": service.instance})
    return failures.answer(503, failures.status_of(problem)[1], str(problem))


@router.get("/health", response_model=answers.HealthAnswer)
def show_health(service: CurrentService) -> Response:
    """Show the instance, its jobs by status, and the servers and workers that run."""
    with service.session() as conn:
        counts = read.counts(conn)
    return answer({"status": "ok", "version": __version__, "instance": service.instance, **counts})


@router.get("/queue", response_model=answers.PageAnswer)
def list_queue(
    service: CurrentService,
    status: Annotated[JobStatus | None, Query()] = None,
    pool: Filter = None,
    execution_id: Filter = None,
    after: After = None,
    limit: Limit = None,
) -> Response:
    """List the work still to be done, the oldest first."""
    number = read.id_filter("execution_id", execution_id)
    with service.session() as conn:
        return answer(
            reads.page_of(
                read.list_queue(conn, status=status, pool=pool, execution_id=number, after=after, limit=limit)
            )
        )


@router.get("/runtime", response_model=answers.PageAnswer)
def list_runtime(
    service: CurrentService,
    kind: Filter = None,
    status: Annotated[RuntimeStatus | None, Query()] = None,
    after: After = None,
    limit: Limit = None,
) -> Response:
    """List servers and workers, the newest first."""
    with service.session() as conn:
        return answer(reads.list_runtime(conn, kind=kind, status=status, after=after, limit=limit))


@router.get("/errors", response_model=answers.PageAnswer)
def list_errors(
    service: CurrentService, execution_id: Filter = None, after: After = None, limit: Limit = None
) -> Response:
    """List the error log, the newest first."""
    number = read.id_filter("execution_id", execution_id)
    with service.session() as conn:
        return answer(reads.page_of(read.list_errors(conn, execution_id=number, after=after, limit=limit)))

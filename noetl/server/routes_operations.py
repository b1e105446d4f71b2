"""How the instance does: liveness, readiness, queue, runtime, errors."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from noetl import __version__
from noetl.database import read
from noetl.server import answers, failures
from noetl.server.routes_catalog import After, Filter, Limit
from noetl.server.service import Service, answer
from noetl.words import JobStatus, RuntimeStatus


def probe_routes(service: Service) -> APIRouter:
    """Return the two routes without a token."""
    router = APIRouter(tags=["probes"])

    @router.get("/livez")
    async def show_liveness() -> Response:
        """Say that the process lives, and which instance it serves (null: it has no schema yet)."""
        # A coroutine, which answers though every thread waits for the database.
        return answer({"status": "alive", "instance": service.instance, "version": __version__})

    @router.get("/readyz")
    def show_readiness() -> Response:
        """Say whether calls can be served, and if not, what to run."""
        problem = service.look()
        if problem is None:
            return answer({"status": "ready", "instance": service.instance})
        return failures.answer(503, failures.status_of(problem)[1], str(problem))

    return router


def operation_routes(service: Service) -> APIRouter:
    """Return the routes that show what is going on."""
    router = APIRouter(prefix="/api", tags=["operations"])

    @router.get("/health", response_model=answers.Health)
    def show_health() -> Response:
        """Show the instance, its jobs by status, and the servers and workers that run."""
        with service.session() as conn:
            found = read.counts(conn)
        return answer({"status": "ok", "version": __version__, "instance": service.instance, **found})

    @router.get("/queue", response_model=answers.Items)
    def list_queue(
        status: Annotated[JobStatus | None, Query()] = None,
        pool: Filter = None,
        execution_id: Filter = None,
        after: After = None,
        limit: Limit = None,
    ) -> Response:
        """List the work still to be done, the oldest first."""
        number = read.id_filter("execution_id", execution_id)
        with service.session() as conn:
            page = read.list_queue(conn, status=status, pool=pool, execution_id=number, after=after, limit=limit)
        return answer({"items": page.items, "next": page.next})

    @router.get("/runtime", response_model=answers.Items)
    def list_runtime(
        kind: Filter = None,
        status: Annotated[RuntimeStatus | None, Query()] = None,
        after: After = None,
        limit: Limit = None,
    ) -> Response:
        """List servers and workers, the newest first."""
        with service.session() as conn:
            page = read.list_runtime(conn, kind=kind, status=status, after=after, limit=limit)
        return answer({"items": page.items, "next": page.next})

    @router.get("/errors", response_model=answers.Items)
    def list_errors(execution_id: Filter = None, after: After = None, limit: Limit = None) -> Response:
        """List the error log, the newest first."""
        number = read.id_filter("execution_id", execution_id)
        with service.session() as conn:
            page = read.list_errors(conn, execution_id=number, after=after, limit=limit)
        return answer({"items": page.items, "next": page.next})

    return router

"""The catalog over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from noetl.server import reads
from noetl.server.routes import answers
from noetl.server.routes.bodies import RegisterBody, Text
from noetl.server.routes.parameters import After, CurrentService, Filter, Limit
from noetl.server.service import answer

Version = Annotated[int | None, Query(ge=1, lt=2**31)]

router = APIRouter(prefix="/api/catalog", tags=["catalog"])


@router.post("", status_code=201, response_model=answers.RegisteredAnswer)
def register_document(service: CurrentService, body: RegisterBody) -> Response:
    """Put a document into the catalog.

    Content equal to the newest version returns that one (200). Only playbooks are checked.
    """
    service.require()
    entry = service.orchestrator.register(body.content, filename=body.filename, by=body.by)
    shown = {"path": entry.path, "version": entry.version, "kind": entry.kind, "created": entry.created}
    return answer(shown, 201 if entry.created else 200)


@router.get("", response_model=answers.PageAnswer)
def list_documents(
    service: CurrentService, path: Filter = None, kind: Filter = None, after: After = None, limit: Limit = None
) -> Response:
    """List the newest version of each path; with `path` all versions of that one."""
    with service.session() as conn:
        return answer(reads.list_documents(conn, path=path, kind=kind, after=after, limit=limit))


@router.get("/{path:path}", response_model=answers.DocumentAnswer)
def show_document(service: CurrentService, path: Text, version: Version = None) -> Response:
    """Show one version of a document, the newest unless `version` says another."""
    with service.session() as conn:
        return answer(reads.show_document(conn, path, version=version))

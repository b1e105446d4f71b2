"""The catalog over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from noetl.database import read
from noetl.database.paging import MAX_LIMIT
from noetl.server import answers
from noetl.server.bodies import Register, Text
from noetl.server.service import Service, answer

After = Annotated[Text | None, Query(description="`next` of the page before")]
Limit = Annotated[int | None, Query(description=f"items of one page, 1 to {MAX_LIMIT}")]
Filter = Annotated[Text | None, Query()]
Version = Annotated[int | None, Query(ge=1, lt=2**31)]


def catalog_routes(service: Service) -> APIRouter:
    """Return the routes of the catalog."""
    router = APIRouter(prefix="/api/catalog", tags=["catalog"])

    @router.post("", status_code=201, response_model=answers.Registered)
    def register_document(body: Register) -> Response:
        """Put a document into the catalog.

        Content equal to the newest version returns that one (200). Only playbooks are checked.
        """
        service.require()
        done = service.orchestrator.register(body.content, filename=body.filename, by=body.by)
        found = {"path": done.path, "version": done.version, "kind": done.kind, "created": done.created}
        return answer(found, 201 if done.created else 200)

    @router.get("", response_model=answers.Items)
    def list_documents(path: Filter = None, kind: Filter = None, after: After = None, limit: Limit = None) -> Response:
        """List the newest version of each path; with `path` all versions of that one."""
        with service.session() as conn:
            page = read.list_catalog(conn, path=path, kind=kind, after=after, limit=limit)
        return answer({"items": page.items, "next": page.next})

    @router.get("/{path:path}", response_model=answers.CatalogEntry)
    def show_document(path: Text, version: Version = None) -> Response:
        """Show one version of a document, the newest unless `version` says another."""
        with service.session() as conn:
            return answer(read.show_catalog(conn, path, version))

    return router

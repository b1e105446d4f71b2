"""The application: routes behind the gate."""

from collections.abc import Iterable

from fastapi import FastAPI

from noetl import __version__
from noetl.server import describe, failures
from noetl.server.gate import Gate, Hosts
from noetl.server.routes import answers, catalog, credentials, executions, operations
from noetl.server.service import Service

_FAILURES: dict[int | str, dict[str, object]] = {
    "4XX": {"model": answers.FailureAnswer, "description": "What is wrong with the request"},
    "5XX": {"model": answers.FailureAnswer, "description": "What keeps the server from serving"},
}

ROUTERS = (
    operations.probes,
    operations.router,
    catalog.router,
    executions.router,
    credentials.router,
)


def build_api(service: Service) -> FastAPI:
    """Return the routes, without the gate in front of them."""
    app = FastAPI(
        title="NoETL",
        version=__version__,
        description="Durable YAML playbooks. Every route but /livez and /readyz needs a bearer token.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages load scripts from elsewhere, and a browser's page has no token
        redoc_url=None,
        redirect_slashes=False,
        responses=_FAILURES,
        generate_unique_id_function=describe.operation_id,
    )
    failures.install(app)
    describe.install(app)
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    return app


def build_app(
    service: Service,
    *,
    token: str,
    bound: str,
    allowed_hosts: Iterable[str] = (),
) -> Gate:
    """Return the whole application, as it is served at address `bound`."""
    hosts = Hosts(bound, allowed_hosts)
    return Gate(build_api(service), token=token, hosts=hosts, limit=service.settings.body_limit)

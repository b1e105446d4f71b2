"""Parameters that several routes share: the service of the application, filters, and the page of a list."""

from collections import Counter
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from noetl.database.paging import MAX_LIMIT
from noetl.errors import InputError
from noetl.playbook.suggest import did_you_mean
from noetl.server.routes.bodies import Text
from noetl.server.service import Service


async def service_for(request: Request) -> Service:
    """Return the service of the application for a request whose query its route knows.

    Raises `InputError` as `check_query` does. One dependency does both: each costs every request some 8 µs. It is a
    coroutine, so that it takes no thread.
    """
    check_query(request)
    service: Service = request.app.state.service
    return service


CurrentService = Annotated[Service, Depends(service_for)]
After = Annotated[Text | None, Query(description="`next` of the page before")]
Limit = Annotated[int | None, Query(description=f"items of one page, 1 to {MAX_LIMIT}")]
Filter = Annotated[Text | None, Query()]


def check_query(request: Request) -> None:
    """Refuse query parameters that the route does not know: a misspelt filter would list everything.

    Raises `InputError`, also for a parameter given twice that is no list.
    """
    route = request.scope.get("route")
    if not request.scope["query_string"] or not isinstance(route, APIRoute):
        return
    known = _parameters(route.dependant)
    for name, count in Counter(name for name, _ in request.query_params.multi_items()).items():
        if name not in known:
            advice = f"there are {', '.join(sorted(known))}" if known else "this route has none"
            raise InputError(f"there is no query parameter {name!r}{did_you_mean(name, known)}: {advice}")
        if count > 1 and not known[name]:
            raise InputError(f"{name} is given {count} times: give it once")


def _parameters(dependant: Dependant) -> dict[str, bool]:
    """Return the query parameters of a route: whether each may be given more than once."""
    return {
        field.alias: getattr(field.field_info.annotation, "__origin__", None) is list
        for field in dependant.query_params
    }

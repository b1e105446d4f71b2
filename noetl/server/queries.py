"""Query parameters: those that a route does not know, and those given twice, are errors."""

from collections import Counter

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from noetl.errors import InputError
from noetl.playbook.suggest import did_you_mean


async def check_query(request: Request) -> None:
    """Refuse a request whose query the route would not heed: a misspelt filter would list everything.

    Raises `InputError`. A coroutine, so that no thread is needed for it.
    """
    given = Counter(name for name, _ in request.query_params.multi_items())
    route = request.scope.get("route")
    if not given or not isinstance(route, APIRoute):
        return
    known = _parameters(route.dependant)
    for name, count in given.items():
        if name not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "this route has none"
            raise InputError(f"there is no query parameter {name!r}{did_you_mean(name, known)}: {there}")
        if count > 1 and not known[name]:
            raise InputError(f"{name} is given {count} times: give it once")


def _parameters(dependant: Dependant) -> dict[str, bool]:
    """Return the query parameters of a route: whether each may be given more than once."""
    return {
        field.alias: getattr(field.field_info.annotation, "__origin__", None) is list
        for field in dependant.query_params
    }

"""The OpenAPI description beside its routes: the login, the names of calls for programs, examples."""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from noetl.server.gate import OPEN_PATHS, YAML_PATH, YAML_TYPES
from noetl.server.openapi_examples import ANSWERS, BODIES, PARAMETERS

BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "The server's NOETL_API_TOKEN, else the text of the file token in its NOETL_HOME.",
}


def operation_id(route: APIRoute) -> str:
    """Return the name of a route for generated clients: that of its function, as listExecutions."""
    first, *others = route.name.split("_")
    return first + "".join(part.capitalize() for part in others)


def install(app: FastAPI) -> None:
    """Make the application describe its login and the bodies that the gate takes beside JSON."""
    plain = app.openapi

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = plain()
            description["components"]["securitySchemes"] = {"bearer": BEARER}
            description["security"] = [{"bearer": []}]
            for path in OPEN_PATHS:
                for operation in description["paths"][path].values():
                    operation["security"] = []
            _add_examples(description)
            content = description["paths"][YAML_PATH]["post"]["requestBody"]["content"]
            document = {"schema": {"type": "string"}, "example": BODIES["RegisterBody"]["content"]}
            content |= dict.fromkeys(YAML_TYPES, document)
        return app.openapi_schema or {}

    app.openapi = describe  # type: ignore[method-assign]


def _add_examples(description: dict[str, Any]) -> None:
    for name, example in {**BODIES, **ANSWERS}.items():
        description["components"]["schemas"][name]["examples"] = [example]
    for operations in description["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                own = f"{operation['operationId']}.{parameter['name']}"
                name = own if own in PARAMETERS else parameter["name"]
                if name in PARAMETERS:
                    parameter["example"] = PARAMETERS[name]

"""The OpenAPI description: a login, names for programs, examples, and the shape of errors."""

import re
from typing import Any

import jsonschema
import pytest
from fastapi.routing import APIRoute

from noetl.server.app import ROUTERS, build_api
from noetl.server.gate import OPEN_PATHS
from noetl.server.openapi_examples import ANSWERS, BODIES, PARAMETERS
from noetl.server.reads import READS
from noetl.server.routes import answers, bodies
from noetl.server.routes.parameters import service_for
from tests.unit.server.test_gate import make_service

DESCRIPTION: dict[str, Any] = build_api(make_service()).openapi()
OPERATIONS = [
    (path, method, operation) for path, methods in DESCRIPTION["paths"].items() for method, operation in methods.items()
]


def test_every_call_but_the_probes_needs_the_bearer_token() -> None:
    assert DESCRIPTION["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert DESCRIPTION["security"] == [{"bearer": []}]
    for path, _, operation in OPERATIONS:
        assert operation.get("security") == ([] if path in OPEN_PATHS else None), path


def test_calls_have_names_that_a_program_can_use() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", name) for name in names)
    assert {"listExecutions", "startExecution", "cancelExecution", "registerDocument", "streamEvents"} <= set(names)


def test_every_route_refuses_query_parameters_that_it_does_not_know() -> None:
    routes = [each for router in ROUTERS for each in router.routes if isinstance(each, APIRoute)]
    assert {each.name for each in routes if service_for not in {d.call for d in each.dependant.dependencies}} == set()
    assert len(routes) == len(OPERATIONS)


def test_what_commands_read_without_a_server_are_paths_of_the_api() -> None:
    paths = {route.path for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)}
    assert set(READS) <= paths


def test_every_error_has_the_one_shape() -> None:
    assert "HTTPValidationError" not in DESCRIPTION["components"]["schemas"]
    for path, _, operation in OPERATIONS:
        for status in ("4XX", "5XX"):
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/FailureAnswer"}, path


@pytest.mark.parametrize(("name", "example"), [*BODIES.items(), *ANSWERS.items()])
def test_an_example_fits_its_model(name: str, example: dict[str, Any]) -> None:
    assert DESCRIPTION["components"]["schemas"][name]["examples"] == [example]
    model = getattr(bodies if name in BODIES else answers, name)
    model.model_validate(example)
    assert set(example) <= set(model.model_fields)


def test_every_body_has_an_example_and_parameters_fit_theirs() -> None:
    assert {name for name in vars(bodies) if name in DESCRIPTION["components"]["schemas"]} == set(BODIES)
    seen = set()
    for _, _, operation in OPERATIONS:
        for parameter in operation.get("parameters", ()):
            if "example" not in parameter:
                assert parameter["name"] not in PARAMETERS
                continue
            own = f"{operation['operationId']}.{parameter['name']}"
            seen.add(own if own in PARAMETERS else parameter["name"])
            schema = {**parameter["schema"], "components": DESCRIPTION["components"]}
            value = parameter["example"]
            jsonschema.validate([value] if schema.get("type") == "array" else value, schema)
    assert seen == set(PARAMETERS)


def test_a_document_may_be_sent_as_yaml() -> None:
    content = DESCRIPTION["paths"]["/api/catalog"]["post"]["requestBody"]["content"]
    assert content["application/yaml"]["schema"] == {"type": "string"}
    assert "application/json" in content

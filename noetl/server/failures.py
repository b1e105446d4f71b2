"""The answers to requests that fail: `{error: {type, message, detail}}` and a status for each error."""

import logging
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from noetl import errors

log = logging.getLogger("noetl.server")

_STATUS: tuple[tuple[type[errors.NoetlError], int, str], ...] = (
    # The first that fits counts: a class stands before its base.
    (errors.PlaybookError, 422, "playbook"),
    (errors.TemplateError, 422, "template"),
    (errors.ValueNotJson, 422, "not_json"),
    (errors.TooLarge, 413, "too_large"),
    (errors.NotFound, 404, "not_found"),
    (errors.Conflict, 409, "conflict"),
    (errors.InputError, 422, "validation"),
    (errors.Unauthorized, 401, "unauthorized"),
    (errors.SchemaMissing, 503, "schema_missing"),
    (errors.SchemaMismatch, 503, "schema_mismatch"),
    (errors.Locked, 503, "locked"),
    (errors.Unreachable, 503, "unreachable"),
    (errors.DatabaseError, 503, "database"),
)


_LASTING = (errors.Unreachable, errors.SchemaMissing, errors.SchemaMismatch)
"""Errors that the server watches by itself and logs once, not with each request."""


def status_of(error: errors.NoetlError) -> tuple[int, str]:
    """Return the HTTP status and the type word of an error."""
    for kind, status, word in _STATUS:
        if isinstance(error, kind):
            return status, word
    return 500, "internal"


def answer_bytes(type_: str, message: str, detail: object = None) -> bytes:
    """Return the body of an error answer."""
    return orjson.dumps({"error": {"type": type_, "message": message, "detail": detail}}, default=str)


def answer(status: int, type_: str, message: str, detail: object = None) -> Response:
    """Return an error answer."""
    return Response(answer_bytes(type_, message, detail), status, media_type="application/json")


def _noetl_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.NoetlError)
    status, word = status_of(error)
    if status >= 500 and not isinstance(error, _LASTING):
        log.warning("%s", error)
    detail = None
    if isinstance(error, errors.PlaybookError):
        detail = [
            {
                "file": problem.file,
                "line": problem.line,
                "column": problem.column,
                "severity": problem.severity,
                "code": problem.code,
                "message": problem.message,
            }
            for problem in error.problems
        ]
    return answer(status, word, str(error), detail)


def _validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [{"where": _where(item["loc"]), "message": _message(item)} for item in error.errors()]
    text = "; ".join(_sentence(**item) for item in problems)
    return answer(422, "validation", text, problems)


def _sentence(where: str, message: str) -> str:
    return f"{where} {message}" if message.startswith(("is ", "must ")) else f"{where}: {message}"


def _where(location: tuple[object, ...]) -> str:
    parts = list(location[1:] or location)
    if location[0] == "query":  # one of several values of a parameter: people count them differently
        parts = parts[:1]
    return ".".join(str(part) for part in parts)


def _message(item: dict[str, Any]) -> str:
    if item["type"] == "dict_type":
        return "must be a JSON object"
    if item["type"] == "json_invalid":
        return f"is not JSON: {item.get('ctx', {}).get('error', '')}"
    if item["type"] == "enum" and isinstance(item.get("input"), str):
        return f"is {item['input']!r}; it must be {item['ctx']['expected']}"
    if item["type"] == "int_parsing":
        return f"is {str(item['input'])!r}; it must be a whole number"
    if item["type"] == "extra_forbidden":
        return "is not a field of this request"
    text = str(item["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return answer(
            404, "not_found", f"there is nothing at {request.url.path}: /api/openapi.json lists what there is"
        )
    if error.status_code == 405:
        return answer(
            405,
            "not_allowed",
            f"{request.method} is not possible on {request.url.path}: /api/openapi.json lists what is",
        )
    if error.status_code == 400:  # the framework could not even begin to read it
        return answer(400, "not_json", "the body cannot be read as JSON: it is not UTF-8, or nested too deep")
    return answer(error.status_code, "http", str(error.detail))


def _unexpected(_request: Request, _error: Exception) -> Response:
    # The traceback is logged by the server that called the application, once.
    return answer(500, "internal", "the server failed on this request: its log says why")


def install(app: FastAPI) -> None:
    """Make the application answer every error in this shape."""
    app.add_exception_handler(errors.NoetlError, _noetl_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)

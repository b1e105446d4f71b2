"""Models of the bodies of requests: strict types, no unknown fields."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def storable(text: str) -> str:
    """Return a text that Postgres can store. Raises ValueError for NUL and lone surrogates."""
    if "\0" in text:
        raise ValueError("holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no character") from None
    return text


Text = Annotated[str, AfterValidator(storable)]
Short = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(storable)]
Who = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(storable)]


class RequestBody(BaseModel):
    """The base of all bodies."""

    model_config = ConfigDict(extra="forbid", strict=True)


class RegisterBody(RequestBody):
    """A document for the catalog. Problems are reported under `filename`."""

    content: Text
    filename: Short = "body"
    by: Who = "api"


class StartBody(RequestBody):
    """An execution to start.

    `payload` is laid over the playbook's workload, shallowly or (`merge`) deeply; `set` is laid over both, always
    deeply. With `key` a second request for the same path returns the first execution.
    """

    path: Short
    version: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    payload: dict[str, Any] = {}
    merge: bool = False
    set: dict[str, Any] = {}
    labels: dict[Short, Text] = {}
    priority: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    key: Short | None = None
    by: Who = "api"


class CancelBody(RequestBody):
    """The reason for which an execution is cancelled."""

    reason: Annotated[str, Field(max_length=2000), AfterValidator(storable)] = ""
    by: Who = "api"


class CredentialBody(RequestBody):
    """A credential to store. `replace` overwrites one of the same name."""

    name: Short
    type: Short
    fields: dict[Text, Any]
    description: Annotated[str, Field(max_length=2000), AfterValidator(storable)] = ""
    replace: bool = False

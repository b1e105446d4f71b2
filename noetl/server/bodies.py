"""What requests may carry: strict types, no unknown fields."""

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


class Body(BaseModel):
    """The base of all bodies."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Register(Body):
    """A document for the catalog. `filename` is what problems are reported under."""

    content: Text
    filename: Short = "body"
    by: Who = "api"


class Start(Body):
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


class Cancel(Body):
    """Why an execution shall end."""

    reason: Annotated[str, Field(max_length=2000), AfterValidator(storable)] = ""
    by: Who = "api"


class NewCredential(Body):
    """A credential to store. `replace`: take the place of the one of this name."""

    name: Short
    type: Short
    fields: dict[Text, Any]
    description: Annotated[str, Field(max_length=2000), AfterValidator(storable)] = ""
    replace: bool = False

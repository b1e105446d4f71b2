"""Models of the API's answers, for its OpenAPI description. Ids are text, times are ISO texts in UTC."""

from typing import Any

from pydantic import BaseModel


class FailureReason(BaseModel):
    """The reason of a failure: the problem with its value, and the remedy."""

    type: str
    message: str
    detail: Any = None


class FailureAnswer(BaseModel):
    """The answer to every request that fails."""

    error: FailureReason


class PageAnswer(BaseModel):
    """One page of a list. `next` is handed back as `after`; null at the end."""

    items: list[dict[str, Any]]
    next: str | None


class OutputAnswer(PageAnswer):
    """One page of output. `last`, handed back as `after`, continues with later output; null where there is none."""

    last: str | None


class HealthAnswer(BaseModel):
    """The health of the instance: jobs by status, running servers and workers by kind, living workers by pool."""

    status: str
    version: str
    instance: str | None
    queue: dict[str, int]
    running: dict[str, int]
    pools: dict[str, int]


class RegisteredAnswer(BaseModel):
    """The catalog entry of a document. `created` is false when the newest version had this content already."""

    path: str
    version: int
    kind: str
    created: bool


class DocumentAnswer(BaseModel):
    """One version of a document."""

    catalog_id: str
    path: str
    version: int
    kind: str
    name: str
    description: str
    content_hash: str
    created_by: str | None
    created_at: str
    content: str


class StartedAnswer(BaseModel):
    """An accepted execution. `created` is false when `key` had started it before."""

    execution_id: str
    path: str
    version: int
    status: str
    created: bool


class ExecutionAnswer(BaseModel):
    """One execution. `jobs` are its jobs in the queue (at most 100), `result` and `error` are set at the end."""

    execution_id: str
    path: str
    version: int
    status: str
    pool: str
    priority: int
    labels: dict[str, Any]
    start_key: str | None
    started_by: str | None
    parent_execution_id: str | None
    root_execution_id: str
    last_event_id: str
    cancel_requested_at: str | None
    timeout_at: str | None
    started_at: str
    finished_at: str | None
    workload: Any
    jobs: list[dict[str, Any]]
    result: Any
    error: Any


class ExplanationAnswer(BaseModel):
    """An execution explained.

    `steps` have begun: the newest visit of each, in the order of their begin, with the `duration` of its last attempt
    in seconds. `failures` failed for good, `lines` being the reason beyond the message. `waits` say for what the jobs
    of an execution that goes on wait, each with a `kind` (time, retry, child, worker, turn, lease, lost, running,
    quarantined, paused, cancel, unqueued) and a sentence.
    """

    execution_id: str
    path: str
    version: int
    status: str
    steps: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    waits: list[dict[str, Any]]


class StepResultAnswer(BaseModel):
    """The end of a step run, or of one item of its loop: the event, the result and the error."""

    event_id: str
    event_type: str
    node_id: str
    visit: int
    item_index: int
    result: Any
    error: Any


class StatusAnswer(BaseModel):
    """The status of an execution now."""

    execution_id: str
    status: str


class StoredCredentialAnswer(BaseModel):
    """A stored credential. `created` is false when it replaced another one."""

    name: str
    type: str
    created: bool


class CredentialAnswer(BaseModel):
    """A credential. The values of `fields` are masked, unless `reveal` asks for them and the server allows it."""

    name: str
    type: str
    key_id: str
    description: str
    created_at: str
    updated_at: str
    fields: dict[str, Any]


class RemovedCredentialAnswer(BaseModel):
    """A removed credential."""

    name: str


class RotatedAnswer(BaseModel):
    """The number of credentials that are encrypted with the key `key_id` now."""

    rotated: int
    key_id: str

"""What the API answers with, for its OpenAPI description. Ids are text, times are ISO texts in UTC."""

from typing import Any

from pydantic import BaseModel


class Problem(BaseModel):
    """What is wrong, with which value, and what to do."""

    type: str
    message: str
    detail: Any = None


class Failure(BaseModel):
    """The answer to every request that fails."""

    error: Problem


class Items(BaseModel):
    """One page of a list. `next` is handed back as `after`; null at the end."""

    items: list[dict[str, Any]]
    next: str | None


class Output(Items):
    """What steps printed. `last`, handed back as `after`, shows what was printed later; null where nothing was."""

    last: str | None


class Health(BaseModel):
    """How the instance does: jobs by status, running servers and workers by kind, living workers by pool."""

    status: str
    version: str
    instance: str | None
    queue: dict[str, int]
    running: dict[str, int]
    pools: dict[str, int]


class Registered(BaseModel):
    """Where a document stands in the catalog. `created` is false when the newest version had this content."""

    path: str
    version: int
    kind: str
    created: bool


class CatalogEntry(BaseModel):
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


class Started(BaseModel):
    """An accepted execution. `created` is false when `key` had started it before."""

    execution_id: str
    path: str
    version: int
    status: str
    created: bool


class Execution(BaseModel):
    """One execution. `jobs` is what of it stands in the queue (at most 100), `result` and `error` are set at the
    end."""

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
    expires_at: str | None
    started_at: str
    finished_at: str | None
    workload: Any
    jobs: list[dict[str, Any]]
    result: Any
    error: Any


class Why(BaseModel):
    """An execution explained. `steps` have begun (the newest visit of each, in the order of their begin); `failures`
    failed for good, `lines` being the reason beyond the message; `waits` say what the jobs of an execution that goes on
    wait for, each with a `kind` (time, retry, child, worker, turn, lease, lost, running, set_aside, paused, cancel,
    unqueued) and a sentence."""

    execution_id: str
    path: str
    version: int
    status: str
    steps: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    waits: list[dict[str, Any]]


class StepResult(BaseModel):
    """What a step run, or one item of its loop, gave: the event that ended it, its result and its error."""

    event_id: str
    event_type: str
    node_id: str
    visit: int
    item_index: int
    result: Any
    error: Any


class Status(BaseModel):
    """Where an execution stands now."""

    execution_id: str
    status: str


class StoredCredential(BaseModel):
    """A credential that was stored. `created` is false when it took another's place."""

    name: str
    type: str
    created: bool


class Credential(BaseModel):
    """A credential. The values of `fields` are masked, unless they were asked for and may be shown."""

    name: str
    type: str
    key_id: str
    description: str
    created_at: str
    updated_at: str
    fields: dict[str, Any]


class RemovedCredential(BaseModel):
    """A credential that is no more."""

    name: str


class Rotated(BaseModel):
    """How many credentials are encrypted with the key `key_id` now."""

    rotated: int
    key_id: str

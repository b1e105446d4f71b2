"""The vocabulary everybody shares: statuses, event types, ids, reserved names.

One word per idea. The schema's CHECK constraints name exactly these values; a test holds the two together.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar, dataclass_transform

JsonValue = Any
"""What a step result, a workload, an argument is made of."""


T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def fact(cls: type[T]) -> type[T]:
    """Make a frozen dataclass of what is made anew with every step: it is the type checker that freezes it, since doing
    so at run time makes it five times as dear to make."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


class ExecutionStatus(StrEnum):
    """Where an execution stands. `finishing` runs the `finally` workflow; the last three are terminal."""

    RUNNING = "running"
    PAUSED = "paused"
    FAILING = "failing"
    CANCELLING = "cancelling"
    FINISHING = "finishing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL


TERMINAL: Final = frozenset({ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED})


class JobStatus(StrEnum):
    """Where a queue row stands. A finished job has no row."""

    QUEUED = "queued"
    LEASED = "leased"
    WAITING = "waiting"
    PAUSED = "paused"


class EventType(StrEnum):
    """What can have happened to an execution."""

    EXECUTION_START = "execution_start"
    STEP_QUEUED = "step_queued"
    ATTEMPT_FAILED = "attempt_failed"
    LEASE_EXPIRED = "lease_expired"
    LOOP_STARTED = "loop_started"
    ITEM_COMPLETED = "item_completed"
    ITEM_FAILED = "item_failed"
    ITEM_SKIPPED = "item_skipped"
    STEP_COMPLETED = "step_completed"
    STEP_FAILED = "step_failed"
    STEP_SKIPPED = "step_skipped"
    STEP_CANCELLED = "step_cancelled"
    EXECUTION_FAILING = "execution_failing"
    EXECUTION_CANCEL_REQUESTED = "execution_cancel_requested"
    EXECUTION_PAUSED = "execution_paused"
    EXECUTION_RESUMED = "execution_resumed"
    EXECUTION_FINISHING = "execution_finishing"
    EXECUTION_COMPLETE = "execution_complete"
    EXECUTION_FAILED = "execution_failed"
    EXECUTION_CANCELLED = "execution_cancelled"


TERMINAL_EVENTS: Final = frozenset(
    {EventType.EXECUTION_COMPLETE, EventType.EXECUTION_FAILED, EventType.EXECUTION_CANCELLED}
)


class RuntimeStatus(StrEnum):
    """Where a server or worker process stands."""

    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"
    OFFLINE = "offline"


NO_ITEM: Final = -1
"""`item_index` outside loops."""

CANCEL_NODE: Final = "$cancel"
"""`node_id` of the job by which one execution cancels another."""

CONTINUE_NODE: Final = "$continue"
"""`node_id` of the job by which a long chain of routers goes on in a transaction of its own."""

ROUTER: Final = "router"
"""The action type of a step that only routes."""

DEFAULT_POOL: Final = "default"

RESERVED_NAMES: Final = frozenset(
    {
        "workload",
        "result",
        "results",
        "this",
        "error",
        "env",
        "job",
        "index",
        "context",
        "secret",
        "execution_id",
    }
)
"""Names that no step may have, since templates give them a meaning of their own."""


CHUNK: Final = 500
"""Items of a collection that are stored in one row."""


def step_of(node_id: str) -> str:
    """Return the step that a node belongs to: `step/3` is the loop that item 3 of the step's loop runs."""
    return node_id.partition("/")[0]


def item_node(node_id: str, item_index: int) -> str:
    """Return the node of the loop that an item of an outer loop runs."""
    return f"{node_id}/{item_index}"


def idempotency_key(execution_id: int, step: str, visit: int, item_index: int, repeats: int = 0) -> str:
    """Return the stable name of a step run's side effect: equal for every attempt of it.

    `repeats` counts the attempts that succeeded and whose result `retry` did not take: the next is an effect of its
    own, and must not be answered with theirs.
    """
    key = f"{execution_id}:{step}:{visit}:{item_index}"
    return f"{key}:{repeats}" if repeats else key

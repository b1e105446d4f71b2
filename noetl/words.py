"""The vocabulary everybody shares: statuses, event types, ids, reserved names.

One word per idea. The schema's CHECK constraints name exactly the statuses, and a test holds the two together. Event
types have no CHECK, since the processes of two versions may write to one log during an upgrade; a test holds the types
that the statements name against `EventType`. `docs/internals.md` draws how statuses follow each other.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar, dataclass_transform

JsonValue = Any
"""A value of a step result, a workload or an argument."""


T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def fact(cls: type[T]) -> type[T]:
    """Make a frozen dataclass of what is made anew with every step: it is the type checker that freezes it, since doing
    so at run time makes it five times as dear to make."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


class ExecutionStatus(StrEnum):
    """The status of an execution. The last three are terminal: no event follows."""

    RUNNING = "running"
    """Set by the start. Ends with the first failure that nothing handles, a cancel, the timeout, or when no step is
    left to run."""

    PAUSED = "paused"
    """Set by the event `execution_paused`, which no command writes yet. Ends with `execution_resumed`, a cancel or the
    timeout."""

    FAILING = "failing"
    """Set by the first failure that nothing handles, or by the timeout: nothing new begins. Ends when the last running
    attempt has ended."""

    CANCELLING = "cancelling"
    """Set by a cancel: nothing new begins, and running attempts are killed. Ends when the last of them has ended."""

    FINISHING = "finishing"
    """Set when no step of the workflow is left to run and the playbook has a `finally`. Ends with the last step of
    `finally`, or when a second cancel has ended its attempts."""

    COMPLETED = "completed"
    """Set by the decision that finds no step left to run and no failure."""

    FAILED = "failed"
    """Set by the decision that finds no step left to run after `failing`, or after a `finally` that failed."""

    CANCELLED = "cancelled"
    """Set by the decision that finds no step left to run after `cancelling`, or after a second cancel."""

    @property
    def terminal(self) -> bool:
        return self in TERMINAL_STATUSES


TERMINAL_STATUSES: Final = frozenset({ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED})


class JobStatus(StrEnum):
    """The status of a job, which is a row of the queue. The transaction that records its outcome deletes the row."""

    QUEUED = "queued"
    """Set by the transaction that begins a step run, by the end of a wait, and by a worker that puts a job back. Ends
    with a worker's claim, or with the withdrawal of the job."""

    LEASED = "leased"
    """Set by a worker's claim, or by the completion after which the same worker continues. Ends with the outcome, a
    release, its quarantine, or the end of the lease, which any worker or server records as an outcome."""

    WAITING = "waiting"
    """Set by an attempt that waits for a time, a child or its next try. Ends when the time comes (any worker promotes
    it), the child ends (its last transaction wakes the job), or with the withdrawal of the job."""

    QUARANTINED = "quarantined"
    """Set by a worker or server that cannot read the job's playbook or state, or cannot decide what follows. Ends with
    the start of the next worker of its pool, which queues it again, or with the withdrawal of the job."""


class EventType(StrEnum):
    """The types of events. A decision makes them, and the orchestrator writes them with the state they lead to."""

    EXECUTION_START = "execution_start"
    """The first event of each execution: it was accepted."""

    STEP_QUEUED = "step_queued"
    """A step run has begun: its job stands in the queue."""

    ATTEMPT_FAILED = "attempt_failed"
    """An attempt failed, and `retry` wants another."""

    LEASE_EXPIRED = "lease_expired"
    """An attempt ended with its worker's lease."""

    LOOP_STARTED = "loop_started"
    """The items of a loop are known, and the first ones begin."""

    ITEM_COMPLETED = "item_completed"
    """An item gave its result, or the loop within it has ended."""

    ITEM_FAILED = "item_failed"
    """An item failed for good."""

    ITEM_SKIPPED = "item_skipped"
    """An item was withdrawn or killed: its loop or its execution was ending."""

    STEP_COMPLETED = "step_completed"
    """A step run gave its result, and `next` was followed."""

    STEP_FAILED = "step_failed"
    """A step run failed for good, and `on_error` was followed where there is one."""

    STEP_SKIPPED = "step_skipped"
    """A step run was withdrawn before it began: the execution was ending."""

    STEP_CANCELLED = "step_cancelled"
    """A step run was killed while it ran: the execution was ending."""

    EXECUTION_FAILING = "execution_failing"
    """A failure that nothing handles, or the timeout: nothing new begins."""

    EXECUTION_CANCEL_REQUESTED = "execution_cancel_requested"
    """Somebody, or the parent, asked for the end."""

    EXECUTION_PAUSED = "execution_paused"
    EXECUTION_RESUMED = "execution_resumed"
    """Known to `evolve`; no command writes them yet."""

    EXECUTION_FINISHING = "execution_finishing"
    """The workflow has ended, and `finally` begins."""

    EXECUTION_COMPLETE = "execution_complete"
    EXECUTION_FAILED = "execution_failed"
    EXECUTION_CANCELLED = "execution_cancelled"
    """The end: each execution has exactly one of the three, as its last event."""


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
"""`node_id` of the job that continues a long chain of routers in a transaction of its own."""

ROUTER: Final = "router"
"""The type of a step that only routes."""

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


ITEMS_PER_CHUNK: Final = 500
"""Items of a collection that one row of `loop_item` holds."""


def step_of(node_id: str) -> str:
    """Return the step that a node belongs to: `step/3` is the loop that item 3 of the step's loop runs."""
    return node_id.partition("/")[0]


def item_node(node_id: str, item_index: int) -> str:
    """Return the node of the loop that an item of an outer loop runs."""
    return f"{node_id}/{item_index}"


def idempotency_key(execution_id: int, step: str, visit: int, item_index: int, repeats: int = 0) -> str:
    """Return the stable name of a step run's side effect: equal for every attempt of it.

    `repeats` counts the attempts that succeeded and whose result `retry` did not accept: the next is an effect of its
    own, and must not be answered with theirs.
    """
    key = f"{execution_id}:{step}:{visit}:{item_index}"
    return f"{key}:{repeats}" if repeats else key

"""The rules of `retry`: whether another attempt follows, and when."""

from typing import Final

from noetl.outcomes import ErrorValue
from noetl.playbook.model import Retry

NEVER_RETRIED_ERRORS: Final = frozenset({"template", "validation", "routing"})
"""Types of errors that another attempt would meet again."""

MAX_LOST_LEASES: Final = 3
"""Leases lost one after the other with which a step fails."""

RESULT_NAMES: Final = frozenset({"result", "data", "status_code", "success"})
"""Names by which a `when` looks at what an attempt gave, whether it failed or not."""


def may_retry(policy: Retry, failures: int, error: ErrorValue) -> bool:
    """Whether the policy, its `when` left aside, allows an attempt after so many failures (the last included)."""
    if failures >= policy.max_attempts or error.get("type") in NEVER_RETRIED_ERRORS:
        return False
    return error.get("retryable") is not False


def delay(policy: Retry, failures: int, jitter: float) -> float:
    """Return the seconds before the attempt that follows the `failures`-th failure.

    `initial_delay * backoff ** (failures - 1)`, at most `max_delay`; with jitter between half of it and all of it,
    `jitter` in [0, 1) says where.
    """
    try:
        full = min(policy.max_delay, policy.initial_delay * float(policy.backoff) ** (failures - 1))
    except OverflowError:
        full = policy.max_delay
    return full * (0.5 + 0.5 * jitter) if policy.jitter else full


def asks_result(policy: Retry) -> bool:
    """Whether the policy looks at attempts that succeeded, too."""
    return policy.until is not None or when_asks_result(policy)


def when_asks_result(policy: Retry) -> bool:
    """Whether the policy's `when` does. Where it speaks of the error alone, a success is none of its business."""
    return policy.when is not None and not policy.when.names.isdisjoint(RESULT_NAMES)

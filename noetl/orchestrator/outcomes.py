"""The engine's words that a worker speaks: what a job is, and what can come of it."""

from noetl.engine.collect import Collection
from noetl.engine.facts import Cancel, Collected, Continue, Done, Expired, Failed, JobRef, NotLoaded
from noetl.engine.failing import save_failed

__all__ = [
    "Cancel",
    "Collected",
    "Collection",
    "Continue",
    "Done",
    "Expired",
    "Failed",
    "JobRef",
    "NotLoaded",
    "save_failed",
]

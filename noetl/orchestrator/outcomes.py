"""The engine's words that a worker speaks: what a job is, and what can come of it."""

from noetl.engine.facts import Cancel, Collected, Continue, Done, Expired, Failed, JobRef, NotLoaded
from noetl.engine.failing import save_failed
from noetl.engine.loops.collect import Collection

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

"""The engine's words that a worker speaks: what a job is, and what can come of it."""

from noetl.engine.facts import Collected, Done, Expired, Failed
from noetl.engine.failing import save_failed
from noetl.engine.inputs import Cancel, Continue
from noetl.engine.loops.collect import Collection
from noetl.engine.values import NotLoaded

__all__ = [
    "Cancel",
    "Collected",
    "Collection",
    "Continue",
    "Done",
    "Expired",
    "Failed",
    "NotLoaded",
    "save_failed",
]

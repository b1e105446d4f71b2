"""The only meeting of engine and database: register, start, cancel, complete, each in one transaction."""

from noetl.orchestrator.orchestrator import Orchestrator, Registered, Started
from noetl.orchestrator.replay import verify_replay
from noetl.orchestrator.start import StartRequest

__all__ = ["Orchestrator", "Registered", "StartRequest", "Started", "verify_replay"]

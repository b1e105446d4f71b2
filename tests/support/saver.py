"""A tool `save` that keeps in memory what it is told to save, for tests of when and with what it is called."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from noetl.calls import Call
from noetl.outcomes import Done, Failed, error_value
from noetl.tools.base import Tool
from noetl.tools.registry import make_tools


@dataclass
class Saver:
    """Remembers its calls. It fails where the field `table` says so: `broken`, or `unsteady` the first time."""

    calls: list[Call] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def saved(self) -> list[Any]:
        """What was to be saved, call by call."""
        return [call.fields.get("data") for call in self.calls]

    def run(self, call: Call) -> Done | Failed:
        with self._lock:
            before = [one.key for one in self.calls]
            self.calls.append(call)
        table = call.fields.get("table")
        if table == "broken" or (table == "unsteady" and call.key not in before):
            return Failed(error_value("postgres", f"there is no table {table}", retryable=True))
        return Done(json.dumps({"saved": "postgres", "table": table, "row_count": 1}).encode())

    def tools(self, **options: Any) -> Mapping[str, Tool]:
        """Return all tools, with this one for `save`."""
        return {**make_tools(**options), "save": Tool("save", self.run, place_of=lambda call: "thread")}

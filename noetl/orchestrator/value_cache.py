"""The cache of the values of one execution: what its events hold never changes."""

from collections.abc import Mapping
from typing import Any

import orjson

from noetl.database.loops import LoopValue
from noetl.engine.events import Event
from noetl.engine.values import ChunkKey, Values
from noetl.errors import InputError
from noetl.playbook.templates.result_views import LoopResult

VALUE_CACHE_BYTES = 8 * 1024 * 1024
"""Bytes of results and args cached per execution; beyond it everything is forgotten and read again on demand."""

EVENT_BYTES = 200
"""Bytes of memory of an event without its result and args."""


class ValueCache(Values):
    """`Values` that keeps results as raw JSON until somebody asks: most are never looked at."""

    __slots__ = ("_draft", "_loops", "_raw", "_refused", "_size")

    def __init__(self, execution_id: int, workload: Mapping[str, object], env: Mapping[str, object]) -> None:
        super().__init__(execution_id, workload, env)
        self._raw: dict[int, bytes] = {}
        self._loops: dict[int, list[Any]] = {}  # the errors of loops whose lists are among the results
        self._refused: dict[int, InputError] = {}
        self._size = 0
        self._draft: list[int] = []

    @property
    def size(self) -> int:
        """Bytes of results and args that were remembered since `trim` last forgot them, as JSON."""
        return self._size

    def copy(self) -> "ValueCache":
        """Return what is remembered now, for another thread: neither of both changes the other."""
        copied = ValueCache(self.execution_id, self.workload, self.env)
        copied._raw, copied._loops, copied._refused = self._raw.copy(), self._loops.copy(), self._refused.copy()
        copied._results, copied._args = self._results.copy(), self._args.copy()
        copied._errors, copied._chunks = self._errors.copy(), self._chunks.copy()
        return copied

    def trim(self) -> None:
        """Forget everything where it has become too much; not while a decision gathers what it needs."""
        if self._size > VALUE_CACHE_BYTES:
            for known in (self._raw, self._results, self._errors, self._args, self._loops, self._chunks):
                known.clear()
            self._size = 0

    def begin(self) -> None:
        """Forget what events brought that were decided and never written: their numbers may be given again."""
        for event_id in self._draft:
            for known in (self._raw, self._results, self._errors, self._args):
                known.pop(event_id, None)
        self._draft.clear()

    def draft(self, event: Event, args: Mapping[int, object] | None) -> None:
        """Remember what a decided event brings, until it is written (`commit`) or decided again (`begin`)."""
        size = sum(len(orjson.dumps(each)) for each in args.values()) if args else 0
        self.remember(event.event_id, event.result, event.error, args or {}, size)
        self._draft.append(event.event_id)

    def commit(self) -> None:
        """Keep the drafts: their events are in the log now."""
        self._draft.clear()

    def remember(
        self, event_id: int, raw: bytes | None, error: object, args: Mapping[int, object], size: int = 0
    ) -> None:
        """Keep all that can be asked of one event, its result as the text it is stored as. `size`: of `args`, as JSON,
        which count too: a cycle may pass a large value on in each of its rounds."""
        raw = raw or b"null"
        self._size += len(raw) + size + EVENT_BYTES
        self._raw[event_id] = raw
        self._errors[event_id] = error
        self._args[event_id] = args

    def remember_loop(self, first: int, value: LoopValue | InputError) -> None:
        """Keep what a loop gave, by the event that began it; or why nobody can have that."""
        if isinstance(value, InputError):
            self._refused[first] = value
            return
        self.remember(first, value.items, None, {})
        self._loops[first] = value.errors

    def remember_chunk(self, key: ChunkKey, text: str) -> None:
        """Keep a part of what a loop runs over."""
        self._size += len(text) + EVENT_BYTES
        self.put_chunk(key, orjson.loads(text))

    def has_result(self, event_id: int) -> bool:
        return event_id in self._raw or event_id in self._results or event_id in self._refused

    def result(self, event_id: int) -> Any:
        if event_id in self._refused:
            raise self._refused[event_id]
        if event_id not in self._results and event_id in self._raw:
            value = orjson.loads(self._raw.pop(event_id))
            errors = self._loops.get(event_id)
            self._results[event_id] = value if errors is None else LoopResult(value, errors)
        return super().result(event_id)

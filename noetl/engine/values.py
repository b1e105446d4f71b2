"""The values that a decision may read beside the state: results, errors, args, and items of collections."""

from collections.abc import Mapping, Sequence
from typing import Any

from noetl.engine.events import args_in
from noetl.words import ITEMS_PER_CHUNK

ChunkKey = tuple[str, int, int]
"""A part of a collection: node, visit, number of the chunk."""


class NotLoaded(Exception):
    """A decision needs values that are not at hand: load them and decide again (deciding is pure).

    `events` are event ids of this execution, `chunks` parts of collections: (node, visit, chunk).
    """

    def __init__(self, events: set[int], chunks: set[ChunkKey] | None = None) -> None:
        self.events = events
        self.chunks = chunks or set()
        super().__init__(f"events {sorted(events)} and chunks {sorted(self.chunks)} are not loaded")


class Values:
    """The values that a decision may read beside the state. The orchestrator puts them in, the engine only asks.

    Of an event of this execution it holds the decoded result, the error, and the rendered args of the arrivals
    that it gave. The result of a `loop_started` is the loop's: the list of what its items gave (`LoopResult`). Asking
    for what is not there raises `NotLoaded`; `put_row` answers all that can be asked of one.
    """

    __slots__ = ("_args", "_chunks", "_env", "_errors", "_results", "execution_id", "workload")

    def __init__(
        self, execution_id: int, workload: Mapping[str, object], env: Mapping[str, object] | None = None
    ) -> None:
        self.execution_id = execution_id
        self.workload = workload
        self._env = env or {}
        self._results: dict[int, Any] = {}
        self._args: dict[int, Mapping[int, Any]] = {}
        self._errors: dict[int, Any] = {}
        self._chunks: dict[ChunkKey, Sequence[Any]] = {}

    @property
    def env(self) -> Mapping[str, Any]:
        return self._env

    def put_row(self, event_id: int, result: object, error: object, meta: Mapping[str, object] | None) -> None:
        """Remember all that can be asked of one event, by its decoded columns."""
        self._results[event_id] = result
        self._errors[event_id] = error
        self._args[event_id] = args_in(meta)

    def put_chunk(self, key: ChunkKey, items: Sequence[object]) -> None:
        """Remember a part of what a loop runs over."""
        self._chunks[key] = items

    def has_error(self, event_id: int) -> bool:
        return event_id in self._errors

    def has_result(self, event_id: int) -> bool:
        return event_id in self._results

    def has_args(self, event_id: int) -> bool:
        return event_id in self._args

    def result(self, event_id: int) -> Any:
        """Return the decoded result of an event. Raises `NotLoaded`."""
        try:
            return self._results[event_id]
        except KeyError:
            raise NotLoaded({event_id}) from None

    def error(self, event_id: int) -> Any:
        """Return the error of an event. Raises `NotLoaded`."""
        try:
            return self._errors[event_id]
        except KeyError:
            raise NotLoaded({event_id}) from None

    def item(self, node_id: str, visit: int, index: int) -> Any:
        """Return one item of what a loop runs over. Raises `NotLoaded`."""
        key = (node_id, visit, index // ITEMS_PER_CHUNK)
        try:
            return self._chunks[key][index % ITEMS_PER_CHUNK]
        except KeyError:
            raise NotLoaded(set(), {key}) from None

    def args(self, event_id: int, edge: int) -> Any:
        """Return the rendered args of one arrival. Raises `NotLoaded`."""
        try:
            return self._args[event_id].get(edge) or {}
        except KeyError:
            raise NotLoaded({event_id}) from None

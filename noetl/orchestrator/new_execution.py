"""A new execution, as values that do not change before its row is inserted."""

from dataclasses import dataclass
from typing import Any

from noetl.words import NO_ITEM


@dataclass(frozen=True, slots=True)
class Parent:
    """The step run that starts a child execution."""

    execution_id: int
    root_execution_id: int
    node_id: str
    visit: int
    item_index: int = NO_ITEM


@dataclass(frozen=True, slots=True)
class NewExecution:
    """An execution to be inserted. `workload` and `labels` are JSON, `timeout` is in seconds, `now` the start's time in
    microseconds since 1970. `parent_job_id` is the job of the parent that waits for it."""

    execution_id: int
    catalog_id: int
    path: str
    version: int
    pool: str
    priority: int
    key: str | None
    labels: str
    by: str | None
    timeout: float | None
    workload: str
    now: int
    parent: Parent | None = None
    parent_job_id: int | None = None

    @property
    def root_execution_id(self) -> int:
        """The execution at the top of the tree, itself where it has no parent."""
        return self.execution_id if self.parent is None else self.parent.root_execution_id

    def columns(self) -> dict[str, Any]:
        """Return the parameters of `insert_execution.sql` that are known before anything is decided."""
        parent = self.parent
        return {
            "execution": self.execution_id,
            "catalog": self.catalog_id,
            "path": self.path,
            "version": self.version,
            "pool": self.pool,
            "priority": self.priority,
            "parent": parent.execution_id if parent else None,
            "parent_node": parent.node_id if parent else None,
            "parent_visit": parent.visit if parent else None,
            "parent_item": parent.item_index if parent else None,
            "parent_job": self.parent_job_id,
            "root": self.root_execution_id,
            "key": self.key,
            "labels": self.labels,
            "by": self.by,
            "timeout": self.timeout,
        }

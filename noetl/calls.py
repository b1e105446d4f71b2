"""Calls: one attempt of a step run as its tool gets it, made by the orchestrator and carried out by a worker."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from noetl.words import fact


@fact
class Call:
    """One attempt of one step run, ready to be carried out.

    `fields` are the tool's own fields and `args` the step's arguments, both rendered to plain JSON types. `key` is
    the idempotency key, equal for every attempt. `timeout` is in seconds (None: the tool's default; infinity: no
    limit). `where` names playbook path and step, for error messages and tracebacks. `limit` is the greatest result
    in bytes. `named_auth` is the step's `auth` as the playbook says it: names of credentials, or fields in which
    secrets are references. The worker makes `auth` of it, which maps an alias to a credential (`{type, ...}`, with its
    values; the alias of a single one is empty); it is never shown. `secrets` are the values that were put into fields,
    args and auth: wherever they turn up in an outcome, the worker masks them.
    """

    type: str
    key: str
    where: str
    fields: Mapping[str, Any]
    args: Mapping[str, Any]
    timeout: float | None
    limit: int
    context: Mapping[str, Any]  # execution_id, step, visit, item_index, attempt, workload; results where known
    auth: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    named_auth: Any = None

    def __repr__(self) -> str:
        return f"Call({self.type!r}, {self.key!r})"  # no values: secrets are among them

"""The parameters of a playbook, those names that a run may set: the workload's keys, and others that templates read."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from noetl.errors import InputError
from noetl.playbook.model import Clause, Playbook, Retry, Step, Template
from noetl.playbook.suggest import did_you_mean
from noetl.words import RESERVED_NAMES

_WORKLOAD_READ: Final = re.compile(r"""\bworkload(?:['"]\])?(?:\.get\(\s*['"]|\[\s*['"]|\.)([A-Za-z_][A-Za-z0-9_]*)""")
"""What stands behind `workload` in a template or in code: `workload.x`, `workload['x']`, `workload.get('x')`."""


def parameters(keys: Collection[str], text: str, steps: Iterable[Step]) -> frozenset[str] | None:
    """Return the names that a run may set; None where the workload names none, and all are taken.

    `keys` are those of the workload, `text` is the playbook's. A name that a template or code reads and no step gives
    counts too: it may come with the run, `workload.x | default(1)`.
    """
    if not keys:
        return None
    names, own = set(keys), set[str](RESERVED_NAMES)
    for step in steps:
        own.add(step.name)
        own.update(loop.iterator for loop in step.loops)
        for template in _templates(step):
            names |= template.names
    return frozenset((names - own) | set(_WORKLOAD_READ.findall(text)) | set(keys))


def check_payload(
    playbook: Playbook, payload: Mapping[str, object], overlay: Collection[str], passed: frozenset[str]
) -> Mapping[str, Any]:
    """Return a run's payload, without names that are `passed` on and that the playbook does not have.

    `overlay` are the names that are laid over the payload. Raises `InputError` that names everything else that the
    playbook does not have.
    """
    known = playbook.parameters
    if known is None or known.issuperset((*payload, *overlay)):
        return payload
    unknown = sorted({*payload, *overlay} - known - passed)
    if not unknown:
        return {name: value for name, value in payload.items() if name in known}
    named = ", ".join(f"{name!r}{did_you_mean(name, playbook.declared)}" for name in unknown[:10])
    listed = ", ".join(sorted(playbook.declared))
    raise InputError(
        f"{playbook.path} has nothing called {named} in its workload, which has {listed}: correct the name, or let the"
        " playbook say 'additional: true'"
    )


def _templates(step: Step) -> Iterator[Template]:
    """Yield all templates of a step."""
    for one in (
        step.fields,
        step.args,
        step.task_args,
        step.result,
        step.timeout,
        step.auth,
        step.save,
        step.item_save,
    ):
        if one is not None:
            yield one
    for loop in step.loops:
        for one in (loop.items, loop.concurrency, loop.where, loop.order_by, loop.limit, loop.batch):
            if one is not None:
                yield one
    yield from _of_routing((*step.next, *step.on_error), step.retry)


def _of_routing(clauses: Iterable[Clause], retry: Retry) -> Iterator[Template]:
    for one in (retry.when, retry.until):
        if one is not None:
            yield one
    for clause in clauses:
        for one in (clause.when, *(edge.args for edge in clause.edges)):
            if one is not None:
                yield one

"""From a leased job to what has to be done: work for a tool, or an answer that needs none."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import orjson

from noetl.engine.calling import call_context
from noetl.engine.facts import Collected, Done, Failed
from noetl.engine.inputs import Cancel, Continue
from noetl.engine.loops.collect import Collection, begin_collection, to_collect
from noetl.engine.loops.items import why_not
from noetl.engine.render import Rendered, render_job, render_save, save_of, saved_in_log
from noetl.engine.waiting import CANCELLED_BY_PARENT, Until, child_call, limit_of, return_step, wait
from noetl.errors import InputError, TemplateError
from noetl.jobs import Job
from noetl.orchestrator.batch import Deferral
from noetl.orchestrator.execution_cache import CachedExecution
from noetl.orchestrator.new_execution import Parent
from noetl.orchestrator.start import StartRequest, child_key
from noetl.words import CANCEL_NODE, CONTINUE_NODE, fact, idempotency_key, step_of

EVENT_LOG_STORAGE = "event_log"
SAVE_KEY_SUFFIX = ":save"
"""Behind the key of a step run in that of its block `save`."""


@dataclass(slots=True)
class Leased:
    """A job that this worker holds. Times are microseconds since 1970 by Postgres's clock."""

    view: CachedExecution
    job: Job
    created_at: int
    leased_at: int
    handed_out: bool = False  # to a slot, or an answer is on its way
    at_work: bool = False  # in a slot, or what is on its way was given by one
    rounds: int = 0  # how often values were read for what a thread of the slots computes
    done: "Ran | None" = None  # what its tool gave, where a block `save` is still due
    killed: bool = False  # whatever has not begun of it shall not begin
    token: int = field(default_factory=count(1).__next__)
    """The number of this lease in its process. A job that is leased again, be it to us, has another; so has one of a
    database that was made anew, or put back to an earlier time, and gives the numbers of its jobs again."""

    @property
    def queued(self) -> float:
        """Seconds the job stood in the queue."""
        return max(0, self.leased_at - self.created_at) / 1_000_000


@fact
class Ran:
    """The work of a job is done, and took `seconds`."""

    result: bytes
    seconds: float = 0.0
    output: str = ""


@fact
class Work:
    """What a tool is to do: its type, and everything it is told. `timeout` None: the tool's own."""

    type: str
    key: str
    where: str
    fields: Mapping[str, Any]
    args: Mapping[str, Any]
    timeout: float | None
    context: Mapping[str, Any]
    auth: Any = None


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a child may take: `timeout` in seconds as the playbook says, `left` of it from now on. None: for ever.

    `limit` is the moment itself, in microseconds since 1970, to be kept with the job.
    """

    timeout: float | None
    limit: int | None
    left: float | None


@dataclass(frozen=True, slots=True)
class NewChild:
    """A child execution is to be started, and the job to wait for it."""

    request: StartRequest
    parent: Parent
    wait: Wait


@dataclass(frozen=True, slots=True)
class AwaitChild:
    """The child has ended, or is to be looked at: read its result."""

    execution_id: int
    return_step: str | None
    wait: Wait


Ready = Work | Done | Failed | Collected | Deferral | Cancel | Continue | NewChild | AwaitChild
Prepared = Ready | Collection
"""What a job needs. A `Collection` is of a long loop, to be `collected` where it holds up nobody."""


def prepare(leased: Leased, limit: int) -> Prepared:
    """Render a job and say what it needs; `limit` is that of results, in bytes.

    Raises `NotLoaded`; a template error is an answer, not an exception.
    """
    job = leased.job
    if job.node_id == CANCEL_NODE:
        return Cancel(*CANCELLED_BY_PARENT)
    if job.node_id == CONTINUE_NODE:
        return Continue()
    view = leased.view
    try:
        if leased.done is not None:
            return prepare_save(leased, leased.done)
        reason = why_not(view.state, job)
        if reason is not None:  # it was put back after everything else had been withdrawn
            return Failed(failure("cancelled", f"it did not begin: {reason}"))
        if "end" in job.context:
            return Done(b"null")
        if to_collect(view.playbook.step(step_of(job.node_id)), job) is not None:
            collection = begin_collection(view.playbook, view.state, job, view.values)
            if not collection.is_long:
                return collection.collected(limit)
            collection.read_from(view.values.copy())
            return collection
        rendered = render_job(view.playbook, view.state, job, view.values)
        if rendered.type == "wait":
            return _wait(leased, rendered)
        if rendered.type == "playbook":
            return _child(leased, rendered)
    except TemplateError as problem:
        return Failed(failure("template", str(problem)))
    except InputError as problem:
        return Failed(failure("validation", str(problem)))
    return _work(leased, rendered)


def collected(collection: Collection, limit: int) -> Collected | Failed:
    """Finish what a long loop runs over; a template error is an answer, not an exception. Raises `NotLoaded`."""
    try:
        return collection.collected(limit)
    except TemplateError as problem:
        return Failed(failure("template", str(problem)))
    except InputError as problem:
        return Failed(failure("validation", str(problem)))


def failure(kind: str, message: str, *, retryable: bool = False, detail: Any = None) -> dict[str, Any]:
    """Return the uniform error value."""
    return {"type": kind, "message": message, "retryable": retryable, "detail": detail}


def _work(leased: Leased, rendered: Rendered) -> Work:
    view, job = leased.view, leased.job
    return Work(
        type=rendered.type,
        key=idempotency_key(view.execution_id, job.node_id, job.visit, job.item_index, job.repeats),
        where=f"{view.playbook.path}#{step_of(job.node_id)}",
        fields=rendered.fields,
        args=rendered.args,
        timeout=rendered.timeout,
        context=call_context(rendered, job, view.state, view.values),
        auth=rendered.auth,
    )


def saves(leased: Leased) -> bool:
    """Whether a block `save` is due once the work of a job is done."""
    job = leased.job
    return not job.node_id.startswith("$") and save_of(leased.view.playbook.step(step_of(job.node_id)), job) is not None


def prepare_save(leased: Leased, ran: Ran) -> Work | Done:
    """Return what the block `save` of a job has to do with the result; the result itself where that is nothing.

    The log has the result in any case: that is what `event_log`, the default, means. Data that such a block says
    itself is kept with the event.
    """
    view, job = leased.view, leased.job
    if "end" in job.context:
        result = view.values.result(view.state.loops[job.node_id]["first"])
    else:
        result = orjson.loads(ran.result)
    rendered = render_save(view.playbook, view.state, job, view.values, result)
    storage = rendered.fields.get("storage", EVENT_LOG_STORAGE)
    if isinstance(storage, str) and storage.lower() == EVENT_LOG_STORAGE:
        return Done(ran.result, saved_in_log(rendered, result))
    work = _work(leased, rendered)
    return replace(work, key=f"{work.key}{SAVE_KEY_SUFFIX}", where=f"{work.where} save")


def _wait(leased: Leased, rendered: Rendered) -> Done | Failed | Deferral:
    found = wait(rendered, leased.job.context, leased.created_at, leased.leased_at)
    if isinstance(found, Until):
        return Deferral((found.moment - leased.leased_at) / 1_000_000, found.context)
    return found


def _child(leased: Leased, rendered: Rendered) -> NewChild | AwaitChild:
    view, job = leased.view, leased.job
    child, limit = job.context.get("child"), limit_of(rendered, job.context, leased.leased_at)
    left = Wait(rendered.timeout, limit, None if limit is None else (limit - leased.leased_at) / 1_000_000)
    wanted = return_step(rendered)
    if child is not None:
        return AwaitChild(int(child), wanted, left)
    call = child_call(rendered)
    request = StartRequest(
        path=call.path,
        version=call.version,
        payload=call.payload,
        passed=call.passed,
        key=child_key(view.execution_id, job.node_id, job.visit, job.item_index, job.failures),
        by=f"execution {view.execution_id}",
    )
    parent = Parent(view.execution_id, view.root_execution_id, job.node_id, job.visit, job.item_index)
    return NewChild(request, parent, left)

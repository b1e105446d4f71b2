"""Leased jobs, and the step from one to the call of its tool, or to an outcome that needs none."""

from dataclasses import dataclass, field, replace
from itertools import count

import orjson

from noetl.calls import Call
from noetl.engine.calling import call_context
from noetl.engine.failing import template_error
from noetl.engine.inputs import Cancel, Collected, Continue
from noetl.engine.loops.collect import Collection, begin_collection, to_collect
from noetl.engine.loops.items import why_not_begin
from noetl.engine.render import Rendered, render_job, render_save, save_of, saved_in_log
from noetl.engine.values import NotLoaded
from noetl.engine.waiting import CANCELLED_BY_PARENT, child_call, limit_of, return_step, wait
from noetl.errors import InputError
from noetl.jobs import Job
from noetl.orchestrator.batch import Broken
from noetl.orchestrator.execution_cache import CachedExecution
from noetl.orchestrator.new_execution import Parent
from noetl.orchestrator.start import StartRequest, child_key
from noetl.outcomes import Deferred, Done, Failed, error_value
from noetl.rules.save import EVENT_LOG
from noetl.words import CANCEL_NODE, CONTINUE_NODE, idempotency_key, step_of

SAVE_KEY_SUFFIX = ":save"
"""Behind the key of a step run in that of its block `save`."""


@dataclass(slots=True)
class Leased:
    """A job that this worker holds. Times are microseconds since 1970 by Postgres's clock."""

    execution: CachedExecution
    job: Job
    created_at: int
    leased_at: int
    handed_out: bool = False  # to a slot, or an answer is on its way
    at_work: bool = False  # in a slot, or what is on its way was given by one
    lacks: NotLoaded | None = None  # values that its loop, chosen in a thread, has missed
    rounds: int = 0  # how often that has happened
    done: Done | None = None  # the outcome of its tool, where a block `save` is still due
    seconds: float = 0.0  # the duration of the call
    killed: bool = False  # whatever has not begun of it shall not begin
    token: int = field(default_factory=count(1).__next__)
    """The number of this lease in its process. A job that is leased again, be it to us, has another; so has one of a
    database that was made anew, or put back to an earlier time, and gives the numbers of its jobs again."""

    @property
    def queued(self) -> float:
        """Seconds for which the job stood in the queue."""
        return max(0, self.leased_at - self.created_at) / 1_000_000


@dataclass(frozen=True, slots=True)
class Wait:
    """The time a child has: `timeout` in seconds as the playbook says, `left` of it from now on. None: for ever.

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


@dataclass(slots=True)
class LongLoop:
    """The items of a long loop, still to be chosen: `collect` does it, in any thread. Afterwards the job has an
    `outcome`; or values were `missing`, and it is to be begun again when they have been read."""

    collection: Collection
    limit: int  # of the items, in bytes
    outcome: Collected | Failed | Broken | None = None
    missing: NotLoaded | None = None

    def collect(self) -> None:
        """Choose the items."""
        try:
            self.outcome = self._collected()
        except NotLoaded as missing:
            self.missing = missing
        except Exception as error:  # noqa: BLE001 - a fault of the engine's own, which quarantines the execution
            self.outcome = Broken(error)

    def _collected(self) -> Collected | Failed:
        try:
            return self.collection.collected(self.limit)
        except InputError as problem:
            return Failed(template_error(problem))

    def give_up(self) -> None:
        """Have `collect` end early: nobody waits for it any more."""
        self.collection.given_up = True


Prepared = Call | Done | Failed | Collected | Deferred | Cancel | Continue | NewChild | AwaitChild | LongLoop
"""The call of a job, or its outcome, or what has to be done to have one."""


def prepare_job(leased: Leased, limit: int) -> Prepared:
    """Render a job; `limit` is that of results, in bytes.

    Raises `NotLoaded`; a template error is an outcome, not an exception.
    """
    if leased.lacks is not None:
        missing, leased.lacks = leased.lacks, None
        raise missing
    if leased.job.node_id == CANCEL_NODE:
        return Cancel(*CANCELLED_BY_PARENT)
    if leased.job.node_id == CONTINUE_NODE:
        return Continue()
    try:
        prepared = _rendered(leased, limit)
    except InputError as problem:
        return Failed(template_error(problem))
    return _call(leased, prepared, limit) if isinstance(prepared, Rendered) else prepared


def _rendered(leased: Leased, limit: int) -> Prepared | Rendered:
    """Return a job's fields and args, or its outcome where it calls no tool. Raises `InputError`, `NotLoaded`."""
    execution, job = leased.execution, leased.job
    if leased.done is not None:
        return prepare_save(leased, leased.done, limit)
    reason = why_not_begin(execution.state, job)
    if reason is not None:  # it was put back after everything else had been withdrawn
        return Failed(error_value("cancelled", f"it did not begin: {reason}"))
    if "end" in job.context:
        return Done(b"null")
    if to_collect(execution.playbook.step(step_of(job.node_id)), job) is not None:
        return _collection(leased, limit)
    rendered = render_job(execution.playbook, execution.state, job, execution.values)
    if rendered.type == "wait":
        return wait(rendered, job.context, leased.created_at, leased.leased_at)
    if rendered.type == "playbook":
        return _child(leased, rendered)
    return rendered


def _collection(leased: Leased, limit: int) -> Collected | LongLoop:
    execution = leased.execution
    collection = begin_collection(execution.playbook, execution.state, leased.job, execution.values)
    if not collection.is_long:
        return collection.collected(limit)
    collection.read_from(execution.values.copy())
    return LongLoop(collection, limit)


def _call(leased: Leased, rendered: Rendered, limit: int) -> Call:
    execution, job = leased.execution, leased.job
    return Call(
        type=rendered.type,
        key=idempotency_key(execution.execution_id, job.node_id, job.visit, job.item_index, job.repeats),
        where=f"{execution.playbook.path}#{step_of(job.node_id)}",
        fields=rendered.fields,
        args=rendered.args,
        timeout=rendered.timeout,
        limit=limit,
        context=call_context(rendered, job, execution.state, execution.values),
        named_auth=rendered.auth,
    )


def is_save_due(leased: Leased) -> bool:
    """Whether a block `save` is due once the work of a job is done."""
    job = leased.job
    return (
        not job.node_id.startswith("$")
        and save_of(leased.execution.playbook.step(step_of(job.node_id)), job) is not None
    )


def prepare_save(leased: Leased, done: Done, limit: int) -> Call | Done:
    """Return the call that the block `save` of a job makes of its outcome; the outcome where it needs none.

    The log has the result in any case: that is what `event_log`, the default, means. Data that such a block says
    itself is kept with the event.
    """
    execution, job = leased.execution, leased.job
    if "end" in job.context:
        result = execution.values.result(execution.state.loops[job.node_id]["first"])
    else:
        result = orjson.loads(done.result)
    rendered = render_save(execution.playbook, execution.state, job, execution.values, result)
    storage = rendered.fields.get("storage", EVENT_LOG)
    if isinstance(storage, str) and storage.lower() == EVENT_LOG:
        return Done(done.result, saved=saved_in_log(rendered, result))
    call = _call(leased, rendered, limit)
    return replace(call, key=f"{call.key}{SAVE_KEY_SUFFIX}", where=f"{call.where} save")


def _child(leased: Leased, rendered: Rendered) -> NewChild | AwaitChild:
    execution, job = leased.execution, leased.job
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
        key=child_key(execution.execution_id, job.node_id, job.visit, job.item_index, job.failures),
        by=f"execution {execution.execution_id}",
    )
    parent = Parent(execution.execution_id, execution.root_execution_id, job.node_id, job.visit, job.item_index)
    return NewChild(request, parent, left)

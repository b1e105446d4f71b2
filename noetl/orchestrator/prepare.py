"""From a leased job to what has to be done: work for a tool, or an answer that needs none."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard

import orjson

from noetl.engine.collect import collect, to_collect
from noetl.engine.facts import Cancel, Collected, Continue, Done, Failed, JobRef, NotLoaded
from noetl.engine.render import Rendered, render_job, render_save, save_of
from noetl.errors import InputError, TemplateError
from noetl.orchestrator.part import BY_PARENT, Deferral
from noetl.orchestrator.start import Parent, StartRequest, child_key
from noetl.orchestrator.views import View
from noetl.playbook.durations import seconds
from noetl.playbook.results import raw
from noetl.words import CANCEL_NODE, CONTINUE_NODE, fact, idempotency_key, step_of

EVENT_LOG = "event_log"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Leased:
    """A job that this worker holds. Times are microseconds since 1970 by Postgres's clock."""

    view: View
    job: JobRef
    created_at: int
    leased_at: int
    handed_out: bool = False  # to a slot, or an answer is on its way
    done: "Ran | None" = None  # what its tool gave, where a block `save` is still due
    killed: bool = False  # whatever has not begun of it shall not begin

    @property
    def token(self) -> int:
        """The number of this lease: a job that is leased again, be it to us, is another."""
        return self.job.job_id << 32 | self.job.attempts

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


Prepared = Work | Done | Failed | Collected | Deferral | Cancel | Continue | NewChild | AwaitChild


def prepare(leased: Leased, limit: int) -> Prepared:
    """Render a job and say what it needs; `limit` is that of results, in bytes.

    Raises `NotLoaded`; a template error is an answer, not an exception.
    """
    job = leased.job
    if job.node_id == CANCEL_NODE:
        return Cancel(*BY_PARENT)
    if job.node_id == CONTINUE_NODE:
        return Continue()
    view = leased.view
    try:
        if leased.done is not None:
            return prepare_save(leased, leased.done)
        if "end" in job.context:
            return Done(b"null")
        if to_collect(view.playbook.step(step_of(job.node_id)), job) is not None:
            return collect(view.playbook, view.state, job, view.values, limit)
        rendered = render_job(view.playbook, view.state, job, view.values)
        if rendered.type == "wait":
            return _wait(leased, rendered)
    except TemplateError as problem:
        return Failed(failure("template", str(problem)))
    except InputError as problem:
        return Failed(failure("validation", str(problem)))
    if rendered.type == "playbook":
        return _child(leased, rendered)
    return _work(leased, rendered)


def failure(kind: str, message: str, *, retryable: bool = False, detail: Any = None) -> dict[str, Any]:
    """Return the uniform error value."""
    return {"type": kind, "message": message, "retryable": retryable, "detail": detail}


def _work(leased: Leased, rendered: Rendered) -> Work:
    view, job = leased.view, leased.job
    context: dict[str, Any] = {
        "execution_id": str(view.execution_id),
        "step": step_of(job.node_id),
        "visit": job.visit,
        "item_index": job.item_index,
        "attempt": job.failures + 1,
    }
    code = rendered.fields.get("code")
    if isinstance(code, str) and "context" in code:
        context["workload"] = view.values.workload
        context["results"] = _all_results(view)
    return Work(
        type=rendered.type,
        key=idempotency_key(view.execution_id, job.node_id, job.visit, job.item_index, job.repeats),
        where=f"{view.playbook.path}#{step_of(job.node_id)}",
        fields=rendered.fields,
        args=rendered.args,
        timeout=rendered.timeout,
        context=context,
        auth=rendered.auth,
    )


def saves(leased: Leased) -> bool:
    """Whether a block `save` is due once the work of a job is done."""
    job = leased.job
    return not job.node_id.startswith("$") and save_of(leased.view.playbook.step(step_of(job.node_id)), job) is not None


def prepare_save(leased: Leased, ran: Ran) -> Work | Done:
    """Return what the block `save` of a job has to do with the result; the result itself where that is nothing.

    The log has the result in any case: that is what `event_log`, the default, means.
    """
    view, job = leased.view, leased.job
    if "end" in job.context:
        result = view.values.result(view.state.loops[job.node_id]["first"])
    else:
        result = orjson.loads(ran.result)
    rendered = render_save(view.playbook, view.state, job, view.values, result)
    if rendered.fields.get("storage", EVENT_LOG) == EVENT_LOG:
        return Done(ran.result)
    work = _work(leased, rendered)
    return replace(work, key=f"{work.key}:save", where=f"{work.where} save")


def _all_results(view: View) -> Mapping[str, Any]:
    """Return every step's result, for code that names the global `context`."""
    values, results = view.values, view.state.results
    missing = {event for event in results.values() if not values.has_result(event)}
    if missing:
        raise NotLoaded(missing)
    return {name: raw(values.result(event)) for name, event in results.items()}


def _wait(leased: Leased, rendered: Rendered) -> Done | Failed | Deferral:
    """Wait from the moment the step was queued, so that a rebuilt queue comes to the same time."""
    fields, limit = rendered.fields, _limit(leased, rendered)
    due = leased.job.context.get("due")
    if due is None:
        if "until" in fields:
            due = _moment(fields["until"])
        else:
            due = leased.created_at + int(seconds(fields.get("for")) * 1_000_000)
    if due <= leased.leased_at:
        until = datetime.fromtimestamp(due / 1_000_000, UTC).isoformat()
        return Done(orjson.dumps({"until": until}))
    if limit is None:
        return Deferral((due - leased.leased_at) / 1_000_000, {"due": due})
    if limit <= leased.leased_at:
        return Failed(timed_out(rendered.timeout))
    return Deferral((min(due, limit) - leased.leased_at) / 1_000_000, {"due": due, "limit": limit})


def _limit(leased: Leased, rendered: Rendered) -> int | None:
    """Return when an attempt that waits without a worker is over its timeout, in microseconds since 1970."""
    known: int | None = leased.job.context.get("limit")
    if known is not None or rendered.timeout is None:
        return known
    return leased.leased_at + int(rendered.timeout * 1_000_000)


def timed_out(timeout: float | None) -> dict[str, Any]:
    """Return the error value of an attempt that waited beyond its timeout."""
    return failure("timeout", f"the attempt was not over after its timeout of {timeout:g} s", retryable=True)


def _moment(value: Any) -> int:
    """Return a timestamp as microseconds since 1970; without a zone it is UTC. Raises `InputError`."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            moment = datetime.fromtimestamp(value, UTC)
        else:
            moment = datetime.fromisoformat(str(value))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError, OSError):
        told = f"until: {value!r} is no timestamp: write one like 2026-01-31T08:00:00+01:00"
        raise InputError(told) from None


def _is_name(value: Any) -> TypeGuard[str]:
    """Tell whether a value can be looked up in the database as a name: text, and all of it characters."""
    return isinstance(value, str) and value.strip() != "" and value.isprintable()


def _child(leased: Leased, rendered: Rendered) -> NewChild | AwaitChild | Failed:
    view, job, fields = leased.view, leased.job, rendered.fields
    return_step = fields.get("return_step")
    child, limit = job.context.get("child"), _limit(leased, rendered)
    wait = Wait(rendered.timeout, limit, None if limit is None else (limit - leased.leased_at) / 1_000_000)
    if return_step is not None and not _is_name(return_step):
        told = f"return_step: {return_step!r} is no step: write the name of one of the child's steps"
        return Failed(failure("validation", told))
    if child is not None:
        return AwaitChild(int(child), return_step, wait)
    path = fields.get("path")
    if not _is_name(path):
        return Failed(failure("validation", f"path: {path!r} is no path: write the path of a playbook in the catalog"))
    version = fields.get("version")
    if version is not None and (isinstance(version, bool) or not str(version).isdigit()):
        return Failed(failure("validation", f"version: {version!r} is no version: write a number like 3"))
    request = StartRequest(
        path=path.strip().removesuffix(".yaml").removesuffix(".yml"),
        version=int(version) if version is not None else None,
        payload=dict(rendered.args),
        key=child_key(view.execution_id, job.node_id, job.visit, job.item_index, job.failures),
        by=f"execution {view.execution_id}",
    )
    parent = Parent(view.execution_id, view.root_execution_id, job.node_id, job.visit, job.item_index)
    return NewChild(request, parent, wait)

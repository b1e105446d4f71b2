"""Render a step's args and fields, in the order the language promises: transition, step, task, fields."""

from collections.abc import Mapping
from typing import Any

from noetl.engine.facts import JobRef, Values
from noetl.engine.plan import Plan, StepPlan, plan_of
from noetl.engine.scope import Place, Reader, Scopes
from noetl.engine.state import State
from noetl.errors import InputError, TemplateError
from noetl.playbook.durations import seconds
from noetl.playbook.model import Playbook, Step, Template
from noetl.words import fact


@fact
class Rendered:
    """A step run ready to be carried out. `timeout` is in seconds, None where the playbook names none."""

    type: str
    fields: Mapping[str, Any]
    args: Mapping[str, Any]
    timeout: float | None
    auth: Any = None


def render_job(playbook: Playbook, state: State, job: JobRef, values: Values) -> Rendered:
    """Return what a job's step is to do, everything rendered to plain JSON types.

    Raises `TemplateError`, or `NotLoaded` for all values that are missing at once.
    """
    plan = plan_of(playbook)
    place = Place(
        job.node_id,
        job.visit,
        job.context.get("arrivals") or [],
        job_id=job.job_id,
        item_index=job.item_index,
    )
    return render_step(plan, plan.steps[job.node_id], Scopes(plan, state, Reader(values), place))


def render_step(plan: Plan, step_plan: StepPlan, scopes: Scopes) -> Rendered:
    """Return what a step is to do, with the scopes of its run."""
    step = step_plan.step
    scopes.load(_names(step))
    transition = scopes.transition_args()
    own = _mapping(step.args, scopes, transition)
    known = {**own, **transition}
    task = _mapping(step.task_args, scopes, known)
    args = {**task, **known} if task else known
    fields = _mapping(step.fields, scopes, args)
    auth = None if step.auth is None else step.auth.render(scopes.scope(step.auth.names, args))
    return Rendered(step.type, fields, args, _timeout(plan, step, scopes, args), auth)


def _names(step: Step) -> frozenset[str]:
    templates = (step.args, step.task_args, step.fields, step.timeout, step.auth)
    return frozenset().union(*(template.names for template in templates if template is not None))


def _mapping(template: Template | None, scopes: Scopes, args: Mapping[str, Any]) -> dict[str, Any]:
    if template is None:
        return {}
    value = template.render(scopes.scope(template.names, args))
    if not isinstance(value, dict):
        raise TemplateError(f"args and fields must be a mapping, this is {value!r}")
    return value


def _timeout(plan: Plan, step: Step, scopes: Scopes, args: Mapping[str, Any]) -> float | None:
    if step.timeout is None:
        return None
    value = step.timeout.render(scopes.scope(step.timeout.names, args))
    try:
        return seconds(value)
    except InputError as error:
        raise TemplateError(str(error), playbook=plan.playbook.path, step=step.name, field="timeout") from None

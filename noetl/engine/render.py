"""The rendering of a step's args and fields, in the order of the language: transition, step, task, fields."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from noetl.engine.loops.scope import arguments, items_of_loop, names_of_item
from noetl.engine.paths import keep_within
from noetl.engine.plan import Plan, StepPlan, plan_of
from noetl.engine.scope import Scopes, StepPlace, ValueReader
from noetl.engine.state import State
from noetl.engine.values import Values
from noetl.errors import InputError, TemplateError
from noetl.jobs import Job
from noetl.playbook.durations import seconds
from noetl.playbook.model import Playbook, Step, Template
from noetl.playbook.templates.budget import on_one_budget
from noetl.playbook.templates.result_views import LoopResult, raw, result_view
from noetl.playbook.templates.secret_references import REFERENCE_MARK
from noetl.playbook.templates.template import Constant, MappingTemplate
from noetl.playbook.values import plain
from noetl.words import NO_ITEM, fact, step_of

PYTHON_TYPE: Final = "python"
SAVE_TYPE: Final = "save"
CHILD_TYPE: Final = "playbook"
MAX_SAVED_BYTES: Final = 256 * 1024
"""Bytes that a block `save` can keep in the log beside a result, as JSON."""


@fact
class Rendered:
    """A step run ready to be carried out. `timeout` is in seconds, None where the playbook names none.

    `passed` are the names of args that a child playbook may leave aside: the way to the step alone gave them.
    """

    type: str
    fields: Mapping[str, Any]
    args: Mapping[str, Any]
    timeout: float | None
    auth: Any = None
    passed: frozenset[str] = frozenset()


def render_job(playbook: Playbook, state: State, job: Job, values: Values) -> Rendered:
    """Return what a job's step is to do, everything rendered to plain JSON types.

    Raises `TemplateError`, or `NotLoaded` for all values that are missing at once.
    """
    plan = plan_of(playbook)
    name = step_of(job.node_id)
    if job.item_index == NO_ITEM:
        arrivals = job.context.get("arrivals") or []
        place = StepPlace(name, job.visit, arrivals, job_id=job.job_id, repeats=job.repeats)
        return render_step(plan, plan.steps[name], Scopes(plan, state, ValueReader(values), place))
    names = names_of_item(plan, state, values, job.node_id, job.visit, job.item_index)
    place = _item_place(state, job, names)
    handed = arguments(plan.steps[name].step, job.node_id, job.item_index, names)
    return render_step(plan, plan.steps[name], Scopes(plan, state, ValueReader(values), place), handed)


def _item_place(state: State, job: Job, names: Mapping[str, object]) -> StepPlace:
    name = step_of(job.node_id)
    return StepPlace(
        step=name,
        visit=job.visit,
        arrivals=state.runs[name][1],
        job_id=job.job_id,
        item_index=job.item_index,
        fixed=names,
        inner=None if name == job.node_id else job.node_id,
        repeats=job.repeats,
    )


def render_step(
    plan: Plan, step_plan: StepPlan, scopes: Scopes, handed: Mapping[str, object] | None = None
) -> Rendered:
    """Return what a step is to do, with the scopes of its run. `handed`: what loops hand to code, below all args."""
    step = step_plan.step
    scopes.load(_names(step))
    return on_one_budget(_rendered, plan, step, scopes, handed)


def _rendered(plan: Plan, step: Step, scopes: Scopes, handed: Mapping[str, object] | None) -> Rendered:
    args = _args(step, scopes)
    if handed and step.type == PYTHON_TYPE:
        args = {**handed, **args}
    fields = _mapping(step.fields, scopes, args)
    keep_within(step.type, fields, step.fields)
    auth = None if step.auth is None else step.auth.render(scopes.scope(step.auth.names, args))
    passed = _passed(step, scopes) if step.type == CHILD_TYPE else frozenset[str]()
    return Rendered(step.type, fields, args, _timeout(plan, step, scopes, args), auth, passed)


def _passed(step: Step, scopes: Scopes) -> frozenset[str]:
    own = [template.keys for template in (step.args, step.task_args) if isinstance(template, MappingTemplate)]
    own += [template.value for template in (step.args, step.task_args) if isinstance(template, Constant)]
    return frozenset(scopes.transition_args()).difference(*own)


def _args(step: Step, scopes: Scopes) -> dict[str, Any]:
    transition = scopes.transition_args()
    known = with_args(step.args, scopes, transition)
    return known if step.task_args is None else with_args(step.task_args, scopes, known)


def with_args(template: Template | None, scopes: Scopes, args: dict[str, Any]) -> dict[str, Any]:
    """Return the args, and those of a step or task that they do not override."""
    if template is None:
        return {**args}
    scope = scopes.scope(template.names, args)
    own = template.render_missing(scope, args) if isinstance(template, MappingTemplate) else template.render(scope)
    return {**_whole(own), **args}


def save_of(step: Step, job: Job) -> Template | None:
    """Return the block `save` that is due when a job's work is done: the step's own, or that of its items."""
    if not step.loops or "end" in job.context:
        return step.save
    innermost = job.item_index != NO_ITEM and job.node_id.count("/") + 1 == len(step.loops)
    return step.item_save if innermost else None


def render_save(playbook: Playbook, state: State, job: Job, values: Values, result: object) -> Rendered:
    """Return what a block `save` is to do with a result, which it knows as `result`, `this` and by the step's name.

    What it saves is that result, where it does not say anything else. Raises as `render_job`.
    """
    plan = plan_of(playbook)
    name = step_of(job.node_id)
    step = plan.steps[name].step
    template = save_of(step, job)
    assert template is not None
    view = result_view(result)
    names: dict[str, Any] = {name: view}
    if job.item_index == NO_ITEM:
        arrivals = job.context.get("arrivals") or []
        place = StepPlace(name, job.visit, arrivals, job_id=job.job_id, repeats=job.repeats)
    else:
        names |= names_of_item(plan, state, values, job.node_id, job.visit, job.item_index)
        place = _item_place(state, job, names)
    ended = "end" in job.context
    place.fixed = {**names, "result": view, "this": view, **({"results": view} if ended else {})}
    more = _names_in_save(plan, template, state, job, values, view)
    scopes = Scopes(plan, state, ValueReader(values), place)
    render = partial(_rendered_save, step, template, scopes, job=job, result=result, more=more)
    return on_one_budget(render)


def _rendered_save(
    step: Step, template: Template, scopes: Scopes, job: Job, result: object, more: Mapping[str, object]
) -> Rendered:
    args = scopes.transition_args() if "end" in job.context else _args(step, scopes)  # args are per item
    scopes.add_names({name: value for name, value in more.items() if name not in args})
    fields = dict(_mapping(template, scopes, args))
    keep_within(SAVE_TYPE, fields, template)
    auth = fields.pop("auth", None)
    if "data" not in fields and "statement" not in fields:
        fields["data"] = raw(result)
    return Rendered(SAVE_TYPE, fields, {}, None, auth)


def saved_in_log(rendered: Rendered, result: object) -> Any:
    """Return what a block `save` with the storage event_log keeps beside the result: its data, where it says some.

    Raises `InputError` for what is no JSON, too large, or a secret.
    """
    data = rendered.fields.get("data")
    if data is None or data == raw(result):
        return None
    text = plain(data, MAX_SAVED_BYTES, "data of save")
    if REFERENCE_MARK.encode() in text:
        raise InputError("data of save: a secret cannot be kept in the event log")
    return data


def _names_in_save(
    plan: Plan, template: Template, state: State, job: Job, values: Values, view: object
) -> dict[str, Any]:
    """Return what a block `save` can name besides, where nothing else has the name: `data` of the result, and of a loop
    that is over `count`, `errors` and `items`, which it ran over. Raises `NotLoaded`."""
    more = {"data": view["data"] if isinstance(view, dict) and "data" in view else view}
    if "end" in job.context:
        loop = state.loops[job.node_id]
        more |= {"count": loop["count"], "errors": view.errors if isinstance(view, LoopResult) else []}
        if "items" in template.names and "items" not in values.workload:
            more["items"] = items_of_loop(values, job.node_id, job.visit, loop["count"])
    return {name: value for name, value in more.items() if name not in values.workload and name not in plan.steps}


def _names(step: Step) -> frozenset[str]:
    templates = (step.args, step.task_args, step.fields, step.timeout, step.auth)
    return frozenset().union(*(template.names for template in templates if template is not None))


def _mapping(template: Template | None, scopes: Scopes, args: Mapping[str, object]) -> dict[str, Any]:
    if template is None:
        return {}
    return _whole(template.render(scopes.scope(template.names, args)))


def _whole(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TemplateError(f"args and fields must be a mapping, this is a {type(value).__name__}")  # not what it says
    return value


def _timeout(plan: Plan, step: Step, scopes: Scopes, args: Mapping[str, object]) -> float | None:
    if step.timeout is None:
        return None
    value = step.timeout.render(scopes.scope(step.timeout.names, args))
    try:
        return seconds(value)
    except InputError as error:
        raise TemplateError(str(error), playbook=plan.playbook.path, step=step.name, field="timeout") from None

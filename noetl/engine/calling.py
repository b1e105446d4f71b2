"""The context of a tool's call: the step run that it belongs to."""

from collections.abc import Mapping
from typing import Any

from noetl.engine.render import Rendered
from noetl.engine.state import State
from noetl.engine.values import NotLoaded, Values
from noetl.jobs import Job
from noetl.playbook.templates.result_views import raw
from noetl.words import step_of


def call_context(rendered: Rendered, job: Job, state: State, values: Values) -> dict[str, Any]:
    """Return execution, step, visit, item and attempt; workload and results for code that names `context`.

    Raises `NotLoaded` for all results that are missing at once.
    """
    context: dict[str, Any] = {
        "execution_id": str(values.execution_id),
        "step": step_of(job.node_id),
        "visit": job.visit,
        "item_index": job.item_index,
        "attempt": job.failures + 1,
    }
    code = rendered.fields.get("code")
    if isinstance(code, str) and "context" in code:
        context["workload"] = values.workload
        context["results"] = _all_results(state, values)
    return context


def _all_results(state: State, values: Values) -> Mapping[str, Any]:
    missing = {event for event in state.results.values() if not values.has_result(event)}
    if missing:
        raise NotLoaded(missing)
    return {name: raw(values.result(event)) for name, event in state.results.items()}

"""Blocks `save` in a test: each is rendered and kept with the calls; a stub can make it fail."""

from typing import Any

from noetl.engine.render import Rendered, render_save, save_of, saved_in_log
from noetl.errors import InputError, TemplateError
from noetl.jobs import Job
from noetl.outcomes import Done, Failed, error_value, save_failed
from noetl.rules.save import EVENT_LOG
from noetl.testing.execution import Execution, decoded
from noetl.words import step_of


def to_save(execution: Execution, job: Job, done: Done) -> Rendered | Done | Failed | None:
    """Return the call of a job's block `save`, None where there is none; done or failed where no call is needed."""
    playbook, state = execution.playbook, execution.state
    if save_of(playbook.step(step_of(job.node_id)), job) is None:
        return None
    if "end" in job.context:
        result: Any = execution.loop_result(state.loops[job.node_id]["first"])
    else:
        result = decoded(done.result)
    try:
        rendered = execution.loading(lambda values: render_save(playbook, state, job, values, result))
        if rendered.fields.get("storage", EVENT_LOG) == EVENT_LOG:
            return Done(done.result, saved=saved_in_log(rendered, result))
    except InputError as problem:
        type_ = "template" if isinstance(problem, TemplateError) else "validation"
        return save_failed(Failed(error_value(type_, str(problem))), done)
    return rendered

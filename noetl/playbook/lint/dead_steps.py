"""The check of dead steps: steps that never start, since the conditions of all transitions to them are never true."""

from noetl.playbook.graph import END
from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.source import PlaybookSource


def check_dead_steps(source: PlaybookSource) -> None:
    """Warn of steps and joins that never start."""
    for section in source.sections:
        taken = section.flow.reached(failing=True)
        for step in section.steps.values():
            alive = [name for name in section.flow.sources[step.name] if name in taken]
            alone = step.name == END and step.result is not None and not section.flow.sources[step.name]
            if step.name not in taken and alive and not alone:
                kind = "join" if section.flow.is_join(step.name) else "step"
                message = f"the {kind} {step.name!r} never starts: the conditions of all ways to it are never true"
                source.reader.warning(section.nodes[step.name].value["step"], Code.NEVER, message)

"""The check of arguments: each parameter of a python step's `main` is given by a transition, its step, task or loop."""

import ast

from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.result_shapes import main_of
from noetl.playbook.lint.scopes import At, Section, local_names
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.model import Step
from noetl.playbook.read.python_code import place_of
from noetl.playbook.read.reader import Reader
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.yaml.tree import Node

_WHOLE_PARAMETER = "input_data"
"""The name of an only parameter that takes everything."""

_LOOP_PARAMETERS = frozenset({"value", "batch", "index"})
"""What loops hand to code beside their items."""


def check_arguments(source: PlaybookSource) -> None:
    """Report parameters without a default for which nothing gives a value."""
    for section in source.sections:
        for step in section.steps.values():
            if step.type == "python":
                _check_step(source.reader, section, step, source.tasks.get(step.task) if step.task else None)


def _check_step(reader: Reader, section: Section, step: Step, task: Node | None) -> None:
    node = section.nodes[step.name]
    own = node.value.get("code")
    code = own if own is not None else task.value.get("code") if task is not None else None
    main = main_of(code.value) if code is not None and isinstance(code.value, str) else None
    if main is None:
        return
    local = local_names(section, step, At.FIELD, task)
    if local.args.open:
        return
    given = (
        {"context"}
        | local.args.sure
        | local.args.some
        | (local.iterators | _LOOP_PARAMETERS if local.iterators else set())
    )
    for parameter in _required(main.args):
        if parameter.arg not in given:
            message = (
                f"main of step {step.name!r} takes {parameter.arg!r}, which no args of the step or of a way to it give"
            )
            message += did_you_mean(parameter.arg, given)
            place = node.value["step"].line, node.value["step"].column
            if code is own and code is not None:
                place = place_of(reader, code, parameter.lineno, parameter.col_offset + 1, code.value)
            reader.report(*place, "error", Code.MISSING_ARGUMENT, message)


def _required(args: ast.arguments) -> list[ast.arg]:
    """Return the parameters that must be given; none, where the only one takes everything."""
    positional = [*args.posonlyargs, *args.args]
    if len(positional) + len(args.kwonlyargs) == 1 and args.kwarg is None:
        only = (positional or args.kwonlyargs)[0]
        if only.arg == _WHOLE_PARAMETER:
            return []
    needed = positional[: len(positional) - len(args.defaults)]
    return needed + [arg for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default is None]

"""The structure of a playbook, without which it does not load: names of steps, targets of transitions, reachability."""

from collections.abc import Mapping, Sequence
from typing import Final

from noetl.playbook.graph import END
from noetl.playbook.graph import targets as targets_of
from noetl.playbook.lint.codes import Code
from noetl.playbook.read.clauses import Target
from noetl.playbook.read.reader import Reader
from noetl.playbook.read.sections import StepList
from noetl.playbook.suggest import did_you_mean, nearest
from noetl.playbook.yaml.tree import Node
from noetl.words import RESERVED_NAMES

_TEMPLATE_WORDS: Final = frozenset(
    {"and", "else", "elif", "false", "False", "if", "in", "is", "none", "None", "not", "or", "self", "true", "True"}
)

MAX_STEP_NAME_CHARACTERS: Final = 200
"""Characters: it stands in each of the step's rows, and in index entries, which are bounded."""


def check_structure(
    reader: Reader, sections: Sequence[StepList], targets: Sequence[Target], workload: Node | None
) -> None:
    """Report steps with impossible names, transitions that lead nowhere, and steps that nothing leads to."""
    workflow, finally_ = sections[0].places, sections[1].places if len(sections) > 1 else {}
    check_step_names(reader, workflow, finally_, workload)
    check_targets(reader, targets, workflow, finally_)
    for section in sections:
        if not section.lost:
            check_reachable(reader, section)


def check_step_names(
    reader: Reader, workflow: Mapping[str, Node], finally_: Mapping[str, Node], workload: Node | None
) -> None:
    """Report names that are reserved, are no identifiers, stand in both workflows, or clash with the workload."""
    keys: Mapping[str, Node] = workload.keys if workload is not None else {}
    for name, node in (*workflow.items(), *finally_.items()):
        if name in RESERVED_NAMES:
            reader.error(node, Code.RESERVED_NAME, f"the step name {name!r} is reserved: call it {name + '_step'!r}")
        elif name in _TEMPLATE_WORDS or name == "continue":
            reader.error(node, Code.RESERVED_NAME, f"the step name {name!r} is a word of the language: rename the step")
        elif not (name.isascii() and name.isidentifier()):
            fixed = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)
            fixed = f"step_{fixed}" if fixed[:1].isdigit() else fixed
            reader.error(node, Code.BAD_NAME, f"the step name {name!r} is no identifier: write {fixed!r}")
        elif len(name) > MAX_STEP_NAME_CHARACTERS:
            short = f"{name[:20]}..."
            reader.error(
                node,
                Code.TOO_LONG,
                f"the step name {short!r} is longer than {MAX_STEP_NAME_CHARACTERS} characters: shorten it",
            )
        elif name == "status":
            reader.warning(node, Code.RESERVED_NAME, "the step name 'status' hides the execution's status in 'finally'")
        if name in keys:
            line = keys[name].line
            reader.error(
                node, Code.CLASH, f"the step {name!r} has the name of a workload key (line {line}): rename one"
            )
    for name, node in finally_.items():
        if name in workflow:
            line = workflow[name].line
            reader.error(
                node, Code.DUPLICATE_STEP, f"the step {name!r} of finally is in workflow too (line {line}): rename one"
            )


def check_targets(
    reader: Reader, targets: Sequence[Target], workflow: Mapping[str, Node], finally_: Mapping[str, Node]
) -> None:
    """Report edges that lead nowhere, or from one workflow into the other."""
    for target in targets:
        home, other, name = (
            (workflow, finally_, "finally") if target.step in workflow else (finally_, workflow, "workflow")
        )
        if target.name in home:
            continue
        if target.name in other:
            reason = f"which is a step of {name}: only steps of the same workflow can follow"
        else:
            advice = ": add '- step: end'" if target.name == END else did_you_mean(target.name, home)
            reason = f"which does not exist{advice}"
        reader.error(target.node, Code.DANGLING, f"step {target.step!r} leads to {target.name!r}, {reason}")


def check_reachable(reader: Reader, section: StepList) -> None:
    """Report steps that nothing leads to. `end` may stand alone: its result is the execution's in any case.

    A dangling target counts for the step that was probably meant, so that one mistake is one problem.
    """
    if not section.steps:
        return
    by_name = {step.name: step for step in section.steps}
    seen = {"start" if "start" in by_name else section.steps[0].name}
    stack = list(seen)
    while stack:
        for name in targets_of(by_name[stack.pop()]):
            target = name if name in by_name else nearest(name, by_name)
            if target is not None and target not in seen:
                seen.add(target)
                stack.append(target)
    for step in section.steps:
        if step.name not in seen and not (step.name == END and step.result is not None):
            message = f"no way leads to the step {step.name!r} of {section.name}"
            reader.error(section.places[step.name], Code.UNREACHABLE, message)

"""What can only be checked when all steps are known: names, targets, what can be reached."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from noetl.playbook.graph import END, targets
from noetl.playbook.lint.codes import Code
from noetl.playbook.model import Step
from noetl.playbook.read.reader import Reader
from noetl.playbook.suggest import did_you_mean, nearest
from noetl.playbook.yaml.tree import Node
from noetl.words import RESERVED_NAMES

_TEMPLATE_WORDS: Final = frozenset(
    {"and", "else", "elif", "false", "False", "if", "in", "is", "none", "None", "not", "or", "self", "true", "True"}
)

LONGEST_STEP_NAME: Final = 200
"""Characters: it stands in each of the step's rows, and in index entries, which are bounded."""


class Target(Protocol):
    """Where an edge leads, as it stands in the file."""

    step: str
    name: str
    node: Node


def check_names(
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
        elif len(name) > LONGEST_STEP_NAME:
            short = f"{name[:20]}..."
            reader.error(
                node,
                Code.TOO_LONG,
                f"the step name {short!r} is longer than {LONGEST_STEP_NAME} characters: shorten it",
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
    reader: Reader, found: Sequence[Target], workflow: Mapping[str, Node], finally_: Mapping[str, Node]
) -> None:
    """Report edges that lead nowhere, or from one workflow into the other."""
    for target in found:
        home, other, name = (
            (workflow, finally_, "finally") if target.step in workflow else (finally_, workflow, "workflow")
        )
        if target.name in home:
            continue
        if target.name in other:
            reason = f"which is a step of {name}: only steps of the same workflow can follow"
        else:
            advice = ": add '- step: end'" if target.name == END else did_you_mean(target.name, home)
            reason = f"which there is not{advice}"
        reader.error(target.node, Code.DANGLING, f"step {target.step!r} leads to {target.name!r}, {reason}")


def check_reachable(reader: Reader, steps: Sequence[Step], nodes: Mapping[str, Node], what: str) -> None:
    """Report steps that nothing leads to. `end` may stand alone: its result is the execution's in any case.

    A dangling target counts for the step that was probably meant, so that one mistake is one problem.
    """
    if not steps:
        return
    by_name = {step.name: step for step in steps}
    seen = {"start" if "start" in by_name else steps[0].name}
    stack = list(seen)
    while stack:
        for name in targets(by_name[stack.pop()]):
            target = name if name in by_name else nearest(name, by_name)
            if target is not None and target not in seen:
                seen.add(target)
                stack.append(target)
    for step in steps:
        if step.name not in seen and not (step.name == END and step.result is not None):
            reader.error(nodes[step.name], Code.UNREACHABLE, f"no way leads to the step {step.name!r} of {what}")

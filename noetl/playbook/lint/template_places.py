"""The places of templates in a step and its task."""

from collections.abc import Iterator
from typing import Final

from noetl.playbook.lint.scopes import At, Section
from noetl.playbook.model import Step
from noetl.playbook.read.loops import loop_levels
from noetl.playbook.read.steps import STEP_KEYS
from noetl.playbook.step_types import fields_of
from noetl.playbook.yaml.tree import Node

_KEYS_APART: Final = frozenset(
    {"step", "type", "desc", "pool", "max_visits", "next", "on_error", "task", "loop", "retry", "save"}
)
"""Keys without templates, and those whose templates stand in places of their own."""


def sites(section: Section, step: Step, task: Node | None) -> Iterator[tuple[At, str, Node]]:
    """Yield the values of a step that can have templates, each with its place and its label."""
    node = section.nodes[step.name]
    for owner in (node, task):
        if owner is not None:
            overridden = set(section.transition(step.name).sure)
            own = node.value.get("args")
            if owner is task and own is not None and own.kind == "mapping":
                overridden |= own.value.keys()
            yield from _fields(owner, step, overridden, of_task=owner is task)
    for level in loop_levels(node):
        for key, value in level.value.items():
            yield (At.ITEM_SAVE if key == "save" else At.LOOP), f"loop.{key}", value
    for way in section.leaving(step.name):
        at = At.NEXT if way.key == "next" else At.ON_ERROR
        if way.when is not None:
            yield at, f"{way.key}.when", way.when
        if way.args is not None:
            yield at, f"{way.key}.args", way.args


def _fields(owner: Node, step: Step, overridden: set[str], *, of_task: bool) -> Iterator[tuple[At, str, Node]]:
    """Yield the values of a step or its task; of its args those that are not `overridden` by nearer ones."""
    own = fields_of(step.type)
    known = STEP_KEYS | own.keys()  # another key is a mistake itself
    raw = {name for name, spec in own.items() if spec.raw}
    for key, value in owner.value.items():
        if key == "args":
            for name, arg in value.value.items() if value.kind == "mapping" else [("", value)]:
                if name not in overridden:
                    yield (At.TASK_ARGS if of_task else At.ARGS), key, arg
        elif key == "result":
            yield At.RESULT, key, value
        elif key == "save":
            yield (At.ITEM_SAVE if of_task and step.loops else At.SAVE), key, value
        elif key == "retry" and value.kind == "mapping":
            for name in ("when", "until"):
                if name in value.value:
                    yield At.RETRY, f"retry.{name}", value.value[name]
        elif key in known and key not in _KEYS_APART and key not in raw and not (of_task and key == "name"):
            yield At.FIELD, key, value

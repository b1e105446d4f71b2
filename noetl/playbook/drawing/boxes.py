"""The content of a drawing of a workflow, in any format: boxes with lines of text, and arrows with labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

from noetl.playbook.graph import END
from noetl.playbook.model import Clause, Graph, Loop, Playbook, Step, Template

MAX_LINE_CHARACTERS: Final = 34
"""Characters of a line in a drawing; the whole text is told where somebody points at it."""


@dataclass(frozen=True, slots=True)
class Box:
    """A step. `kind` is one of action, router, fail; `lines` are its name and what it does."""

    name: str
    lines: tuple[str, ...]
    kind: str
    entry: bool
    join: bool
    handler: bool
    tooltip: str


@dataclass(slots=True)
class Arrow:
    """All ways of one kind from a step to another; a label for each that has one. `beside`: those of all ways of the
    step, from which they have to be told apart."""

    source: str
    target: str
    failing: bool
    labels: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Picture:
    """The steps of `workflow` or `finally`."""

    title: str
    entry: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def pictures(playbook: Playbook) -> list[Picture]:
    """Return the pictures of a playbook: its workflow, and `finally` where it has one."""
    workflow = [_picture("workflow", playbook.workflow)]
    return [*workflow, _picture("finally", playbook.finally_)] if playbook.finally_ is not None else workflow


def _picture(title: str, graph: Graph) -> Picture:
    arrows: dict[tuple[str, str, bool], Arrow] = {}
    for step in graph.steps.values():
        beside: list[str] = []
        for failing, clauses in ((False, step.next), (True, step.on_error)):
            for clause, label in labelled(clauses):
                for edge in clause.edges:
                    key = step.name, edge.target, failing
                    arrow = arrows.setdefault(key, Arrow(*key, beside=beside))
                    if label and label not in arrow.labels:
                        arrow.labels.append(label)
                        beside.append(label)
    boxes = tuple(_box(graph, step) for step in graph.steps.values())
    return Picture(title, graph.entry, boxes, tuple(arrows.values()))


def _box(graph: Graph, step: Step) -> Box:
    kind = step.type if step.type in ("router", "fail") else "action"
    join = step.name in graph.joins and (step.name != END or len(graph.sources[END]) > 1)
    lines = [step.name, *([what_it_does(step)] if kind == "action" else []), *map(loop_text, step.loops)]
    return Box(
        name=step.name,
        lines=tuple(lines),
        kind=kind,
        entry=step.name == graph.entry,
        join=join,
        handler=step.name in graph.handlers,
        tooltip=": ".join(part for part in (step.name, step.desc) if part),
    )


def what_it_does(step: Step) -> str:
    """Return a step's type, with its task and what is saved."""
    task = f" ({step.task})" if step.task else ""
    saved = " + save" if step.save is not None or step.item_save is not None else ""
    return f"{step.type}{task}{saved}"


def loop_text(loop: Loop) -> str:
    """Return the text of a loop: its items and its options."""
    mode = "" if loop.sequential else ", async"
    return f"each {loop.iterator} in {expression(loop.items)}{mode}"


def labelled(clauses: tuple[Clause, ...]) -> Iterator[tuple[Clause, str]]:
    """Yield clauses with their conditions as text: `else` where others have one, nothing where none has."""
    conditional = any(clause.when is not None for clause in clauses)
    for clause in clauses:
        yield clause, expression(clause.when) if clause.when is not None else "else" if conditional else ""


def expression(template: Template) -> str:
    """Return the text of a template, its braces left out where it is one expression."""
    text = getattr(template, "text", None)
    if not isinstance(text, str):
        return str(template.render({})) if template.constant else "[...]"
    text = text.strip()
    sole = text.startswith("{{") and text.endswith("}}") and text.count("{{") == 1
    return " ".join((text[2:-2] if sole else text).split())


def short(text: str, longest: int = MAX_LINE_CHARACTERS) -> str:
    """Return a line that is not too long to be drawn, without signs that have no picture."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"


def cut_apart(text: str, beside: Sequence[str], longest: int = MAX_LINE_CHARACTERS) -> str:
    """Return a line that is not too long to be drawn, cut where it differs from those beside it.

    >>> cut_apart("fetch.data.status == 'running'", ["fetch.data.status == 'done'"], 14)
    "… == 'running'"
    """
    cut = short(text, longest)
    alike = [other for other in beside if other != text and short(other, longest) == cut]
    if len(text) <= longest or not alike:
        return cut
    differs = min(_alike(text, other) for other in alike)
    begin = min(max(0, differs - longest // 3), len(text) - longest + 1)
    return "…" + short(text[begin:], longest - 1)


def _alike(text: str, other: str) -> int:
    """Return the number of characters with which both texts begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, other, strict=False)))

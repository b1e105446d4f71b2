"""The Mermaid drawing of a playbook, which most places that show Markdown turn into a picture."""

from collections.abc import Iterator
from typing import Final

from noetl.playbook.drawing.boxes import Arrow, Box, Picture, cut_apart, pictures, short
from noetl.playbook.model import Playbook

_SHAPES: Final = {"action": ('["', '"]'), "router": ('(["', '"])'), "fail": ('{{"', '"}}')}
_CLASSES: Final = (
    "    classDef join stroke-width:3px",
    "    classDef handler stroke:#b3261e,stroke-dasharray:4 3",
    "    classDef fail fill:#fbe9e7,stroke:#b3261e",
)
_SIGNS: Final = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;", "|": "#124;"}


def mermaid(playbook: Playbook) -> str:
    """Return the flow chart of a playbook."""
    lines = ["flowchart TD"]
    for picture in pictures(playbook):
        framed = picture.title != "workflow"
        lines += ['    subgraph finally_workflow["finally"]'] if framed else []
        lines += [f"    {line}" for line in _lines(picture)]
        lines += ["    end"] if framed else []
    return "\n".join([*lines, *_CLASSES]) + "\n"


def _lines(picture: Picture) -> Iterator[str]:
    for box in picture.boxes:
        yield _box(box)
    for arrow in picture.arrows:
        yield _arrow(arrow)
    for name, members in (
        ("join", [box for box in picture.boxes if box.join]),
        ("handler", [box for box in picture.boxes if box.handler]),
        ("fail", [box for box in picture.boxes if box.kind == "fail"]),
    ):
        if members:
            yield f"class {','.join(_id(box.name) for box in members)} {name}"


def _id(name: str) -> str:
    """Return a name that is no word of Mermaid's."""
    return f"step_{name}"


def _box(box: Box) -> str:
    begin, end = _SHAPES[box.kind]
    return f"{_id(box.name)}{begin}{'<br/>'.join(_escaped(short(line)) for line in box.lines)}{end}"


def _arrow(arrow: Arrow) -> str:
    label = "<br/>".join(_escaped(cut_apart(label, arrow.beside)) for label in arrow.labels)
    if arrow.failing:
        return f'{_id(arrow.source)} -. "{f"on error: {label}" if label else "on error"}" .-> {_id(arrow.target)}'
    return f"{_id(arrow.source)} {f'-- {chr(34)}{label}{chr(34)} ' if label else ''}--> {_id(arrow.target)}"


def _escaped(text: str) -> str:
    return "".join(_SIGNS.get(char, char) for char in text)

"""Drawings: every step and arrow is there, nothing stands over another, and no text can become markup."""

import random
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from noetl.playbook.drawing.boxes import pictures
from noetl.playbook.drawing.layout import place
from noetl.playbook.drawing.mermaid import mermaid
from noetl.playbook.drawing.outline import as_data, outline
from noetl.playbook.drawing.svg import svg
from noetl.playbook.load import stored_playbook
from noetl.playbook.model import Playbook
from tests.lint.corpus import bases

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = """metadata: {path: p, description: '<script>alert("1")</script> & more'}
workload: {x: 1}
workflow:
  - step: start
    desc: '</title><script>alert(1)</script>\\u0007'
    next:
      - when: "{{ x == '<b>\\"quoted\\" & `ticked` #hash|</b>' }}"
        then: [a]
      - else: end
  - {step: a, type: python, loop: {in: "{{ ['<i>', \\"&\\"] }}", iterator: thing}, code: "def main(): pass", next: end}
  - {step: end}
finally:
  - {step: tidy, type: http, endpoint: x, on_error: continue}
"""


def playbooks() -> list[Playbook]:
    return [*(stored_playbook(base.text, base.name) for base in bases()), stored_playbook(HOSTILE, "hostile")]


@pytest.mark.parametrize("playbook", playbooks(), ids=lambda playbook: playbook.path)
def test_an_svg_shows_every_step_and_every_arrow(playbook: Playbook) -> None:
    """Well-formed, every name once as a text of its own, an arrow for each pair of steps and kind."""
    root = ElementTree.fromstring(svg(playbook))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    arrows = [path for path in root.iter(f"{SVG}path") if path.get("marker-end")]
    drawn = pictures(playbook)
    for picture in drawn:
        for box in picture.boxes:
            assert texts.count(box.name) == 1
    assert len(arrows) == sum(len(picture.arrows) for picture in drawn)
    assert not [element for element in root.iter() if element.tag.removeprefix(SVG) in ("script", "b", "i")]


def numbers(element: ElementTree.Element, *names: str) -> list[float]:
    return [float(element.get(name, "nan")) for name in names]


@pytest.mark.parametrize("playbook", playbooks(), ids=lambda playbook: playbook.path)
def test_no_box_stands_over_another_or_outside(playbook: Playbook) -> None:
    root = ElementTree.fromstring(svg(playbook))
    width, height = numbers(root, "width", "height")
    boxes = [numbers(group[1], "x", "y", "width", "height") for group in root.iter(f"{SVG}g") if len(group) > 1]
    boxes = [box for box in boxes if box == box]
    for number, (x, y, wide, high) in enumerate(boxes):
        assert -1 <= x <= x + wide <= width + 1
        assert 0 <= y <= y + high <= height
        for other_x, other_y, other_wide, other_high in boxes[:number]:
            apart = x >= other_x + other_wide or other_x >= x + wide or y >= other_y + other_high or other_y >= y + high
            assert apart, "two boxes, or a box and a label, stand over each other"


@pytest.mark.parametrize("seed", range(20))
def test_layers_of_any_graph(seed: int) -> None:
    """Nodes of a layer keep their distance, arrows that close no cycle lead down, every arrow has its points."""
    dice = random.Random(seed)
    names = [f"n{number}" for number in range(dice.randint(1, 25))]
    widths = {name: dice.uniform(40, 200) for name in names}
    edges = [(dice.choice(names), dice.choice(names)) for _ in range(dice.randint(0, 40))]
    labels = [dice.choice([0.0, 90.0]) for _ in edges]
    layout = place(names[0], widths, edges, labels)
    spans = [(layout.layer[name], layout.x[name], width) for name, width in widths.items()]
    spans += [
        (layer, x, label)
        for points, label in zip(layout.passing, labels, strict=True)
        for number, (x, layer) in enumerate(points)
        if number == 0
    ]
    for number, (layer, x, width) in enumerate(spans):
        for other_layer, other_x, other_width in spans[:number]:
            assert layer != other_layer or abs(x - other_x) >= (width + other_width) / 2
    for (source, target), points in zip(edges, layout.passing, strict=True):
        rows = [layout.layer[source], *(layer for _, layer in points), layout.layer[target]]
        assert source == target or [abs(a - b) for a, b in pairwise(rows)] == [1] * (len(rows) - 1)
    assert max(x + width / 2 for _, x, width in spans) <= layout.width + 0.001


@pytest.mark.parametrize("playbook", playbooks(), ids=lambda playbook: playbook.path)
def test_mermaid_has_every_step_and_no_sign_of_its_own_in_texts(playbook: Playbook) -> None:
    text = mermaid(playbook)
    assert text.startswith("flowchart TD\n")
    for picture in pictures(playbook):
        for box in picture.boxes:
            assert len(re.findall(rf"^ *step_{box.name}[\[({{]", text, re.MULTILINE)) == 1
        for arrow in picture.arrows:
            assert f"step_{arrow.source} " in text
            assert f"> step_{arrow.target}\n" in text
    for quoted in re.findall(r'"([^"\n]*)"', text):
        assert not re.search(r"[`<>]", quoted.replace("<br/>", ""))
    assert text.count('"') % 2 == 0


def test_an_outline_tells_what_steps_do_and_where_they_lead() -> None:
    text = (Path(__file__).parents[2] / "lint" / "bases" / "weather.yaml").read_text()
    playbook = stored_playbook(text, "weather")
    assert list(outline(playbook)) == [
        "lint/weather: Alerts where it gets warm",
        "",
        "workflow",
        "  start: router",
        "      -> fetch",
        "  fetch: http, each city in workload.cities, async - The forecast of each city",
        "      -> judge",
        "      on error -> report_failure",
        "  judge: python (evaluate)",
        "      when judge.alert -> warn",
        "      else -> end",
        "  warn: http",
        "      -> end",
        "  report_failure: fail, handles failures of fetch",
        "  end: router, waits for judge, warn",
    ]
    data = as_data(playbook)
    assert data["workflow"][2]["next"] == [
        {"when": "judge.alert", "then": ["warn"]},
        {"when": None, "then": ["end"]},
    ]
    assert data["workflow"][1]["loop"] == [{"in": "workload.cities", "iterator": "city", "mode": "async"}]


CYCLE = """metadata: {path: %s}
workflow:
  - {step: start, type: python, code: "def main(): return 1", next: check}
  - step: check
    next:
      - {when: "{{ start.summary.processing_status == 'running' }}", then: start}
      - {when: "{{ start.summary.processing_status == 'done' }}", then: good}
      - else: end
  - {step: good, type: python, code: "def main(): pass", next: end}
  - {step: end}
"""


def drawn(path: str, text: str = CYCLE) -> ElementTree.Element:
    return ElementTree.fromstring(svg(stored_playbook(text % path, path)))


def ends(path: ElementTree.Element) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return where an arrow begins and ends."""
    found = re.findall(r"-?[\d.]+ -?[\d.]+", path.get("d") or "")
    return tuple(found[0].split()), tuple(found[-1].split())


def test_a_long_title_widens_the_drawing() -> None:
    path = "department/" + "very_long_folder/" * 6 + "name"
    root = drawn(path)
    assert float(root.get("width", "0")) >= 24 + len(path) * 8 + 24


def test_an_arrow_back_meets_no_other_arrow_at_its_ends() -> None:
    """Where it did, its head lay on the line of the arrow down, and it could not be told from that."""
    root = drawn("p")
    arrows = [ends(path) for path in root.iter(f"{SVG}path") if path.get("marker-end")]
    back = [arrow for arrow in arrows if float(arrow[0][1]) > float(arrow[1][1])]
    assert len(back) == 1
    others = [arrow for arrow in arrows if arrow not in back]
    for begin, end in others:
        assert abs(float(begin[0]) - float(back[0][1][0])) > 8 or abs(float(begin[1]) - float(back[0][1][1])) > 8
        assert abs(float(end[0]) - float(back[0][0][0])) > 8 or abs(float(end[1]) - float(back[0][0][1])) > 8


def test_conditions_that_begin_alike_are_cut_where_they_differ() -> None:
    texts = [text.text or "" for text in drawn("p").iter(f"{SVG}text")]
    assert [text for text in texts if text.endswith("'running'")]
    assert [text for text in texts if text.endswith("'done'")]
    assert "'running'" in mermaid(stored_playbook(CYCLE % "p", "p"))


def test_the_legend_explains_what_is_there() -> None:
    plain = "metadata: {path: %s}\nworkflow:\n  - {step: start, type: python, code: 'def main(): pass'}\n"
    assert [text.text for text in drawn("p", plain).iter(f"{SVG}text")] == ["p", "start", "python"]
    failing = plain + "    \n"
    failing = failing.replace("pass'}", "pass', on_error: [mend]}\n  - {step: mend, type: fail, message: m}")
    texts = [text.text for text in drawn("p", failing).iter(f"{SVG}text")]
    assert texts[-1] == "red, dashed: on error; red box: fails"

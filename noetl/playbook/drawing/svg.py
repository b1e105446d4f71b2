"""The SVG drawing of a playbook, self-contained: it loads no font, script or file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from xml.sax.saxutils import escape

from noetl.playbook.drawing.boxes import Arrow, Box, Picture, cut_apart, pictures, short
from noetl.playbook.drawing.layout import place
from noetl.playbook.model import Playbook

_CHARACTER_WIDTH: Final = 7.0
"""The width of a character, about: fonts differ."""
_LINE_HEIGHT: Final = 16.0
_MARGIN: Final = 24.0
_ROOM: Final = 26.0
"""Between two layers."""
_LOOP: Final = 34.0
"""How far an arrow to itself reaches out."""

_FILL: Final = {"action": "#eef3fb", "router": "#f4f4f2", "fail": "#fbe9e7"}
_INK, _FAILING, _SOFT = "#2f3b4c", "#b3261e", "#6b7685"
_HEAD: Final = """<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" \
viewBox="0 0 {width:.0f} {height:.0f}" font-family="ui-sans-serif, 'DejaVu Sans', Verdana, sans-serif" font-size="12">
<title>{title}</title>
<defs>
<marker id="on" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">\
<path d="M0 0.5 L7.5 4 L0 7.5 z" fill="{ink}"/></marker>
<marker id="failed" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">\
<path d="M0 0.5 L7.5 4 L0 7.5 z" fill="{failing}"/></marker>
</defs>
<rect width="100%" height="100%" fill="#ffffff"/>"""
_TITLE: Final = 8.8
"""The width of a character of the title, which is larger and bold."""


def svg(playbook: Playbook) -> str:
    """Return the drawing of a playbook."""
    parts: list[str] = []
    width, top = 360.0, _MARGIN + 20
    shown = pictures(playbook)
    for picture in shown:
        chart = _Chart(picture, top)
        parts += chart.draw()
        width = max(width, chart.width + 2 * _MARGIN)
        top += chart.height + 2 * _MARGIN
    legend = _legend(shown)
    width = max(width, len(playbook.path) * _TITLE + 2 * _MARGIN, len(legend) * 6.0 + 2 * _MARGIN)
    title = escape(_clean(playbook.path))
    head = _HEAD.format(width=width, height=top, title=title, ink=_INK, failing=_FAILING)
    named = f'<text x="{_MARGIN}" y="{_MARGIN}" font-weight="bold" font-size="14" fill="{_INK}">{title}</text>'
    legends = (
        [f'<text x="{_MARGIN}" y="{top - 12:.1f}" font-size="10" fill="{_SOFT}">{legend}</text>'] if legend else []
    )
    return "\n".join([head, named, *parts, *legends, "</svg>"]) + "\n"


def _legend(shown: Sequence[Picture]) -> str:
    """Return the legend of the signs in a drawing."""
    boxes = [box for picture in shown for box in picture.boxes]
    arrows = [arrow for picture in shown for arrow in picture.arrows]
    signs = (
        ("heavy top: waits for all branches", any(box.join for box in boxes)),
        ("red, dashed: on error", any(arrow.failing for arrow in arrows) or any(box.handler for box in boxes)),
        ("red box: fails", any(box.kind == "fail" for box in boxes)),
    )
    return "; ".join(text for text, there in signs if there)


def _clean(text: str) -> str:
    """Return text without the characters that XML cannot hold."""
    return "".join(char if char.isprintable() else " " for char in text)


@dataclass(frozen=True, slots=True)
class _Area:
    """The area of a box: its centre from the left, its top, and its size."""

    x: float
    y: float
    width: float
    height: float


class _Chart:
    """Draws one workflow below a given line."""

    def __init__(self, picture: Picture, top: float) -> None:
        self.picture = picture
        self.framed = picture.title != "workflow"
        self.top = top + (26.0 if self.framed else 0.0)
        sizes = {box.name: _size(box) for box in picture.boxes}
        beside = {arrow.source: _LOOP + _label_size(arrow)[0] for arrow in picture.arrows if _is_loop(arrow)}
        widths = {name: width + 2 * beside.get(name, 0.0) for name, (width, _) in sizes.items()}
        labels = {number: _label_size(arrow) for number, arrow in enumerate(picture.arrows) if arrow.labels}
        edges = [(arrow.source, arrow.target) for arrow in picture.arrows]
        wide = [labels[number][0] if number in labels else 0.0 for number in range(len(edges))]
        self.layout = layout = place(picture.entry, widths, edges, wide)
        heights = [0.0] * layout.layers
        for name, (_, height) in sizes.items():
            heights[layout.layer[name]] = max(heights[layout.layer[name]], height)
        for number, (_, height) in labels.items():
            if layout.passing[number]:
                at = layout.passing[number][0][1]
                heights[at] = max(heights[at], height)
        self.tops = [self.top]
        for height in heights:
            self.tops.append(self.tops[-1] + height + _ROOM)
        self.areas = {
            name: _Area(layout.x[name] + _MARGIN, self.tops[layout.layer[name]], *size) for name, size in sizes.items()
        }
        self.height = self.tops[-1] - _ROOM - top + (14.0 if self.framed else 0.0)
        self.width = layout.width

    def draw(self) -> Iterator[str]:
        if self.framed:
            x, y = _MARGIN - 12, self.top - 22
            yield (
                f'<rect x="{x}" y="{y:.1f}" width="{self.width + 24:.1f}" height="{self.height + 8:.1f}" rx="8"'
                f' fill="none" stroke="{_SOFT}" stroke-dasharray="6 4"/>'
            )
            yield f'<text x="{x + 10}" y="{y + 16:.1f}" fill="{_SOFT}">{self.picture.title}</text>'
        labels: list[str] = []
        for arrow, passing in zip(self.picture.arrows, self.layout.passing, strict=True):
            line, at = self._line(arrow, passing)
            yield line
            labels += self._label(arrow, at)
        for box in self.picture.boxes:
            yield self._box(box)
        yield from labels

    # ---- boxes

    def _box(self, box: Box) -> str:
        area = self.areas[box.name]
        left, radius = area.x - area.width / 2, 18 if box.kind == "router" else 5
        stroke = _FAILING if box.handler or box.kind == "fail" else _INK
        dashes = ' stroke-dasharray="4 3"' if box.handler else ""
        weight = 2.2 if box.entry else 1.2
        parts = [
            f"<g><title>{escape(_clean(box.tooltip))}</title>",
            f'<rect x="{left:.1f}" y="{area.y:.1f}" width="{area.width:.1f}" height="{area.height:.1f}" rx="{radius}"'
            f' fill="{_FILL[box.kind]}" stroke="{stroke}" stroke-width="{weight}"{dashes}/>',
        ]
        if box.join:
            parts.append(
                f'<path d="M{left:.1f} {area.y:.1f} h{area.width:.1f}" stroke="{_INK}" stroke-width="5"'
                ' stroke-linecap="round"/>'
            )
        for number, line in enumerate(box.lines):
            bold, colour = (' font-weight="bold"', _INK) if number == 0 else (' font-size="11"', _SOFT)
            y = area.y + _LINE_HEIGHT * (number + 1) + 2
            parts.append(
                f'<text x="{area.x:.1f}" y="{y:.1f}" text-anchor="middle"{bold} fill="{colour}">'
                f"{escape(short(line))}</text>"
            )
        return "".join([*parts, "</g>"])

    # ---- arrows

    def _line(self, arrow: Arrow, passing: Sequence[tuple[float, int]]) -> tuple[str, tuple[float, float]]:
        """Return an arrow, and where its label goes."""
        look = (
            f'stroke="{_FAILING}" stroke-dasharray="5 4" marker-end="url(#failed)"'
            if arrow.failing
            else f'stroke="{_INK}" marker-end="url(#on)"'
        )
        path, at = self._to_itself(arrow) if _is_loop(arrow) else self._between(arrow, passing)
        return f'<path d="{path}" fill="none" stroke-width="1.3" {look}/>', at

    def _to_itself(self, arrow: Arrow) -> tuple[str, tuple[float, float]]:
        area = self.areas[arrow.source]
        right, middle = area.x + area.width / 2, area.y + area.height / 2
        bend = right + _LOOP
        path = f"M{right:.1f} {middle + 9:.1f} C{bend:.1f} {middle + 16:.1f} {bend:.1f} {middle - 16:.1f} "
        return path + f"{right + 1:.1f} {middle - 9:.1f}", (right + _LOOP - 4 + _label_size(arrow)[0] / 2, middle)

    def _between(self, arrow: Arrow, passing: Sequence[tuple[float, int]]) -> tuple[str, tuple[float, float]]:
        """Return a curve through the points of the layers that it passes, and where its label goes."""
        source, target = self.areas[arrow.source], self.areas[arrow.target]
        if self.layout.layer[arrow.source] > self.layout.layer[arrow.target]:
            return self._back(source, target, passing)
        points = [(source.x + self._aside(arrow, source), source.y + source.height)]
        for x, layer in self._bends(arrow, passing):
            upper, lower = self.tops[layer], self.tops[layer + 1] - _ROOM
            points += [(x + _MARGIN, y) for y in (upper, lower)]
        points.append((target.x + self._aside(arrow, target), target.y - 1))
        return self._curve(points)

    def _back(
        self, source: _Area, target: _Area, passing: Sequence[tuple[float, int]]
    ) -> tuple[str, tuple[float, float]]:
        """Return an arrow that leads up: beside the arrows that lead down, at both of its ends and on its way."""
        points = [(self._side(source, passing[0][0]), source.y)]
        for x, layer in passing:
            points += [(x + _MARGIN, self.tops[layer + 1] - _ROOM), (x + _MARGIN, self.tops[layer])]
        points.append((self._side(target, passing[-1][0]), target.y + target.height + 1))
        return self._curve(points)

    @staticmethod
    def _side(area: _Area, towards: float) -> float:
        """Return the point at which an arrow that leads up meets a box, on the side from which it comes."""
        return area.x + min(26.0, area.width / 3) * (1 if towards + _MARGIN >= area.x else -1)

    @staticmethod
    def _curve(points: Sequence[tuple[float, float]]) -> tuple[str, tuple[float, float]]:
        """Return a curve through points, straight through each layer, and where its label goes."""
        path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
        for number, ((x, y), (to_x, to_y)) in enumerate(pairwise(points)):
            if number % 2:
                path.append(f"L{to_x:.1f} {to_y:.1f}")  # straight through a layer
            else:
                middle = (y + to_y) / 2
                path.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        return " ".join(path), (points[1][0], (points[1][1] + points[min(2, len(points) - 1)][1]) / 2)

    def _bends(self, arrow: Arrow, passing: Sequence[tuple[float, int]]) -> Sequence[tuple[float, int]]:
        """Return the points that an arrow needs: its label's, and those in layers of boxes.

        All of them, where another arrow joins the same two boxes: the two would be one line.
        """
        ends = {arrow.source, arrow.target}
        if sum({other.source, other.target} == ends for other in self.picture.arrows) > 1:
            return passing
        return [point for number, point in enumerate(passing) if point[1] % 2 == 0 or (number == 0 and arrow.labels)]

    @staticmethod
    def _aside(arrow: Arrow, area: _Area) -> float:
        """Keep arrows of failures beside those of success."""
        return min(14.0, area.width / 5) if arrow.failing else 0.0

    def _label(self, arrow: Arrow, at: tuple[float, float]) -> Iterator[str]:
        """Yield the text of an arrow's conditions, on white so that it can be read over lines."""
        if not arrow.labels:
            return
        lines = _label_lines(arrow)
        width, height = _label_size(arrow)
        x, y = at[0], at[1] - height / 2
        colour = _FAILING if arrow.failing else _SOFT
        tooltip = escape(_clean("\n".join(arrow.labels)))
        yield (
            f'<g font-size="10"><title>{tooltip}</title><rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}"'
            f' height="{height:.1f}" fill="#ffffff" fill-opacity="0.9"/>'
        )
        for number, line in enumerate(lines):
            yield (
                f'<text x="{x:.1f}" y="{y + 10 + 13 * number:.1f}" text-anchor="middle" fill="{colour}">'
                f"{escape(line)}</text>"
            )
        yield "</g>"


def _label_lines(arrow: Arrow) -> list[str]:
    return [cut_apart(label, arrow.beside, 30) for label in arrow.labels[:3]] + ["…"] * (len(arrow.labels) > 3)


def _is_loop(arrow: Arrow) -> bool:
    return arrow.source == arrow.target


def _label_size(arrow: Arrow) -> tuple[float, float]:
    lines = _label_lines(arrow)
    if not lines:
        return 0.0, 0.0
    return max(len(line) for line in lines) * 6.1 + 6, 13.0 * len(lines)


def _size(box: Box) -> tuple[float, float]:
    longest = max(len(short(line)) for line in box.lines)
    return max(76.0, longest * _CHARACTER_WIDTH + 24), _LINE_HEIGHT * len(box.lines) + 14

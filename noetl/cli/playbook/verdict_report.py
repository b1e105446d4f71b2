"""The report of tests: a line for each, and for a failure its reason with the path of the execution."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noetl.cli.terminal import open_console

if TYPE_CHECKING:
    from noetl.testing.suite import Verdict

MAX_VALUE_CHARACTERS = 100
"""Characters of a value that a line shows."""

DETAIL_INDENT = " " * 10


@dataclass(frozen=True, slots=True)
class VerdictStyle:
    """The form in which verdicts are printed."""

    as_json: bool
    verbose: bool


def print_verdict(tested: "Verdict", *, verbose: bool, stderr: bool = False) -> None:
    """Print one test that has run."""
    from rich.text import Text

    word, style = ("ok", "green") if tested.ok else ("failed", "bold red")
    console = open_console(stderr=stderr)
    line = Text.assemble("  ", (f"{word:<6}", style), f"  {tested.test.name}", (f"  {_milliseconds(tested)}", "dim"))
    console.print(line)
    for place, text in _why(tested):
        console.print(Text.assemble(DETAIL_INDENT, (place, "dim"), (text, "red") if place else text))
    if verbose:
        for text in _timeline(tested):
            console.print(Text(DETAIL_INDENT + text, style="dim"))
    elif not tested.ok:
        for text in _path(tested):
            console.print(Text(DETAIL_INDENT + text))


def print_summary(count: int, failed: int, milliseconds: float) -> None:
    """Print the last line."""
    from rich.text import Text

    tests = "1 test" if count == 1 else f"{count} tests"
    text = f"{tests}, {failed} failed" if failed else f"{tests} passed"
    style = "bold red" if failed else "green"
    open_console().print(Text.assemble((text, style), f" in {milliseconds / 1000:.2f} s"))


def _milliseconds(tested: "Verdict") -> str:
    return f"{tested.seconds * 1000:.0f} ms"


def _why(tested: "Verdict") -> Iterator[tuple[str, str]]:
    for failure in tested.failures:
        place = f"{tested.test.file}:{failure.line}: "
        for number, line in enumerate(failure.lines):
            yield (place if number == 0 else " " * len(place)), line
    if tested.advice:
        yield "", "write, for instance:"
        for line in tested.advice.splitlines():
            yield "", f"    {line}"


def _path(tested: "Verdict") -> Iterator[str]:
    """Say which steps were taken, and what each came to."""
    if not tested.run.path:
        return
    yield "steps taken:"
    wide = max(len(taken.step) for taken in tested.run.path)
    for taken in tested.run.path:
        name = taken.step if taken.visit == 1 else f"{taken.step} ({taken.visit})"
        if taken.error is not None:
            came = f"{taken.ended}: {taken.error.get('type')}: {taken.error.get('message')}"
        else:
            came = taken.ended or "did not end"
            came = _value(taken.result) if taken.result is not None else came
        yield f"  {name:<{wide}}  {_cut(came)}"


def _timeline(tested: "Verdict") -> Iterator[str]:
    """Say what happened when, calls and prints included."""
    for moment in tested.run.timeline:
        event = moment.event
        child = "" if moment.execution_id == tested.test.execution_id else f"{moment.path}: "
        happening = f"{event.event_type} {event.node_id}".rstrip()
        happening += f" visit {event.visit}" if event.visit > 1 else ""
        happening += f" item {event.item_index}" if event.item_index >= 0 else ""
        happening += f" attempt {event.attempt}" if event.attempt > 1 else ""
        detail = ""
        if event.error is not None:
            detail = f"  {event.error.get('type')}: {event.error.get('message')}"
        elif event.result is not None:
            detail = f"  {event.result.decode(errors='replace')}"
        yield f"{moment.at:>12.3f} s  {child}{happening}{_cut(detail)}"
    for step, text in tested.output:
        for line in text.splitlines():
            yield f"{step} printed: {_cut(line)}"


def _value(value: object) -> str:
    from noetl.testing.compare import short

    return short(value)


def _cut(text: str) -> str:
    text = " ".join(text.split("\n"))
    return text if len(text) <= MAX_VALUE_CHARACTERS else text[: MAX_VALUE_CHARACTERS - 3] + "..."

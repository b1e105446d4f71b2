"""`noetl playbook`: commands on playbook files, without a server and without a database."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noetl.cli.completion import files as complete_files
from noetl.cli.options import Json
from noetl.cli.playbook.test import run_playbook_tests
from noetl.cli.playbook_files import documents, read_text
from noetl.cli.terminal import note, print_json
from noetl.errors import InputError, PlaybookError, Problem

if TYPE_CHECKING:
    from noetl.playbook.model import Playbook

app = typer.Typer(help="Playbook files: lint, test, graph, show, schema.", no_args_is_help=True)

File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="Playbook file; the suffix may be left out.", autocompletion=complete_files),
]

DRAWING_FORMATS = ("mermaid", "svg")


@app.command()
def lint(
    files: Annotated[list[str], typer.Argument(metavar="FILE|DIR...", help="Files, and folders with all files below.")],
    credentials: Annotated[
        list[str] | None,
        typer.Option(
            "--credential", metavar="NAME", help="Name of a credential that exists; others are errors then. Repeatable."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 also on warnings.")] = False,
    as_json: Json = False,
) -> None:
    """Report all problems as file:line:column: severity: code: message. Exit code 1: there are errors."""
    problems, count = [], 0
    for file in documents(files):
        count += 1
        problems += _problems(file, credentials)
    if as_json:
        print_json([asdict(problem) for problem in problems])
    else:
        for problem in problems:
            print(problem)
        note(_sum(problems, count))
    failing = ("error", "warning") if strict else ("error",)
    if any(problem.severity in failing for problem in problems):
        raise typer.Exit(1)


def _problems(file: Path, credentials: Collection[str] | None) -> list[Problem]:
    """Return what lint has to say about a file; documents that never run are looked at no further."""
    from noetl.playbook import load
    from noetl.playbook.read.document import PLAYBOOK_KIND

    text, name = read_text(file), str(file)
    try:
        kind = load.document_kind(text, name)[0]
    except PlaybookError:
        kind = PLAYBOOK_KIND  # lint says what is wrong with it
    if kind != PLAYBOOK_KIND:
        note(f"{name} is of kind {kind}, which is stored and never run: there is nothing to check")
        return []
    return load.lint(text, name, credentials)


def _sum(problems: Sequence[Problem], files: int) -> str:
    counts = {
        name: sum(problem.severity == name for problem in problems)
        for name in ("error", "warning", "hint")  # in this order
    }
    counted = ", ".join(f"{number} {name}{'' if number == 1 else 's'}" for name, number in counts.items() if number)
    return f"{files} file{'' if files == 1 else 's'}: {counted or 'no problems'}"


@app.command()
def graph(
    file: File,
    format: Annotated[str, typer.Option("--format", help="Format: mermaid or svg.")] = "mermaid",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write. Default: stdout.")] = None,
) -> None:
    """Draw the workflow."""
    if format not in DRAWING_FORMATS:
        raise InputError(f"--format is {format!r}: it is one of {', '.join(DRAWING_FORMATS)}")
    playbook = _playbook(file)
    if format == "svg":
        from noetl.playbook.drawing.svg import svg as draw
    else:
        from noetl.playbook.drawing.mermaid import mermaid as draw
    drawing = draw(playbook)
    if output is None:
        sys.stdout.write(drawing)
        return
    try:
        output.write_text(drawing, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}") from None
    note(f"drawn to {output}")


@app.command()
def show(file: File, as_json: Json = False) -> None:
    """Tell the steps, what they do and where they lead; with --json as data."""
    from noetl.playbook.drawing.outline import as_data, outline

    playbook = _playbook(file)
    if as_json:
        print_json(as_data(playbook))
        return
    for line in outline(playbook):
        print("".join(char if char.isprintable() else " " for char in line))


@app.command()
def schema() -> None:
    """Print the JSON Schema of playbooks, for editors."""
    from noetl.playbook.json_schema import json_schema

    print_json(json_schema())


app.command("test")(run_playbook_tests)


def _playbook(text: str) -> "Playbook":
    """Return the playbook of a file; names that only the further checks miss are no hindrance to look at it."""
    from noetl.playbook.load import stored_playbook

    (file,) = documents([text]) if not Path(text).is_dir() else (None,)
    if file is None:
        raise InputError(f"{text} is a folder: name one file")
    return stored_playbook(read_text(file), str(file))

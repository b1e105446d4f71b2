"""The screen of `noetl dev`: lines for people on stderr with results on stdout, or a JSON object a line on stdout."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from noetl.cli.execute.progress import Progress
from noetl.cli.execute.report import code_place, took
from noetl.cli.json_object import JsonObject
from noetl.cli.terminal import STATUS_STYLES, cell, open_console, safe
from noetl.errors import Problem

MAX_RESULT_CHARACTERS = 2000
"""Characters of a result that are shown; `noetl execute result` has all of it."""

_SEVERITY_COLOURS = {"error": "red", "warning": "yellow", "hint": "cyan"}


class Screen:
    """Shows what happens, a line each."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._console = None if as_json or not sys.stderr.isatty() else open_console(stderr=True)

    def say(self, text: str) -> None:
        """Show a sentence."""
        self._line({"what": "note", "text": text}, (_now(), "dim"), (f"  {text}", ""))

    def problem(self, problem: Problem) -> None:
        """Show a finding of lint, as file:line:column, as an editor takes it."""
        self._line({"what": "problem", **asdict(problem)}, (str(problem), _SEVERITY_COLOURS.get(problem.severity, "")))

    def registered(self, file: Path, path: str, version: int, created: bool) -> None:
        """Show that a file stands in the catalog."""
        new = "" if created else ", as before"
        document = {"what": "registered", "file": str(file), "path": path, "version": version, "created": created}
        self._line(document, (_now(), "dim"), (f"  {file}: {path} version {version}{new}", "green" if created else ""))

    def started(self, shown: JsonObject) -> None:
        """Show that an execution has begun."""
        names = ("execution_id", "path", "version", "parent_execution_id", "started_by")
        text = f"  {shown['path']} version {shown['version']}: execution {shown['execution_id']}"
        self._line({"what": "started", **{name: shown[name] for name in names}}, (_now(), "dim"), (text, "bold"))

    def progress(self, shown: JsonObject, file: Path | None) -> Progress:
        """Return the progress that shows the events of an execution."""
        label = f"{shown['path'].rpartition('/')[2]}#{shown['execution_id'][-4:]}"
        return Progress(quiet=self.as_json, place=code_place(file), label=label)

    def event(self, event: JsonObject) -> None:
        """Show an event of the log; people get it from the progress."""
        if self.as_json:
            self._line({"what": "event", **event})

    def printed(self, execution_id: str, step: str, text: str) -> None:
        """Show what a step printed; people get it from the progress."""
        if self.as_json:
            self._line({"what": "printed", "execution_id": execution_id, "step": step, "text": text})

    def ended(self, shown: JsonObject) -> None:
        """Show how an execution ended, its result on stdout."""
        status, error = shown["status"], shown["error"] or {}
        names = ("execution_id", "path", "version", "status", "result", "error")
        step = f"step {error['step']}: " if "step" in error else ""
        reason = f": {step}{cell(error['message'])}" if error.get("message") else ""
        text = f"  {shown['path']}: execution {shown['execution_id']} {status} in {took(shown)}{reason}"
        document = {"what": "ended", **{name: shown[name] for name in names}}
        self._line(document, (_now(), "dim"), (text, STATUS_STYLES.get(status, "")))
        if not self.as_json and shown["result"] is not None:
            result = json.dumps(shown["result"], ensure_ascii=False, indent=2)
            more = "" if len(result) <= MAX_RESULT_CHARACTERS else f"\n... noetl execute result {shown['execution_id']}"
            for line in (result[:MAX_RESULT_CHARACTERS] + more).splitlines():
                print(safe(line, sys.stdout))
            sys.stdout.flush()

    def _line(self, document: JsonObject, *parts: tuple[str, str]) -> None:
        if self.as_json:
            print(json.dumps(document, ensure_ascii=False, default=str), flush=True)
        elif self._console is not None:
            from rich.text import Text

            # A file:line:column in two pieces cannot be clicked: the terminal wraps it.
            self._console.print(Text.assemble(*parts), soft_wrap=True)
        else:
            print("".join(text for text, _style in parts), file=sys.stderr, flush=True)


def _now() -> str:
    return time.strftime("%H:%M:%S")

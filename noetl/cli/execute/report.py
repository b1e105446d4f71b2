"""The report of an execution to people: its end, the table of its steps, the reasons of its failures, its waits."""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from noetl.cli.execute.durations import lasts_beyond_attempts, seconds_between, seconds_text
from noetl.cli.execute.progress import say_end
from noetl.cli.execute.wait_reporter import wait_sentence
from noetl.cli.json_object import JsonObject
from noetl.cli.playbook_files import read_text
from noetl.cli.terminal import cell, note, print_json, print_table, safe
from noetl.reasons import Place, attempt_of, heading


def code_place(file: Path | None) -> Place | None:
    """Return where the lines of steps' code stand in a file; None where no file was given. Reads it when asked."""
    if file is None:
        return None
    known: dict[str, int] = {}

    def place(step: str, line: int) -> str | None:
        if not known:
            from noetl.playbook.code_lines import code_lines

            known.update(code_lines(read_text(file), str(file)))
        return f'File "{file}", line {known[step] + line}' if step in known else None

    return place


def print_outcome(shown: JsonObject, why: JsonObject, as_json: bool) -> None:
    """Print how an execution ended, and what failed in its children: the rest was shown while it ran."""
    if as_json:
        names = ("execution_id", "path", "version", "status", "result", "error", "started_at", "finished_at")
        print_json({**{name: shown[name] for name in names}, "failures": why["failures"]})
        return
    if shown["status"] != "completed":
        for failure in why["failures"]:
            if failure["execution_id"] != shown["execution_id"]:
                print_failure(failure, shown["execution_id"], out=False)
    say_end(shown)
    if shown["result"] is not None:
        print_json(shown["result"])


def print_status(shown: JsonObject, why: JsonObject) -> None:
    """Print where an execution stands: a head, its steps, the reasons, what it waits for, result or error."""
    print(_head(shown))
    for line in _about(shown):
        print(f"  {line}")
    if why["steps"]:
        print()
        print_table(
            ("step", "status", "attempt", "items", "started", "took", "result_or_error"),
            [_step_row(step) for step in why["steps"]],
            empty="",
        )
    if why["failures"] and shown["status"] != "completed":
        print()
        for failure in why["failures"]:
            print_failure(failure, shown["execution_id"])
    if why["waits"]:
        print()
        print_waits(why["waits"], shown["execution_id"])
    if shown["error"] is not None and not why["failures"]:
        print(f"\nerror: {heading(shown['error'].get('message'))}")
    if shown["result"] is not None:
        print("\nresult:")
        print_json(shown["result"])


def _head(shown: JsonObject) -> str:
    lasted = f" in {took(shown)}" if took(shown) else ""
    return f"execution {shown['execution_id']} of {shown['path']} version {shown['version']}: {shown['status']}{lasted}"


def _about(shown: JsonObject) -> Iterable[str]:
    by = f" by {cell(shown['started_by'])}" if shown["started_by"] else ""
    yield f"started {at(shown['started_at'])}{by}"
    if shown["finished_at"]:
        yield f"ended {at(shown['finished_at'])}"
    if shown["parent_execution_id"]:
        yield f"child of execution {shown['parent_execution_id']}"
    if shown["labels"]:
        yield "labels " + labels_text(shown["labels"])
    if shown["cancel_requested_at"]:
        yield f"cancel asked for {at(shown['cancel_requested_at'])}"


def _step_row(step: JsonObject) -> JsonObject:
    """Return a step as a row of the table."""
    most = f" of {step['max_attempts']}" if (step["max_attempts"] or 1) > 1 else ""
    attempt = f"{step['attempt']}{most}" if step["attempt"] and (most or step["attempt"] > 1) else ""
    items = step["items"]
    done = "" if items is None else f"{items['ended']:,}/{items['count']:,}"
    failed = f", {items['failed']:,} failed" if items is not None and items["failed"] else ""
    visit = f" (visit {step['visit']})" if (step["visit"] or 1) > 1 else ""
    return {
        "step": f"{step['step']}{visit}",
        "status": step["status"],
        "attempt": attempt,
        "items": done + failed,
        "started": clock(step["started_at"] or step["ended_at"]),
        "took": _step_took(step),
        "result_or_error": heading(step["error"]) if step["error"] else step["result"] or "",
    }


def print_failure(failure: JsonObject, execution_id: str, *, out: bool = True) -> None:
    """Print one failure with its reason; that of a child says whose it is."""
    error = failure["error"]
    items = "".join(f"[{index}]" for index in failure["items"])
    own = failure["execution_id"] == execution_id
    whose = "" if own else f"in child execution {failure['execution_id']} of {failure['path']}: "
    tried = f", {attempt_of(error)}" if attempt_of(error) else ""
    lines = [f"{whose}{failure['step']}{items} failed{tried}: {heading(error.get('message'))}"]
    lines += [f"  {line}" for line in failure["lines"]]
    for line in lines:
        print(line) if out else note(line)


def print_waits(waits: list[JsonObject], execution_id: str) -> None:
    """Print what an execution waits for; what its children wait for stands below."""
    print("now:")
    for wait in waits:
        deeper = "  " if wait["execution_id"] != execution_id else ""
        whose = f"execution {wait['execution_id']}: " if deeper else ""
        print(f"  {deeper}{whose}{safe(wait_sentence(wait), sys.stdout)}")


def labels_text(labels: JsonObject) -> str:
    """Return labels as k=v, separated by commas."""
    return ",".join(f"{name}={cell(value)}" for name, value in labels.items())


def at(moment: str | None) -> str:
    """Return a time to the second."""
    return (moment or "")[:19].replace("T", " ")


def clock(moment: str | None) -> str:
    """Return a time of today without its date."""
    text = at(moment)
    return text[11:] if text[:10] == datetime.now(UTC).date().isoformat() else text


def took(shown: JsonObject) -> str:
    """Return how long an execution took, or nothing while it goes on."""
    begin, end = shown["started_at"], shown["finished_at"]
    return "" if end is None else seconds_text(seconds_between(begin, end))


def _step_took(step: JsonObject) -> str:
    """Return how long a step took, as the progress shows it, or nothing while it goes on."""
    begin, end = step["started_at"], step["ended_at"]
    if begin is not None and end is not None and lasts_beyond_attempts(step["type"], is_loop=step["items"] is not None):
        return seconds_text(seconds_between(begin, end))
    return seconds_text(step["duration"])

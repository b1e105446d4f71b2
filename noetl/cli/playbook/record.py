"""`noetl playbook test --record`: write a test from an execution, and see that it passes."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from noetl.cli.connection.client import Client, segment
from noetl.cli.connection.database_client import connect_to_read
from noetl.cli.json_object import JsonObject
from noetl.cli.playbook.verdict_report import print_verdict
from noetl.cli.terminal import note
from noetl.errors import Conflict, InputError
from noetl.settings import load_settings

if TYPE_CHECKING:
    from noetl.testing.recording import Recording
    from noetl.testing.suite import Verdict


def record_test(execution_id: str, output: str | None, host: str | None, port: int | None) -> None:
    """Write a test from an execution that has ended. Exit code 1: the test does not pass as it is."""
    if output is not None and Path(output).exists():
        raise InputError(f"{output} exists: name another file, and put the test where it belongs")
    recording = fetch(connect_to_read(load_settings(), host, port), execution_id)
    text, tested = first_that_passes(recording)
    if output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        _write(Path(output), text)
    if not tested.ok:
        note("the test does not pass as it is:")
        print_verdict(tested, verbose=False, stderr=True)
        raise typer.Exit(1)
    note(f"the test passes; put it into the playbook of {recording.playbook.path}, or beside it as NAME.test.yaml")


def fetch(client: Client, execution_id: str) -> "Recording":
    """Return an execution with its events and its playbook. Raises `Conflict` where it has not ended."""
    from noetl.playbook.load import stored_playbook
    from noetl.testing.recording import Recording, has_ended

    shown: JsonObject = client.get(f"/api/executions/{segment(execution_id)}")
    if not has_ended(shown):
        raise Conflict(f"execution {execution_id} is {shown['status']}: a test is written from one that has ended")
    events = [_whole(client, event) for event in client.items(f"/api/executions/{segment(execution_id)}/events")]
    path = "/".join(segment(part) for part in shown["path"].split("/"))
    content = client.get(f"/api/catalog/{path}", {"version": shown["version"]})["content"]
    return Recording(shown, events, stored_playbook(content, shown["path"]), content)


def _whole(client: Client, event: JsonObject) -> JsonObject:
    """Return an event with its result, also where the log has that by reference."""
    if event["result_ref"] is None:
        return event
    from noetl.testing.calls import item_of
    from noetl.words import step_of

    item = item_of(event["node_id"], event["item_index"])
    path = f"/api/executions/{segment(event['execution_id'])}/steps/{segment(step_of(event['node_id']))}"
    step = client.get(path, {"visit": event["visit"], "item": None if item is None else str(item)})
    return {**event, "result": step["result"]}


def first_that_passes(recording: "Recording") -> "tuple[str, Verdict]":
    """Return the plainest test that passes, and how it went; where none does, the plainest."""
    from noetl.playbook.testfile.load import load_tests
    from noetl.playbook.yaml.write import write_yaml
    from noetl.testing.python import PythonChild
    from noetl.testing.recording import DETAIL_VARIANTS
    from noetl.testing.suite import run_test
    from noetl.worker.runner.process import runner_environment

    verdicts = []
    with PythonChild(runner_environment(os.environ)) as python:
        for detail in DETAIL_VARIANTS:
            text = write_yaml(recording.document(detail))
            (test,) = load_tests(text, "the recorded test", recording.playbook)
            verdicts.append((text, run_test(recording.playbook, test, lambda path, named: None, python)))
            if verdicts[-1][1].ok:
                return verdicts[-1]
    return verdicts[0]


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}") from None

"""Following an execution to its end, across a server that goes away and comes back."""

import time
from collections.abc import Callable

from noetl.cli.connection.client import Client, segment
from noetl.cli.execute.output_reporter import OutputReporter
from noetl.cli.execute.progress import Progress
from noetl.cli.execute.wait_reporter import WaitReporter
from noetl.cli.json_object import JsonObject
from noetl.errors import Unreachable
from noetl.words import ExecutionStatus

RECONNECT_SECONDS = 60.0
"""Seconds during which a server that went away is looked for again."""

EXIT_CODES = {ExecutionStatus.COMPLETED: 0, ExecutionStatus.FAILED: 1, ExecutionStatus.CANCELLED: 1}


def exit_code(status: str) -> int:
    """Return the exit code of an execution that ended with this status."""
    return EXIT_CODES.get(ExecutionStatus(status), 1)


def follow(
    client: Client, execution_id: str, progress: Progress, reconnect: Callable[[], Client], *, prints: bool = False
) -> JsonObject:
    """Show the events of an execution until it has ended, and return it; with `prints` what its steps print, too.

    A server that goes away is looked for again. Raises `Unreachable` when it does not come back.
    """
    path = f"/api/executions/{segment(execution_id)}"
    output = OutputReporter(lambda after: client.get(f"{path}/output", {"after": after, "limit": 500}), progress.prints)
    waits = WaitReporter(lambda: reconnect().get(f"{path}/why", {"only": "waits"})["waits"], progress)
    after, lost = 0, None
    with waits:
        while True:
            try:
                for event in client.events(execution_id, after):
                    lost = None
                    after = int(event["event_id"])
                    if prints:
                        output.report_before(event)
                    progress.show(event)
                shown: JsonObject = client.get(path)
                if ExecutionStatus(shown["status"]).terminal and int(shown["last_event_id"]) <= after:
                    return shown
            except Unreachable as error:
                now = time.monotonic()
                if lost is None:
                    lost = now
                    progress.say(f"the server went away; execution {execution_id} goes on")
                if now - lost > RECONNECT_SECONDS:
                    raise Unreachable(f"{error}; noetl execute watch {execution_id} follows it again") from None
                time.sleep(0.5)
                client = _again(client, reconnect)


def _again(client: Client, reconnect: Callable[[], Client]) -> Client:
    """Return a client of wherever the server is now."""
    try:
        return reconnect()
    except Unreachable:
        return client

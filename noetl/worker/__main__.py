"""The command of a supervised worker process: `python -m noetl.worker`, started by the supervisor."""

import argparse
import os
import signal
import sys
import threading

from noetl.database.connection.connect import open_database
from noetl.database.schema.apply import require_schema
from noetl.errors import NoetlError
from noetl.logs import log_to_stderr
from noetl.process_memory import hide_environment
from noetl.settings import load_settings
from noetl.worker.pulse import Pulse, beat
from noetl.worker.run import run_worker
from noetl.worker.supervise import watch_channel


def main() -> int:
    """Work until SIGTERM, or until the supervisor is gone. Return the exit code."""
    hide_environment()
    parser = argparse.ArgumentParser(prog="noetl.worker")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--slots", type=int)
    parser.add_argument("--pool", action="append", default=[])
    options = parser.parse_args()
    log_to_stderr()
    os.set_inheritable(options.channel, False)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    ready = watch_channel(options.channel, stop)
    try:
        settings = load_settings()
        with open_database(settings, application="noetl worker") as database:
            require_schema(database)
        ready()
        pulse, ended = Pulse(), threading.Event()
        beating = beat(options.channel, pulse, ended)
        try:
            run_worker(
                settings, pools=tuple(options.pool) or settings.pools, slots=options.slots, stop=stop, pulse=pulse
            )
        finally:
            ended.set()
            beating.join()
    except NoetlError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

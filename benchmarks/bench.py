"""Measure what a durable step costs, beside the database's own limit, in one run.

    python -m benchmarks.bench [--executions N] [--json]

It starts an embedded Postgres of its own in a temporary folder, at default durability, and removes it at the end.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.fanout import fan_out
from benchmarks.templates import template_costs
from noetl.database.connection.connect import Database, open_admin, open_database
from noetl.database.connection.notify import notify
from noetl.database.embedded.programs import client_program
from noetl.database.embedded.server import EmbeddedServer
from noetl.database.schema.apply import apply_schema
from noetl.orchestrator.commands import Orchestrator
from noetl.orchestrator.start import StartRequest
from noetl.settings import Settings, load_settings

STEPS = 5
LIMIT_CLIENTS = (1, 2, 4, 16)
LIMIT_SECONDS = 5
WARM_UP = 60
FLUSHED = 1.5
"""Seconds within which every session has told its commits to the statistics."""

PLAYBOOK = "\n".join(
    [
        "apiVersion: noetl.io/v1",
        "kind: Playbook",
        "metadata: {name: five, path: bench/five}",
        "workflow:",
        *(
            f"  - step: s{number}\n    type: python\n    args: {{value: {value}}}\n    code: |\n"
            f"      def main(value):\n          return {{'value': value + 1}}\n    next: [{{step: {after}}}]"
            for number, value, after in [
                (1, "0", "s2"),
                *((n, f'"{{{{ s{n - 1}.value }}}}"', f"s{n + 1}") for n in range(2, STEPS)),
                (STEPS, f'"{{{{ s{STEPS - 1}.value }}}}"', "end"),
            ]
        ),
        "  - step: end",
        f'    result: {{value: "{{{{ s{STEPS}.value }}}}"}}',
        "",
    ]
)


@dataclass
class Bench:
    """What every measurement needs."""

    settings: Settings
    admin: Database
    database: Database
    orchestrator: Orchestrator
    executions: int
    items: int


def main() -> None:
    """Run all measurements and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=1000, help="executions of five steps (default 1000)")
    parser.add_argument("--items", type=int, default=10_000, help="items of a loop (default 10,000)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--only", nargs="*", default=[], help="only these measurements")
    options = parser.parse_args()
    measurements: dict[str, Callable[[Bench], dict[str, Any]]] = {
        "commit": commit_latency,
        "one_worker": lambda bench: throughput(bench, 1),
        "two_workers": lambda bench: throughput(bench, 2),
        "idle": idle_latency,
        "fan_out": fan_out_of,
        "limit": database_limit,
        "templates": lambda _: template_costs(),
    }
    results: dict[str, Any] = {}
    with server() as (settings, admin), open_database(settings) as database:
        bench = Bench(settings, admin, database, Orchestrator(database, settings), options.executions, options.items)
        bench.orchestrator.register(PLAYBOOK, filename="bench/five.yaml")
        chosen = {name: run for name, run in measurements.items() if not options.only or name in options.only}
        for _, run in track(chosen.items(), console=Console(stderr=True), transient=True):
            results |= run(bench)
    results |= ratios(results)
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        show(results)


@contextmanager
def server() -> Iterator[tuple[Settings, Database]]:
    """Start an embedded Postgres with the schema, in a folder of its own; stop and remove it at the end."""
    home = Path(tempfile.mkdtemp(prefix="noetl-bench-"))
    for name in [name for name in os.environ if name.startswith(("POSTGRES_", "NOETL_", "PG"))]:
        del os.environ[name]
    os.environ["NOETL_HOME"] = str(home)
    settings = load_settings()
    try:
        admin = open_admin(settings)
        apply_schema(admin, settings, ensure_role=True)
        yield settings, admin
    finally:
        engine = EmbeddedServer(settings.home)
        engine.stop()
        engine.remove()
        shutil.rmtree(home, ignore_errors=True)


def commit_latency(bench: Bench) -> dict[str, Any]:
    """Measure one small durable commit, alone."""
    with bench.admin.connect() as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS public.bench_commit (n bigint)")
        times = []
        for number in range(300):
            before = time.perf_counter()
            conn.execute("INSERT INTO public.bench_commit VALUES (%s)", [number])
            times.append(time.perf_counter() - before)
    return {"commit_ms": round(1000 * statistics.median(times[50:]), 3)}


@contextmanager
def workers(bench: Bench, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run worker processes; they are drained at the end."""
    code = (
        "import signal, threading; from noetl.settings import load_settings; "
        "from noetl.worker.run import run_worker; stop = threading.Event(); "
        "signal.signal(signal.SIGTERM, lambda *_: stop.set()); run_worker(load_settings(), stop=stop)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=60)


def throughput(bench: Bench, count: int) -> dict[str, Any]:
    """Measure sequential durable steps per second with so many worker processes.

    The executions are accepted before the clock starts and released at once; it stops when the last has finished.
    """
    prefix = "one" if count == 1 else "two"
    with workers(bench, count) as processes:
        run_some(bench, WARM_UP)
        with bench.admin.connect() as conn:
            conn.execute("SET search_path = noetl")
            first = start_paused(bench, conn)
            time.sleep(FLUSHED)
            before = usage(conn)
            started = release(conn, first)
            wait_until_done(conn, first)
            time.sleep(FLUSHED)
            after = usage(conn)
            row = conn.execute(
                "SELECT extract(epoch FROM max(finished_at) - %s)::float, count(*) FILTER (WHERE status <> 'completed')"
                " FROM execution WHERE execution_id >= %s",
                [started, first],
            ).fetchone()
            assert row is not None
            assert not row[1], f"{row[1]} executions did not complete"
        memory = sum(pss(pid) for process in processes for pid in family(process.pid))
    steps = bench.executions * STEPS
    return {
        f"{prefix}_steps_per_second": round(steps / row[0]),
        f"{prefix}_commits_per_step": round((after["commits"] - before["commits"]) / steps, 3),
        f"{prefix}_wal_bytes_per_step": round((after["wal"] - before["wal"]) / steps),
        f"{prefix}_pss_mib": round(memory / 1024),
    }


def fan_out_of(bench: Bench) -> dict[str, Any]:
    """Measure a loop with two worker processes, from the commit of its execution's start to that of its end."""

    @contextmanager
    def running(count: int) -> Iterator[list[int]]:
        with workers(bench, count) as processes:
            yield [process.pid for process in processes]

    def wait(execution: int) -> float:
        with bench.admin.connect() as conn:
            conn.execute("SET search_path = noetl")
            wait_until_done(conn, execution)
            query = "SELECT extract(epoch FROM finished_at - started_at)::float, status FROM execution"
            row = conn.execute(query + " WHERE execution_id = %s", [execution]).fetchone()
            assert row is not None
            assert row[1] == "completed", f"the loop {row[1]}"
        return float(row[0])

    def memory(pids: list[int]) -> int:
        return sum(pss(pid) for process in pids for pid in family(process))

    return fan_out(bench.orchestrator, running, wait, memory, bench.items)


def run_some(bench: Bench, count: int) -> None:
    """Warm up: runners are started, plans made, paces known."""
    ids = [bench.orchestrator.start(StartRequest("bench/five")).execution_id for _ in range(count)]
    with bench.admin.connect() as conn:
        conn.execute("SET search_path = noetl")
        wait_until_done(conn, min(ids))


def start_paused(bench: Bench, conn: Any) -> int:
    """Accept executions whose jobs nobody can claim yet; return the first one's id."""
    pool = "held"
    ids = [
        bench.orchestrator.start(StartRequest("bench/five", pool=pool)).execution_id for _ in range(bench.executions)
    ]
    conn.execute("VACUUM ANALYZE queue, execution, event_log, workload")
    return min(ids)


def release(conn: Any, first: int) -> Any:
    """Let the jobs be claimed, and return when that was."""
    row = conn.execute(
        "WITH e AS (UPDATE execution SET pool = 'default',"
        "                  state = jsonb_set(state::jsonb, '{pool}', '\"default\"')::json WHERE execution_id >= %s)"
        " UPDATE queue SET pool = 'default' WHERE execution_id >= %s RETURNING clock_timestamp()",
        [first, first],
    ).fetchone()
    notify(conn, "noetl")  # as whoever queues a job does
    return row[0]


def wait_until_done(conn: Any, first: int, seconds: float = 120) -> None:
    """Wait for every execution from `first` on."""
    until = time.monotonic() + seconds
    while conn.execute(
        "SELECT EXISTS (SELECT FROM execution WHERE execution_id >= %s AND finished_at IS NULL)", [first]
    ).fetchone()[0]:
        if time.monotonic() > until:
            raise SystemExit(f"the executions did not finish within {seconds:g} s")
        time.sleep(0.05)


def usage(conn: Any) -> dict[str, int]:
    """Return the commits of this database and the bytes of WAL so far."""
    conn.execute("SELECT pg_stat_clear_snapshot()")
    row = conn.execute(
        "SELECT xact_commit, pg_current_wal_lsn() - '0/0' FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    return {"commits": int(row[0]), "wal": int(row[1])}


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def pss(pid: int) -> int:
    """Return a process's proportional set size in KiB, 0 where it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def idle_latency(bench: Bench) -> dict[str, Any]:
    """Measure one execution of five steps on an idle system, from the call of `start` to its commit of the end."""
    times = []
    with workers(bench, 1):
        run_some(bench, WARM_UP)
        with bench.admin.connect() as conn:
            conn.execute("SET search_path = noetl")
            for _ in range(60):
                time.sleep(0.05)  # idle is what is measured
                before = time.perf_counter()
                started = bench.orchestrator.start(StartRequest("bench/five"))
                while not conn.execute(
                    "SELECT finished_at IS NOT NULL FROM execution WHERE execution_id = %s", [started.execution_id]
                ).fetchone()[0]:  # type: ignore[index]
                    time.sleep(0.0005)
                times.append(1000 * (time.perf_counter() - before))
    times = sorted(times[10:])
    return {"idle_p50_ms": round(statistics.median(times), 2), "idle_p95_ms": round(times[int(len(times) * 0.95)], 2)}


def database_limit(bench: Bench) -> dict[str, Any]:
    """Measure what Postgres does with the same rows and nobody asking questions: the best of several client counts."""
    best: dict[int, int] = {}
    for clients in LIMIT_CLIENTS:
        with bench.admin.connect() as conn:
            conn.execute("SET search_path = noetl")
            conn.execute("DELETE FROM queue")
            ids = [bench.orchestrator.start(StartRequest("bench/five")).execution_id for _ in range(clients * 200)]
            conn.execute("VACUUM ANALYZE queue, execution, event_log")
        assert ids
        output = subprocess.run(
            [
                client_program("pgbench"),
                "--no-vacuum",
                "--protocol=prepared",
                f"--client={clients}",
                f"--jobs={min(clients, 2)}",
                f"--time={LIMIT_SECONDS}",
                f"--file={Path(__file__).with_name('limit.sql')}",
                bench.admin.conninfo,
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        tps = next(float(line.split()[2]) for line in output.splitlines() if line.startswith("tps = "))
        best[clients] = round(tps * 100)
    return {"limit_steps_per_second": max(best.values()), "limit_by_clients": best}


def ratios(results: dict[str, Any]) -> dict[str, Any]:
    """Put the figures in relation to the database's own."""
    out: dict[str, Any] = {}
    limit, commit = results.get("limit_steps_per_second"), results.get("commit_ms")
    for prefix in ("one", "two"):
        steps = results.get(f"{prefix}_steps_per_second")
        if steps and limit:
            out[f"{prefix}_share_of_limit"] = round(steps / limit, 3)
    if commit and "idle_p50_ms" in results:
        out["idle_p50_less_six_commits_ms"] = round(results["idle_p50_ms"] - 6 * commit, 2)
    return out


GOALS = {
    "two_steps_per_second": (">=", 4000),
    "two_share_of_limit": (">=", 0.2),
    "items_per_second_at_100": (">=", 3000),
    "items_per_second_at_500": (">=", 3000),
    "idle_p50_less_six_commits_ms": ("<=", 12),
}


def show(results: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"NoETL on {os.cpu_count()} cores, client and Postgres sharing them")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("goal", justify="right")
    for name, value in results.items():
        goal = GOALS.get(name)
        table.add_row(name.replace("_", " "), str(value), f"{goal[0]} {goal[1]}" if goal else "")
    Console().print(table)


if __name__ == "__main__":
    main()

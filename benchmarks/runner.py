"""What a call costs between a worker and its runners: `python -m benchmarks.runner`.

Prints, for a step that does next to nothing: the worker's own processor time per call when calls come in batches,
calls per second, and the round trip of a lone call (median and 95th percentile).
"""

import statistics
import sys
import time
from collections.abc import Callable

from noetl.calls import Call
from noetl.worker.executor import Executor

CODE = "def main(a):\n    return {'b': a + 1}\n"
CALLS = 20_000
LONE = 2_000


def call(number: int) -> Call:
    """Return one small call."""
    return Call("python", f"1:step:{number}:-1", "bench#step", {"code": CODE}, {"a": number}, None, 1 << 20, {})


def run(executor: Executor, count: int) -> None:
    """Run that many calls, as many at once as the slots take."""
    submitted = ended = 0
    while ended < count:
        for _ in range(min(executor.free, count - submitted)):
            executor.submit(submitted, call(submitted))
            submitted += 1
        ended += len(executor.poll(1.0))


def measured(work: Callable[[], None]) -> tuple[float, float]:
    """Return seconds of wall clock and of this process's processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> int:
    """Measure and print."""
    executor = Executor(16)
    try:
        run(executor, 500)
        wall, cpu = measured(lambda: run(executor, CALLS))
        print(f"in batches  {cpu / CALLS * 1e6:6.1f} us of the worker per call, {CALLS / wall:8.0f} calls/s")
        trips = []
        for number in range(LONE):
            start = time.perf_counter()
            executor.submit(number, call(number))
            while not executor.poll(1.0):
                pass
            trips.append((time.perf_counter() - start) * 1e6)
        p95 = statistics.quantiles(trips, n=20)[-1]
        print(f"alone       {statistics.median(trips):6.1f} us round trip (p95 {p95:.1f})")
    finally:
        executor.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

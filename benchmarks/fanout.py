"""Measure a loop: the items per second of one execution with two worker processes, and what they remember of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from noetl.orchestrator.commands import Orchestrator
from noetl.orchestrator.start import StartRequest

PATH = "bench/each"
PLAYBOOK = f"""apiVersion: noetl.io/v1
kind: Playbook
metadata: {{name: each, path: {PATH}}}
workflow:
  - step: each
    type: python
    loop:
      in: "{{{{ range(workload.items) | list }}}}"
      iterator: number
      mode: async
      concurrency: "{{{{ workload.concurrency }}}}"
    code: |
      def main(number):
          return {{'value': number + 1}}
    next: [end]
  - step: end
    result: {{count: "{{{{ each.count }}}}", last: "{{{{ each[-1].value }}}}"}}
"""
CONCURRENCY = (100, 500)


def fan_out(
    orchestrator: Orchestrator,
    workers: Callable[[int], AbstractContextManager[list[int]]],
    wait: Callable[[int], float],
    memory: Callable[[list[int]], int],
    items: int,
) -> dict[str, Any]:
    """Run loops over so many items, one after the other. `workers` runs worker processes and gives their ids, `wait`
    returns the seconds that an execution took, `memory` the KiB of processes and their children."""
    orchestrator.register(PLAYBOOK, filename=PATH)
    results: dict[str, Any] = {}
    with workers(2) as pids:
        _run(orchestrator, wait, items // 10, 100)  # runners are started, paces known
        before = memory(pids)
        for concurrency in CONCURRENCY:
            seconds = _run(orchestrator, wait, items, concurrency)
            results[f"items_per_second_at_{concurrency}"] = round(items / seconds)
        results["items_pss_growth_mib"] = round((memory(pids) - before) / 1024)
    return results


def _run(orchestrator: Orchestrator, wait: Callable[[int], float], items: int, concurrency: int) -> float:
    payload = {"items": items, "concurrency": concurrency}
    return wait(orchestrator.start(StartRequest(PATH, payload=payload)).execution_id)

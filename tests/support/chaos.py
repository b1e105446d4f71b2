"""What tests run while things are being killed."""

from tests.support.working import Engine


def playbook(path: str, steps: str) -> str:
    return f"apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {{name: test, path: {path}}}\nworkflow:\n{steps}"


FORK = playbook(
    "fork",
    """
  - step: start
    next: [{step: left, args: {n: 1}}, {step: right, args: {n: 10}}]
  - {step: left, type: python, code: "def main(n):\\n  import time; time.sleep(0.02); return n + 1", next: [left2]}
  - {step: left2, type: python, args: {n: "{{ left }}"}, code: "def main(n): return n + 1", next: [join]}
  - {step: right, type: python, code: "def main(n):\\n  import time; time.sleep(0.01); return n + 1", next: [join]}
  - {step: join, type: python, args: {a: "{{ left2 }}", b: "{{ right }}"}, code: "def main(a, b): return a + b",
     next: [end]}
  - {step: end, result: "{{ join }}"}
""",
)
"""Two branches that join; its result is 14."""

CHILD = playbook(
    "child",
    """
  - {step: start, type: python, args: {n: "{{ workload.n }}"}, code: "def main(n): return n * 2", next: [end]}
  - {step: end, result: "{{ start }}"}
""",
)

SLEEPER = playbook("sleeper", "  - {step: start, type: wait, for: 1h, next: [end]}\n  - {step: end}\n")

PARENT = playbook(
    "parent",
    """
  - {step: start, next: [a, b, w]}
  - {step: a, type: playbook, path: child, args: {n: 1}, next: [join]}
  - {step: b, type: playbook, path: child, args: {n: 5}, next: [join]}
  - {step: w, type: wait, for: 100ms, next: [join]}
  - {step: join, type: python, args: {a: "{{ a }}", b: "{{ b }}"}, code: "def main(a, b): return a + b", next: [end]}
  - {step: end, result: "{{ join }}"}
""",
)
"""Two children and a timer; its result is 12."""

RETRIED = playbook(
    "retried",
    """
  - step: start
    type: python
    retry: {max_attempts: 50, initial_delay: 20ms, max_delay: 50ms}
    code: |
      import random
      def main():
          if random.random() < 0.5:
              raise ValueError("another time")
          return 3
    next: [a, b]
  - {step: a, type: python, code: "def main(): return 1", next: [end]}
  - {step: b, type: python, code: "def main(): raise ValueError('no')", on_error: [h], next: [end]}
  - {step: h, type: python, args: {kind: "{{ error.type }}"}, code: "def main(kind): return kind", next: [end]}
  - {step: end, result: ["{{ start }}", "{{ a }}", "{{ h }}"]}
""",
)
"""Attempts that fail, and a failure that is handled; its result is [3, 1, "python"]."""

FAILING = playbook(
    "failing",
    """
  - {step: start, next: [x, y, z, k]}
  - {step: x, type: python, code: "def main():\\n  import time; time.sleep(0.03); raise ValueError('x')", next: [end]}
  - {step: y, type: wait, for: 1h, next: [end]}
  - {step: z, type: playbook, path: sleeper, next: [end]}
  - {step: k, type: python, code: "def main(): return 1", next: [k2]}
  - {step: k2, type: python, code: "def main(): return 1", next: [end]}
  - step: end
finally:
  - {step: tidy, type: python, code: "def main(): return 'tidy'"}
""",
)
"""It fails while it waits, has a child, and runs; what it began is withdrawn."""

STUCK = playbook(
    "stuck",
    """
  - {step: start, next: [p, q]}
  - {step: p, type: python, code: "def main():\\n  import time; time.sleep(600)", next: [end]}
  - {step: q, type: playbook, path: sleeper, next: [end]}
  - step: end
""",
)
"""It ends only when it is cancelled, and its child with it."""


def living(engine: Engine) -> int:
    return int(engine.one("SELECT count(*) FROM execution WHERE finished_at IS NULL"))

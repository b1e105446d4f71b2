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


def living(engine: Engine) -> int:
    return int(engine.one("SELECT count(*) FROM execution WHERE finished_at IS NULL"))

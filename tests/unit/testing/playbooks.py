"""Playbooks under test that several files share."""

ASK = """
- step: start
  type: http
  endpoint: http://127.0.0.1:1/
  next: end
- step: end
  result: "{{ start }}"
"""

CHILD = """
workload: {name: nobody}
workflow:
  - step: start
    type: http
    endpoint: http://127.0.0.1:1/
    next: end
  - step: end
    result: {name: "{{ workload.name }}", got: "{{ start }}"}
"""

"""What evaluating somebody's text raises fails that step or refuses that start; it quarantines no execution."""

from collections.abc import Iterator
from typing import Any

import pytest

from noetl.database.connection.connect import Database
from noetl.errors import InputError
from noetl.settings import Settings
from tests.support.playbooks import Lab
from tests.support.working import working

FOR = "{% for a in [1] %}" * 25 + "{% endfor %}" * 25
IF = "{% if 1 %}" * 110 + "{% endif %}" * 110
TWINS = (
    "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}"
    "{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}"
)
HOSTILE = {
    "assertion": "{{ 'abcdef' | truncate(2) }}",
    "infinity": "{{ 1e400 }}",
    "for": FOR,
    "if": IF,
    "terms": "{{ " + " + ".join(["1"] * 250) + " }}",
    "twins": TWINS + "{{ ns.a == ns.b }}",
    "wide": "{{ '%(a)1000s' * 3000000 % {'a': 1} }}",
    "now": "{{ now('%999d' * 1000000) }}",
}
AFTER = """\
  on_error: [{step: handled, args: {type: "{{ error.type }}", message: "{{ error.message }}"}}]
- {step: handled, type: python, args: {}, code: "def main(type, message): return [type, message]"}
finally:
- {step: tidy, type: python, code: "def main(): return 1"}
"""


@pytest.fixture
def lab(database: Database, settings: Settings) -> Iterator[Lab]:
    with working(settings, slots=4):
        yield Lab(database, settings)


def handled(lab: Lab, step: str, payload: Any = None) -> list[Any]:
    """Run a step that fails; its handler and `finally` run, nothing is quarantined. Return type and message."""
    ended = lab.run(f"{step.rstrip()}\n{AFTER}", payload=payload or {})
    assert (ended.status, ended.visits("handled"), ended.visits("tidy")) == ("completed", 1, 1), ended
    assert lab.rows("SELECT 1 FROM error_log WHERE error_type = 'quarantined'") == []
    assert isinstance(ended.result, list)
    return ended.result


def test_a_steps_args_fields_and_save(lab: Lab) -> None:
    code = 'code: "def main(**given): return 1"'
    for text in HOSTILE.values():
        for step in (
            f'- step: start\n  type: python\n  {code}\n  args: {{x: "{text}"}}',
            f'- step: start\n  type: shell\n  command: ["echo", "{text}"]',
            f'- step: start\n  type: python\n  {code}\n  save: {{storage: file, path: "{text}", data: 1}}',
        ):
            assert handled(lab, step)[0] in ("template", "validation")


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ('type: wait\n  until: "{{ workload.at }}"', "no timestamp"),
        ('type: wait\n  for: "{{ workload.n }}"', "hundred years"),
        ('type: playbook\n  path: child\n  version: "{{ workload.version }}"', "no version"),
        ('type: playbook\n  path: child\n  version: "{{ workload.digits }}"', "no version"),
        ('type: python\n  timeout: "{{ workload.digits }}"\n  code: "def main(): return 1"', "not a duration"),
        (
            'type: python\n  loop: {in: "{{ workload.mixed }}", order_by: "{{ item }}"}\n  code: "def main(): 1"',
            "order",
        ),
        ('type: python\n  loop: {in: [1], where: "{{ 1e400 - item }}"}\n  code: "def main(): 1"', "inf"),
        ('type: python\n  loop: {in: "{{ [1] | batch(0) }}"}\n  code: "def main(): 1"', "batch"),
    ],
)
def test_what_is_made_of_a_value(lab: Lab, step: str, told: str) -> None:
    """Times, versions, timeouts, orders: whatever the value of a template turns out to be."""
    payload = {
        "at": "0001-01-01T00:00:00+01:00",
        "n": 1e300,
        "version": "²",
        "digits": "9" * 5000,
        "mixed": [1, "a", None, {"b": [1]}],
    }
    found = handled(lab, f"- step: start\n  {step}", payload)
    assert found[0] in ("template", "validation")
    assert told in found[1]
    assert len(found[1]) < 2000


def test_conditions_of_a_way_and_of_retry(lab: Lab) -> None:
    code = 'type: python\n  code: "def main(): return 1"'
    ended = lab.run(
        f"- step: start\n  {code}\n  next: [{{when: \"{{{{ 'ab' | truncate(1) }}}}\", then: [end]}}]\n- step: end"
    )
    assert ended.status == "failed"
    assert "truncate" in ended.error["message"]
    ended = lab.run(f'- step: start\n  {code}\n  retry: {{max_attempts: 2, until: "{{{{ 1e400 - 1 }}}}"}}')
    assert ended.status == "failed", "the result is not what retry waits for as long as nobody can say so"
    assert "inf" in ended.error["message"]
    assert lab.rows("SELECT 1 FROM error_log WHERE error_type = 'quarantined'") == []


@pytest.mark.parametrize("name", HOSTILE)
def test_a_start_is_refused(lab: Lab, name: str) -> None:
    path = lab.put(f'workload: {{x: "{HOSTILE[name]}"}}\nworkflow: [{{step: start, type: wait, for: 0}}]')
    with pytest.raises(InputError):
        lab.start(path)


def test_a_childs_workload_fails_its_parents_step(lab: Lab) -> None:
    child = lab.put('workload: {x: "{{ 1e400 }}"}\nworkflow: [{step: start, type: wait, for: 0}]')
    assert "inf" in handled(lab, f"- step: start\n  type: playbook\n  path: {child}")[1]

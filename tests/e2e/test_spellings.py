"""Playbooks in older spellings run as those of today, and the rulings on hard texts hold at run time."""

from base64 import b64encode
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from noetl.errors import PlaybookError
from tests.support.playbooks import Lab
from tests.support.stub import Answers, serving

PLAYBOOKS = Path(__file__).parents[1] / "playbooks"
SPELLINGS = ("first", "second", "third", "today")


# ---- whole playbooks -------------------------------------------------------------------------------------------------


class Exports:
    """A service that is down at first, and whose export is ready for the third who asks."""

    def __init__(self) -> None:
        self.ordered = self.polled = 0

    def order(self, asked: dict[str, Any]) -> Any:
        self.ordered += 1
        return (503, {"why": "down"}) if self.ordered < 2 else (202, {"id": 7})

    def poll(self, asked: dict[str, Any]) -> Any:
        self.polled += 1
        lines = [{"price": 1.25}, {"price": 2.5}]
        return {"state": "ready", "lines": lines} if self.polled > 2 else {"state": "running"}

    @property
    def answers(self) -> Answers:
        return {"/exports": self.order, "/exports/7": self.poll}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_orders_are_polled_until_they_are_there(lab: Lab, spelling: str) -> None:
    """Retry by the status, repeats by the result, a workbook, a child playbook."""
    lab.register((PLAYBOOKS / "orders/convert.yaml").read_text())
    path = lab.register((PLAYBOOKS / f"orders/{spelling}.yaml").read_text())
    exports = Exports()
    with serving(exports.answers) as stub:
        ended = lab.end(lab.start(path, payload={"base_url": stub.url, "token": "who-may"}))
        assert {asked["headers"].get("authorization") for asked in stub.asked} == {"Bearer who-may"}
    assert ended.status == "completed", ended.error
    assert ended.result == {"customer": "007", "text": "3.75 EUR"}
    assert (exports.ordered, exports.polled) == (2, 3)
    told = [row["error"]["type"] for row in lab.facts(ended.execution_id, "error", "event_type = 'attempt_failed'")]
    assert told == ["http", "unsatisfied", "unsatisfied"]


def test_orders_that_never_come_fail_by_name(lab: Lab) -> None:
    lab.register((PLAYBOOKS / "orders/convert.yaml").read_text())
    path = lab.register((PLAYBOOKS / "orders/second.yaml").read_text())
    with serving({"/exports": lambda _: {"id": 7}, "/exports/7": lambda _: {"state": "running"}}) as stub:
        ended = lab.end(lab.start(path, payload={"base_url": stub.url}))
        assert [asked["path"] for asked in stub.asked].count("/exports/7") == 10
    assert ended.status == "failed"
    assert ended.error["message"].startswith("no export: the attempt succeeded, but its result is not the one")


MEASURED = {"north": 1.5, "east": 2.25, "south": -1}


def _measured(name: str, asked: dict[str, Any]) -> Any:
    return {"value": MEASURED[name]}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_measurements_go_into_a_table_and_are_added_up(lab: Lab, spelling: str) -> None:
    """Logins by `db_host ...` and by `auth`, SQL in Base64, a save per item, upserts by key."""
    path = lab.register((PLAYBOOKS / f"etl/{spelling}.yaml").read_text())
    login = conninfo_to_dict(lab.settings.database_url or "")
    db = {name: login.get(name) for name in ("host", "user")} | {"name": login["dbname"], "password": "none"}
    with serving({f"/stations/{name}": partial(_measured, name) for name in MEASURED}) as stub:
        ended = lab.end(lab.start(path, payload={"base_url": stub.url, "db": {"port": 5432, **db}}))
    assert ended.status == "completed", ended.error
    assert ended.result == {"count": 2, "total": 3.75}


FORECASTS = {"51.51": [18, 31], "48.85": [25, 26], "52.52": [27, 12]}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_weather_of_each_city_is_fetched_and_judged(lab: Lab, spelling: str) -> None:
    """Loops over workbook tasks, over a transition's argument and over results; one city answers at the second try."""
    path = lab.register((PLAYBOOKS / f"weather/{spelling}.yaml").read_text())
    tired = iter([429])

    def forecast(asked: dict[str, Any]) -> Any:
        latitude = dict(asked["query"])["latitude"]
        if latitude == "48.85" and next(tired, None):
            return 429, {}
        return {"hourly": {"temperature": FORECASTS[latitude]}}

    with serving({"/forecast": forecast, "/alerts": lambda _: {"accepted": True}}) as stub:
        ended = lab.end(lab.start(path, payload={"base_url": stub.url}))
        alerts = [asked["body"] for asked in stub.asked if asked["path"] == "/alerts"]
    assert ended.status == "completed", ended.error
    assert ended.result == {"hot": ["London", "Berlin"], "alerted": True}
    assert alerts == ['{"cities":["London","Berlin"],"text":"hot: London, Berlin"}']
    assert ended.events.count("attempt_failed forecasts") == 1
    off = lab.end(lab.start(path, payload={"state": "asleep"}))
    assert off.result == {"hot": [], "alerted": False}


# ---- single spellings ------------------------------------------------------------------------------------------------


def test_each_word_for_args_gives_main_its_arguments(lab: Lab) -> None:
    """On steps, tasks and transitions; the transition's come first, then the step's, then the task's."""
    code = b64encode(b"def main(a, b, c, d):\n    return [a, b, c, d]\n").decode()
    ended = lab.run(
        f"""
        workbook:
        - {{name: tell, type: python, input: {{a: task, b: task, c: task, d: task}}, code_b64: {code}}}
        steps:
        - {{name: start, next: {{step: one, with: {{a: 1}}}}}}
        - {{name: one, type: workbook, task: tell, data: {{a: step, b: "{{{{ a + 1 }}}}"}},
            next: [{{condition: "{{{{ one[0] == 1 }}}}", then: [{{step: two, payload: {{a: 5}}}}]}}, {{else: end}}]}}
        - {{step: two, type: workbook, name: tell, params: {{c: "{{{{ one }}}}"}}, next: end}}
        - {{step: end, with: {{last: "{{{{ two }}}}"}}, result: "{{{{ last }}}}"}}
        """
    )
    assert ended.result == [5, "task", [1, 2, "task", "task"], "task"], ended.error


def test_http_keeps_its_fields_and_has_args(lab: Lab) -> None:
    with serving() as stub:
        ended = lab.run(
            f"""
            - {{step: start, type: http, method: POST, url: "{stub.url}/{{{{ where }}}}", with: {{where: here}},
               params: {{q: "{{{{ where }}}}"}}, payload: {{p: 1}}}}
            """
        )
    data = ended.result["data"]
    assert (data["path"], data["query"], data["body"]) == ("/here", [["q", "here"]], '{"p":1}')


def test_a_shell_command_in_base64_is_a_template(lab: Lab) -> None:
    command = b64encode(b"printf %s '{{ word }}'").decode()
    ended = lab.run(f"- {{step: start, type: shell, command_b64: {command}, params: {{word: hello}}}}")
    assert ended.result["stdout"] == "hello"


def test_a_retry_of_older_form_looks_at_status_result_and_error(lab: Lab) -> None:
    answers = iter([(500, {}), (429, {"again": True}), (200, {"again": True}), (200, {"again": False})])
    with serving({"/x": lambda _: next(answers)}) as stub:
        ended = lab.run(
            f"""
            - step: start
              type: http
              url: {stub.url}/x
              retry: {{max_attempts: 9, initial_delay: 0.01, backoff_multiplier: 1.0, jitter: false,
                       retry_when: "{{{{ (error != None and status_code >= 500) or data.again }}}}"}}
            """
        )
    assert ended.result["data"] == {"again": False}, ended.error
    assert ended.events.count("attempt_failed start") == 3


def test_an_iterator_hands_python_its_elements(lab: Lab) -> None:
    """By the element's name, as `value`, with `chunk` as `batch`; nested ones are loops in one another."""
    lab.put("workflow: [{step: start, result: 'A {{ x }}'}]", "spelled/a")
    lab.put("workflow: [{step: start, result: 'B {{ x }}'}]", "spelled/b")
    ended = lab.run(
        """
        workload: {groups: [{n: 1, of: [1, 2, 3]}, {n: 2, of: [4]}]}
        workflow:
        - step: start
          type: iterator
          collection: "{{ workload.groups }}"
          element: group
          where: "{{ group.n > 0 }}"
          order_by: "{{ -group.n }}"
          task:
            type: iterator
            collection: "{{ group.of }}"
            element: number
            task: {name: tell, type: python, data: {n: "{{ group.n }}"},
                   code: "def main(value, number, n): return [n, value, number]"}
          next: chunks
        - step: chunks
          type: iterator
          collection: [1, 2, 3]
          chunk: 2
          mode: async
          task: {type: python, code: "def main(batch, value): return sum(batch) + len(value)"}
          next: children
        - {step: children, type: iterator, collection: [a, b], element: it, next: end,
           task: {type: playbooks, playbook_path: "spelled/{{ it }}.yaml", payload: {x: "{{ it }}"}}}
        - {step: end, result: {nested: "{{ start.results }}", chunks: "{{ chunks }}", children: "{{ children.data }}"}}
        """
    )
    assert ended.result == {
        "nested": [[[2, 4, 4]], [[1, 1, 1], [1, 2, 2], [1, 3, 3]]],
        "chunks": [5, 4],
        "children": ["A a", "B b"],
    }, ended.error


def test_the_catalog_keeps_the_canonical_spelling(lab: Lab) -> None:
    """Path and name of the document, steps and edges in rows."""
    version = lab.orchestrator.register(
        'name: A name\npath: spelled/before\nsteps:\n- {name: start, next: [{condition: "{{ true }}", step: e, '
        "with: {a: 1}}]}\n- {step: e}\n",
        filename="f.yaml",
    )
    assert version.path == "spelled/before"
    edge = lab.rows("SELECT condition, args FROM transition ORDER BY catalog_id DESC, edge LIMIT 1")[0]
    assert edge == ("{{ true }}", {"a": 1})


# ---- rulings ---------------------------------------------------------------------------------------------------------


def test_extra_arguments_are_dropped_and_missing_ones_are_an_error(lab: Lab) -> None:
    body = """
        - {step: start, next: {step: judge, with: {city: London, temperature: 20, max_temp: 25}}}
        - {step: judge, type: python, code: "def main(city, temperature): return [city, temperature]"}
        """
    assert lab.run(body).result == ["London", 20]
    with pytest.raises(PlaybookError, match="missing-argument: main of step 'judge' takes 'temperature'"):
        lab.put(body.replace("temperature: 20, ", ""))
    # Where the args come by a template, nobody can see it beforehand.
    hidden = "with: \"{{ {'city': 'London'} }}\""
    missing = lab.run(body.replace("with: {city: London, temperature: 20, max_temp: 25}", hidden))
    assert missing.status == "failed"
    assert "main() needs 'temperature'" in missing.error["message"]


def test_three_levels_that_each_say_x_is_x_pass_it_through(lab: Lab) -> None:
    ended = lab.run(
        """
        workload: {x: "007"}
        workbook:
        - {name: t, type: python, with: {x: "{{ x }}"}, code: "def main(x): return x"}
        workflow:
        - {step: start, next: {step: s, with: {x: "{{ x }}"}}}
        - {step: s, type: workbook, name: t, with: {x: "{{ x }}"}}
        """
    )
    assert ended.result == "007"


def test_a_dict_that_says_error_is_data(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, type: python, retry: {max_attempts: 3, retry_when: "{{ not success }}"},
           code: "def main(): return {'status': 'error', 'success': False}", next: end}
        - {step: end, result: "{{ start.status }}"}
        """
    )
    assert (ended.status, ended.result) == ("completed", "error")
    assert "attempt_failed start" not in ended.events


def test_a_result_is_addressed_by_the_name_of_its_workbook_step(lab: Lab) -> None:
    body = """
        workbook:
        - {name: sum_up, type: python, code: "def main(): return {'summary': 3}"}
        workflow:
        - {step: start, next: [{when: "{{ workload.on }}", then: [aggregate]}, {else: end}]}
        - {step: aggregate, type: workbook, name: sum_up, next: end}
        - {step: end, result: "{{ aggregate.summary | default({'none': true}) }}"}
        workload: {on: true}
        """
    assert lab.run(body).result == 3
    assert lab.run(body.replace("on: true", "on: false")).result == {"none": True}


def test_a_loop_runs_over_a_transitions_argument_and_knows_its_result_index(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, next: [{step: fetch, with: {cities: [London, Paris]}}]}
        - step: fetch
          type: iterator
          collection: "{{ cities }}"
          element: city
          task: {type: python, with: {at: "{{ fetch.result_index }}"}, code: "def main(city, at): return [city, at]"}
        """
    )
    assert ended.result == [["London", 0], ["Paris", 1]], ended.error


def test_python_that_names_context_reads_results_of_other_steps(lab: Lab) -> None:
    ended = lab.run(
        """
        - {step: start, type: python, code: "def main(): return {'a': 1}", next: look}
        - step: look
          type: python
          code: |
            def main():
                return [context.get('start', {}).get('data'), context.get('nobody', {}).get('data')]
        """
    )
    assert ended.result == [{"a": 1}, None], ended.error


# ---- the end of 2025 -------------------------------------------------------------------------------------------------

LATE_2025 = """
version: "1.0"
workload:
  customer: O'Hara
  password: "{{ env.POSTGRES_PASSWORD | default('none') }}"
workbook:
- name: keep
  tool: postgres
  auth: {type: postgres, host: "{{ db_host }}", user: "{{ db_user }}", database: "{{ db_name }}", password: "{{ pw }}"}
  with: {pw: "{{ workload.password }}", text: "{{ nobody.gives_this }}"}
  commands: |
    CREATE TEMP TABLE kept (j jsonb);
    INSERT INTO kept VALUES ('{{ [workload.customer, start.n] | tojson }}');
    SELECT j->>0 AS customer, j->>1 AS n, '{{ text }}' AS text FROM kept;
workflow:
- step: start
  name: The beginning
  tool: python
  assert: {returns: [status]}
  code: |
    def main(context):
        n = len(json.dumps([str(uuid.UUID(int=1))]))
        return {"status": "success", "data": {"n": n, "run": context["execution_id"]}}
  next: count
- step: count
  tool: python
  loop: {collection: [a, b, c], element: letter, filter: "{{ letter != 'b' }}"}
  args: {at: "{{ _loop.current_index }}"}
  code: "def main(letter, at): return letter + str(at)"
  next: [{step: store, with: {text: given}}]
- step: store
  tool: workbook
  task: keep
  with: {db_host: "{{ workload.host }}", db_user: "{{ workload.user }}", db_name: "{{ workload.dbname }}"}
  next: end
- step: end
  result: {rows: "{{ store.command_2.rows }}", counted: "{{ count.result }}", same: "{{ start.run == execution_id }}"}
  save: {storage: event}
"""


def test_a_playbook_of_the_end_of_2025_runs(lab: Lab) -> None:
    """`tool` for `type`, what nothing reads, logins fed by arguments, envelopes, globals, a save at the end."""
    login = conninfo_to_dict(lab.settings.database_url or "")
    given = {name: login[name] for name in ("host", "user", "dbname")}
    names = "".join(f"  {name}: ''\n" for name in given)
    path = lab.put(LATE_2025.replace("workload:\n", f"workload:\n{names}", 1))
    ended = lab.end(lab.start(path, payload=given))
    assert ended.status == "completed", ended.error
    assert ended.result == {
        "rows": [{"customer": "O'Hara", "n": "40", "text": "given"}],
        "counted": ["a0", "c1"],
        "same": True,
    }
    (saved,) = lab.facts(ended.execution_id, "result", "event_type = 'step_completed' AND node_id = 'end'")
    assert saved["result"]["saved"] == "event_log"

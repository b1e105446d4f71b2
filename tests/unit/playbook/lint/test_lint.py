"""The further checks: where they point to, what guards a name, what is known of results, what SQL is taken for."""

import importlib
import inspect
import re
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from noetl.errors import PlaybookError
from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.result_shapes import returned
from noetl.playbook.lint.run import CHECKS
from noetl.playbook.lint.sql import look_at
from noetl.playbook.lint.template_reads import reads_of
from noetl.playbook.load import lint, load_playbook, stored_playbook
from noetl.playbook.yaml.positions import place_in
from noetl.playbook.yaml.tree import read
from tests.lint.corpus import cases

ROOT = Path(__file__).resolve().parents[4]
HEAD = "metadata: {path: p}\nworkload: {limit: 1, city: Oslo}\n"


def findings(body: str, credentials: tuple[str, ...] | None = None) -> list[str]:
    return [str(problem).removeprefix("f.yaml:") for problem in lint(HEAD + body, "f.yaml", credentials)]


def test_what_was_registered_is_loaded_without_the_further_checks() -> None:
    """They may have become stricter since; registration refuses what they call an error."""
    text = HEAD + "workflow: [{step: start, args: {x: '{{ limti }}'}}]\n"
    with pytest.raises(PlaybookError, match="unknown-name"):
        load_playbook(text, "f.yaml")
    assert stored_playbook(text, "f.yaml").path == "p"
    with pytest.raises(PlaybookError, match="dangling"):
        stored_playbook(HEAD + "workflow: [{step: start, next: nowhere}]\n", "f.yaml")


# ---- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        '"{{ nobody }}"',
        "'{{ nobody }}'",
        '"a \\" b {{ nobody }}"',
        "'it''s {{ limit }} {{ nobody }}'",
        '&anchor "{{ nobody }}"',
        '"\\u00e9 {{ nobody }}"',
        "a {{ limit }}\n    b {{ nobody }}",
        "|\n    first {{ limit }}\n    second {{ nobody }}",
        ">\n    folded {{ limit }}\n    and so on {{ nobody }}",
        "|\n    {{ limit }}\n    {%- if limit -%}\n      {{ city }} {{ nobody }}\n    {%- endif %}",
        "[1, '{{ limit }}', {x: '{{ [nobody, 1] }}'}]",
    ],
)
def test_a_name_is_reported_where_it_stands(value: str) -> None:
    """In every style of YAML: not the value's place, the name's."""
    text = HEAD + f"workflow:\n- step: start\n  result: {value}\n"
    (found,) = lint(text, "f.yaml")
    assert found.code == "unknown-name"
    assert text.splitlines()[found.line - 1][found.column - 1 :].startswith("nobody")


def test_a_token_that_is_not_to_be_found_has_the_place_of_its_value() -> None:
    """As in text that another spelling has decoded."""
    root, _ = read("a: Zm9v", "f")
    assert root is not None
    node = root.value["a"]
    node.value = "decoded {{ name }}"
    assert place_in(["a: Zm9v"], node, 11, "name") == (1, 4)


# ---- names -----------------------------------------------------------------------------------------------------------

STEPS = (
    "workflow:\n- {step: start, next: [{when: '{{ limit }}', then: a}, {else: end}]}\n"
    "- {step: a, type: http, endpoint: x, next: end}\n"
)


@pytest.mark.parametrize(
    "template",
    [
        "{{ a.data | default(0) }}",
        "{{ a.data.b.c | d(0) }}",
        "{{ a is defined }}",
        "{{ 1 if a is undefined else a.data }}",
        "{{ a.data if limit else 0 }}",
        "{{ limit and a.data }}",
        "{% if limit %}{{ a.data }}{% endif %}",
        "{% for x in [1] %}{{ a.data }}{% endfor %}",
        "{{ results.get('a') }}",
        "{{ results.a.data | default(0) }}",
        "{{ 'a' in results and results['a'].data }}",
        "{{ (a | default({})).data }}",
        "{% set a = 1 %}{{ a }}",
    ],
)
def test_what_excuses_a_name_that_is_not_always_there(template: str) -> None:
    assert findings(STEPS + f'- {{step: end, result: "{template}"}}\n') == []


@pytest.mark.parametrize(
    "template",
    ["{{ a.data }}", "{{ results.a.data }}", "{{ results['a'].data }}", "{{ 1 if a.data else 2 }}", "x {{ a.url }}"],
)
def test_what_does_not(template: str) -> None:
    (found,) = findings(STEPS + f'- {{step: end, result: "{template}"}}\n')
    assert "warning: uncertain-name: result of step 'end': 'a' has not run on every way" in found


@pytest.mark.parametrize(
    "template",
    [
        "{{ limit | default(nobody) }}",
        "{{ limit | default(default_value=nobody) }}",
        "{{ nobody | default(nobody) }}",
        "{{ limit | d(nobody.x, true) }}",
        "{{ limit | default(city | default(nobody)) }}",
    ],
)
def test_a_default_guards_what_it_follows_and_not_what_it_gives(template: str) -> None:
    (found,) = findings(f'workflow: [{{step: start, args: {{x: "{template}"}}}}]\n')
    assert "unknown-name: args of step 'start' reads 'nobody'" in found


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (
            "workflow: [{step: start, args: {x: '{{ limti }}'}}]\n",
            ["3:40: error: unknown-name: args of step 'start' reads 'limti' (did you mean 'limit'?)"],
        ),
        (
            "workflow: [{step: start, args: {x: '{{ workload.limti }}'}}]\n",
            [
                "3:49: warning: unknown-field: args of step 'start': 'workload' has no field 'limti'"
                " (did you mean 'limit'?)"
            ],
        ),
        (
            "workflow: [{step: start, next: b}, {step: b, args: {x: '{{ start.y }}', z: '{{ c }}'}, next: c},"
            " {step: c}]\n",
            ["3:80: error: unknown-name: args of step 'b' reads 'c', a step that does not come before"],
        ),
        (
            "workflow: [{step: start, type: http, endpoint: 'x/{{ start.data }}'}]\n",
            ["3:54: error: unknown-name: endpoint of step 'start' reads its own result, which is not there yet"],
        ),
        (
            "workflow: [{step: start, args: {x: '{{ error.message }}'}}]\n",
            [
                "3:40: error: unknown-name: args of step 'start' reads 'error', but no failure leads here:"
                " only steps behind 'on_error' have it"
            ],
        ),
        (
            "workflow: [{step: start, args: {x: '{{ env.DB_PASSWORD }}'}}]\n",
            [
                "3:44: error: secret: env.DB_PASSWORD is named like a secret: use secret('env:DB_PASSWORD') in a"
                " field of a tool"
            ],
        ),
        (
            "workflow:\n- {step: start, type: python, code: 'def main(): pass', args: {x: 1},\n"
            "   next: {step: b, args: {y: '{{ x }}'}}}\n- {step: b}\n",
            ["5:34: warning: unknown-name: next.args of step 'start' reads 'x': no step, argument or workload key"],
        ),
        (
            "workflow:\n- {step: start, type: http, args: {rows: [1]}, endpoint: x,"
            " loop: {in: '{{ rows }}', iterator: r}}\n",
            ["4:76: warning: unknown-name: loop.in of step 'start' reads 'rows'"],
        ),
        (
            "workflow: [{step: start, type: http, endpoint: x, loop: {in: [1], iterator: r, order_by: r}}]\n",
            ["3:90: error: value: order_by in loop of step 'start' is the same for every item"],
        ),
        (
            "workflow:\n- {step: start, type: http, endpoint: x, loop: {in: [1], iterator: r},"
            " save: {data: '{{ r }}'}}\n",
            ["4:89: error: unknown-name: save of step 'start' reads 'r': it is a loop's iterator"],
        ),
    ],
)
def test_what_is_said_of_names(body: str, messages: list[str]) -> None:
    found = findings(body)
    assert len(found) == len(messages)
    for line, message in zip(found, messages, strict=True):
        assert line.startswith(message)


def test_a_task_is_looked_at_where_it_is_used_and_told_once() -> None:
    """Its names are those of the steps that use it."""
    body = (
        "workbook: [{name: t, type: http, endpoint: '{{ who }}'}]\n"
        "workflow:\n- {step: start, next: [{step: a, args: {who: x}}, b, c]}\n"
        "- {step: a, type: workbook, task: t}\n- {step: b, type: workbook, task: t}\n"
        "- {step: c, type: workbook, task: t}\n"
    )
    (found,) = findings(body)
    assert found.startswith("3:48: warning: unknown-name: endpoint of step 'b' reads 'who'")


@pytest.mark.parametrize(
    ("parameters", "more", "missing"),
    [
        ("a, b", "args: {a: 1}", ["b"]),
        ("a, b=1, *c, d=2, **e", "args: {a: 1}", []),
        ("*, a, b", "args: {b: 1}", ["a"]),
        ("input_data", "pool: p", []),
        ("input_data, a", "pool: p", ["input_data", "a"]),
        ("a, b", "args: '{{ workload }}'", []),
        ("city, value, index, a", "loop: {in: [1], iterator: city}", ["a"]),
        ("k", "pool: p", []),
        ("context, k", "pool: p", []),
    ],
)
def test_parameters_that_nobody_gives(parameters: str, more: str, missing: list[str]) -> None:
    """What a way, the step, its task or its loop gives is there; what has a default need not be."""
    body = "workflow:\n- {step: start, next: [{step: s, args: {k: 1}}]}\n- step: s\n  type: python\n"
    text = HEAD + body + f"  {more}\n  code: |\n    def main({parameters}):\n        pass\n"
    found = lint(text, "f.yaml")
    assert [problem.code for problem in found] == ["missing-argument"] * len(missing)
    line = text.splitlines()[8]
    for problem, name in zip(found, missing, strict=True):
        assert (problem.line, line[problem.column - 1 :].startswith(name)) == (9, True)


def test_credentials_are_looked_at_where_somebody_says_which_exist() -> None:
    body = (
        "workflow:\n- {step: start, type: postgres, auth: warehose, command: SELECT 1, next: b}\n"
        "- {step: b, type: duckdb, auth: {w: warehouse, x: {type: postgres, key: nobody}}, command: SELECT 1,\n"
        "   next: c}\n"
        "- {step: c, type: http, auth: {type: bearer, key: '{{ limit }}'}, endpoint: \"{{ secret('other') }}\"}\n"
    )
    assert findings(body) == []
    assert [line.partition(": ")[2] for line in findings(body, ("warehouse",))] == [
        "error: unknown-credential: there is no credential 'warehose' (did you mean 'warehouse'?)",
        "error: unknown-credential: there is no credential 'nobody'",
        "error: unknown-credential: there is no credential 'other'",
    ]


def test_reads_tell_path_place_and_what_guards_it() -> None:
    found = reads_of("{{ a.b['c'][0].d | default(e.f) }}{{ g.get('h') }}")
    assert [(read.name, read.path, read.guarded, read.perhaps) for read in found.reads] == [
        ("a", ("b", "c", 0, "d"), True, False),
        ("e", ("f",), False, True),
        ("g", ("get",), False, False),
    ]
    assert found.reads[0].offsets == (3, 5, 8, 12, 15)
    assert (found.reads[2].called, found.reads[2].argument) == (True, "h")
    assert reads_of("{{ broken") == reads_of("plain")


# ---- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "keys"),
    [
        ("def main():\n    return {'a': 1, 'b': {'c': 2}}", ["a", "b"]),
        ("def main(x):\n    if x:\n        return {'a': 1}\n    return {'b': 1}", ["a", "b"]),
        ("def main():\n    def other():\n        return 1\n    return {'a': other()}", ["a"]),
        ("def main():\n    return {'a': 1, **x}", None),
        ("def main():\n    return {k: 1}", None),
        ("def main():\n    return dict(a=1)", None),
        ("def main():\n    yield {'a': 1}", None),
        ("def main():\n    pass", None),
        ("def main(x):\n    if x:\n        return\n    return {'a': 1}", None),
        ("@wrap\ndef main():\n    return {'a': 1}", None),
        ("def main():\n    return {'a': 1}\ndef main():\n    return {'b': 1}", None),
        ("from x import *\ndef main():\n    return {'a': 1}", None),
        ("if x:\n    def main():\n        return {'a': 1}", None),
        ("def main(:", None),
    ],
)
def test_what_python_code_gives_back(code: str, keys: list[str] | None) -> None:
    """Known where every return writes a dict out, else nothing is said."""
    found = returned(code)
    assert (sorted(found.keys) if found is not None else None) == keys


# ---- SQL -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("SELECT 'a", (7, "this quote is not closed")),
        ('SELECT "a', (7, "this quote is not closed")),
        ("SELECT 'it''s', 'b", (16, "this quote is not closed")),
        ("SELECT E'a\\' FROM t", (8, "this quote is not closed")),
        ("SELECT $$a", (7, "$$ is not closed")),
        ("SELECT $x$ $$ $y$", (7, "$x$ is not closed")),
        ("SELECT (1, (2)", (7, "this parenthesis is not closed")),
        ("SELECT 1)", (8, "this parenthesis closes nothing")),
        ("SELECT 1 /* a /* b */", (9, "this comment is not closed")),
        ("-- only\n/* a comment */ ;", (0, "there is no command")),
        ("", (0, "there is no command")),
        ("SLECT 1", (0, "no command begins with 'SLECT' (did you mean 'SELECT'?)")),
        ("SELECT 1; UPDAT t SET a = 1", (10, "no command begins with 'UPDAT'")),
    ],
)
def test_faults_of_sql(text: str, fault: tuple[int, str]) -> None:
    found = look_at(text).fault
    assert found is not None
    assert found.index == fault[0]
    assert found.message.startswith(fault[1])


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'a\\'",  # a backslash is a character
        "SELECT 1 -- don't (",
        "SELECT $1, $2 FROM t WHERE a$b$c = 1",
        "SELECT '{{ a }}' || \"{{ b }}\"",
        "{{ whole }}",
        "{% if x %}SELECT ({% else %}SELECT ({% endif %}1)",
        "FROBNICATE t",  # nobody knows what a server takes
        "select(1)",
        "SELECT U&'d\\0061', X'1F' FROM t\\gx",
    ],
)
def test_sql_that_nobody_complains_about(text: str) -> None:
    assert look_at(text).fault is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("SELECT * FROM t WHERE a = {{ x }}", 1),
        ("SELECT * FROM t WHERE a = '{{ x }}' AND b LIKE '%{{ y }}%'", 2),
        ("INSERT INTO t VALUES ({{ x }}, {{ y }})", 2),
        ("SELECT 1 LIMIT {{ x }}", 1),
        ("SELECT * FROM {{ t }} JOIN {{ u }}.v USING (a)", 0),
        ('SELECT "{{ c }}" FROM t ORDER BY {{ d }}', 0),
        ("INSERT INTO t ({{ columns }}) SELECT 1", 0),
        ("COPY t TO '{{ path }}'; ATTACH '{{ path }}' AS x; SELECT * FROM read_csv('{{ path }}')", 0),
        ("-- {{ x }} = {{ y }}\nSELECT 1", 0),
        ("DO $$ BEGIN x := {{ y }}; END $$", 0),
        ("SELECT {{ a }} FROM t", 0),
    ],
)
def test_values_that_templates_write_into_sql(text: str, values: int) -> None:
    """Where a name may stand, nothing is said: no parameter can be one."""
    assert len(look_at(text).values) == values


def test_the_corpus_says_little_beside_what_it_is_about() -> None:
    """One mistake gives few findings: nobody reads a page of consequences."""
    counts = [len(lint(case.mistake.text, "f.yaml")) for case in cases()]
    assert sum(counts) / len(counts) < 1.5


def test_the_page_about_playbooks_lists_every_code_with_its_sentence() -> None:
    page = (ROOT / "docs" / "playbooks.md").read_text().partition("## Checking")[2].partition("\n## ")[0]
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{code}` | {code.sentence} |" for code in Code]


def test_every_code_of_the_corpus_is_one_of_the_codes() -> None:
    assert {case.mistake.code for case in cases()} <= set(Code)


def test_codes_stand_in_their_table_only() -> None:
    """Elsewhere they are named by the enumeration, so that a check cannot report a code without a sentence."""
    calls = re.compile(r'(?:error|warning|report|problem|Problem)\([^"]*"([a-z]+-[a-z-]+)"')
    for file in (ROOT / "noetl" / "playbook").rglob("*.py"):
        assert {found for found in calls.findall(file.read_text()) if found in set(Code)} == set(), file


def test_the_conditions_of_retry_know_what_an_attempt_gave_and_no_other_names() -> None:
    """`until` as `when`, and what older playbooks called them."""
    known = "{{ (result, data, status_code, success, error, attempt, start, limit) }}"
    for words in ("when: '{}', until: '{}'", "retry_when: '{}', stop_when: '{}'"):
        step = "workflow: [{{step: start, type: http, endpoint: x, retry: {{" + words + "}}}}]\n"
        fine = findings(step.format(known, known))
        assert [one for one in fine if "hint: spelling" not in one] == []
        wrong = [one for one in findings(step.format("{{ nobody }}", "{{ dta.x }}")) if "hint: spelling" not in one]
        assert [one.partition("unknown-name: ")[2] for one in wrong] == [
            "retry.when of step 'start' reads 'nobody': no step, argument or workload key has that name;"
            " declare names of the payload in 'workload'",
            "retry.until of step 'start' reads 'dta' (did you mean 'data'?)",
        ]


@pytest.mark.parametrize(("text", "count"), [("select 1;\n\nselect '", 1), ("select 1;\n\nselect '{{ start }}'", 2)])
def test_what_is_wrong_with_sql_in_base64_stands_where_the_base64_does(text: str, count: int) -> None:
    """The words are found elsewhere in the file, too, where nothing is wrong."""
    encoded = b64encode(text.encode()).decode()
    step = f"- {{step: start, type: postgres, commands_b64: {encoded}, next: e}}\n"
    found = findings(f"workflow:\n{step}- {{step: e, args: {{x: '{{{{ start }}}}'}}}}\n")
    assert [one[:5] for one in found] == ["4:33:"] + ["4:47:"] * count


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ error.message }}", "'error' is null after a success"),
        ("Night: {{ status }} {{ error.type }}", "'error' is null after a success"),
        ("{{ result.rows }}", "'result' is null where the execution has failed"),
        ("{{ error.message | default('fine') }}", ""),
        ("{% if error %}{{ error.message }}{% endif %}", ""),
        ("{{ error.message if error else 'fine' }}", ""),
        ("{{ error }}", ""),
        ("{{ status }}", ""),
    ],
)
def test_lint_hints_at_what_finally_may_not_have(template: str, told: str) -> None:
    """A hint, since it fails nobody."""
    body = f'workflow: [{{step: start}}]\nfinally:\n- {{step: f, type: http, endpoint: x, args: {{m: "{template}"}}}}\n'
    found = findings(body)
    assert len(found) == bool(told)
    assert all("hint: uncertain-name" in one and told in one for one in found)


def test_lint_knows_the_fields_of_an_error_in_finally() -> None:
    body = "workflow: [{step: start}]\nfinally: [{step: f, type: http, endpoint: x, args: {m: '{{ error.mesage }}'}}]\n"
    assert "args of step 'f': 'error' has no field 'mesage' (did you mean 'message'?)" in findings(body)[-1]


# ---- files behind a pager --------------------------------------------------------------------------------------------

PAGER = """workflow:
- step: fetch
  type: http
  endpoint: x
  next: [{when: "{{ fetch.data.next }}", then: [fetch, BOTH]}, {else: store}]
- {step: store, type: save, storage: file, path: PATH, data: "{{ fetch.data }}"JOIN}
"""


@pytest.mark.parametrize(
    ("both", "path", "join", "told"),
    [
        ("store", "/x/rows.csv", "", True),
        ("store", "'/x/{{ execution_id }}.csv'", "", True),
        ("store", "'/x/{{ workload.city }}.csv'", "", True),
        ("store", "/x/rows.csv", ", join: true", False),
        ("store", "'/x/{{ fetch.data.page }}.csv'", "", False),
        ("fetch", "/x/rows.csv", "", False),
    ],
)
def test_lint_hints_at_a_file_that_each_page_writes(both: str, path: str, join: str, told: bool) -> None:
    """Not where a join waits for the last page, the path changes, or the way out of the cycle is taken once."""
    found = findings(PAGER.replace("BOTH", both).replace("PATH", path).replace("JOIN", join))
    assert len(found) == told
    assert all("hint: each-page: the step 'store' runs each time that 'fetch' leads to it" in one for one in found)


def test_lint_hints_at_a_block_save_further_behind_a_pager() -> None:
    text = PAGER.replace("BOTH", "store").replace("PATH", "'/x/{{ fetch.data.page }}.csv'").replace("JOIN", ", next: s")
    text += "- {step: s, type: http, endpoint: y, save: {storage: file, path: /x/y.json}}\n"
    assert ["each-page" in one for one in findings(text)] == [True]


def test_every_check_of_a_playbook_stands_in_the_list() -> None:
    """A module with a check that is not in the list would never be run."""
    checks = set()
    for file in (ROOT / "noetl" / "playbook" / "lint").glob("*.py"):
        module = importlib.import_module(f"noetl.playbook.lint.{file.stem}")
        checks |= {
            check for name, check in vars(module).items() if name.startswith("check_") and _takes_a_source(check)
        }
    assert checks == set(CHECKS)


def _takes_a_source(check: Callable[..., object]) -> bool:
    return list(inspect.signature(check).parameters) == ["source"]

"""What lint says of SQL and its params is what the tools would say when they bind them."""

import json
from itertools import product

import pytest

from noetl.playbook.load import lint
from noetl.rules.sql import split
from noetl.tools.base import InvalidCall
from noetl.tools.sql.bind import bind, refuse_transactions

TEXTS = [
    "SELECT 1",
    "SELECT :a",
    "SELECT :a, :b::int, a[1:n]",
    "SELECT $1, $2",
    "SELECT $2",
    "SELECT %s; SELECT %s",
    "SELECT %(a)s",
    "SELECT $a, $x$ :b $x$",
    "SELECT $1, %s",
    "SELECT ?, '? :b %s' -- :b ?",
    "SELECT 10 %%s, %s",
    "SELECT 10 %% 3, /* :b */ :a",
    "SELECT '{\"a\": 1}'::jsonb ? 'a', :a",
    "SELECT \":b\", E'\\':b', 5 % 3, :a",
    "SELECT :a::text[], :ü",
]
PARAMS = [{"a": 1}, {"a": 1, "b": 2}, {"ü": 1, "a": 2}, {}, [], [1], [1, 2]]


def lines_of(type_: str, command: str, params: object) -> list[str]:
    """Return the errors of a playbook whose only step has this SQL and these params."""
    step = {"step": "start", "type": type_, "command": command, "params": params}
    text = json.dumps({"metadata": {"path": "p"}, "workflow": [step]}, ensure_ascii=False)
    return [str(problem) for problem in lint(text, "f") if problem.severity == "error"]


@pytest.mark.parametrize(("text", "params"), list(product(TEXTS, PARAMS)))
@pytest.mark.parametrize("type_", ["postgres", "duckdb"])
def test_lint_complains_where_binding_would(type_: str, text: str, params: object) -> None:
    try:
        bind(split(text), params, question=type_ == "duckdb")
        binds = True
    except InvalidCall:
        binds = False
    assert (lines_of(type_, text, params) == []) is binds


@pytest.mark.parametrize(
    ("text", "params", "message"),
    [
        ("SELECT 1, :who", {"x": 1}, "step 'start': the SQL names :who, which is not in params (there is x)"),
        ("SELECT $1", {}, "step 'start': the SQL has $1, but params is a mapping: give a list, or write :name"),
        ("SELECT :who", [1], "step 'start': the SQL names :who, but params is a list: give a mapping"),
        ("SELECT $2, $1", [1], "step 'start': the SQL has $2 for value 2, but params has 1"),
        ("SELECT 1", [1], "no placeholder of the SQL takes params[0]: write $1 or %s where it goes"),
    ],
)
def test_the_sentence_says_which(text: str, params: object, message: str) -> None:
    assert message in lines_of("postgres", text, params)[0]


def test_what_templates_give_is_not_known() -> None:
    assert lines_of("postgres", "SELECT 1", "{{ [1] }}") == []
    assert lines_of("postgres", "{% if 1 %}SELECT :a{% endif %}", {}) == []
    assert lines_of("postgres", "SELECT {{ 1 }}", [1]) == []


@pytest.mark.parametrize(
    "text",
    [
        "BEGIN; SELECT 1; COMMIT",
        "SELECT 1; rollback",
        "SAVEPOINT x",
        "START TRANSACTION; SELECT 1",
        "PREPARE TRANSACTION 'x'",
        "PREPARE x AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; COMMIT",
        "DO $$ BEGIN NULL; END $$",
        "SELECT CASE WHEN true THEN 1 END",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; SELECT 2",
        "(SELECT 1); SELECT 'BEGIN'",
    ],
)
def test_a_step_that_is_one_transaction_has_no_commands_for_them(text: str) -> None:
    try:
        refuse_transactions(bind(split(text), None))
        refused = False
    except InvalidCall:
        refused = True
    step = {"step": "start", "type": "postgres", "command": text}
    found = lint(json.dumps({"metadata": {"path": "p"}, "workflow": [step]}), "f")
    assert any("is one transaction" in problem.message for problem in found) is refused
    assert lint(json.dumps({"metadata": {"path": "p"}, "workflow": [{**step, "once": False}]}), "f") == []

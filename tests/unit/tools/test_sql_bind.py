"""Fields of SQL steps: commands, params, and the sentences about what is wrong with them."""

from typing import Any

import pytest

from noetl.rules.sql import split
from noetl.tools.base import InvalidCall
from noetl.tools.sql.bind import Bound, bind, commands_of


def bound(sql: str, params: Any, **options: Any) -> list[tuple[str, Any]]:
    return [(command.text, command.values) for command in bind(split(sql), params, **options)]


def test_without_params_the_text_goes_as_it_is() -> None:
    sql = "SELECT '100%', a ? 'b', 5 %% 2, :x, $1, %s"
    assert bind(split(sql), None) == [Bound(sql, ("SELECT", "A"), None)]


@pytest.mark.parametrize(
    ("sql", "params", "commands"),
    [
        ("SELECT $2, $1, $2", [1, 2], [("SELECT $1, $2, $1", (2, 1))]),
        ("SELECT %s; SELECT %s, %s", [1, 2, 3], [("SELECT $1", (1,)), ("SELECT $1, $2", (2, 3))]),
        ("SELECT $1; SELECT $2, $1", [1, 2], [("SELECT $1", (1,)), ("SELECT $1, $2", (2, 1))]),
        ("SELECT :a, :b, :a", {"a": 1, "b": None, "c": 3}, [("SELECT $1, $2, $1", (1, None))]),
        ("SELECT %(a)s::int, $a, '%(a)s'", {"a": 1}, [("SELECT $1::int, $1, '%(a)s'", (1,))]),
        ("SELECT 5 %% :n, 'a%%', '%'", {"n": 2}, [("SELECT 5 % $1, 'a%%', '%'", (2,))]),
        ("SELECT a ? %s", ["b"], [("SELECT a ? $1", ("b",))]),
        ("SELECT 1", {}, [("SELECT 1", ())]),
        ("SELECT 1", [], [("SELECT 1", ())]),
        ("SELECT x %s", {"a": 1}, [("SELECT x %s", ())]),
    ],
)
def test_placeholders_become_the_drivers(sql: str, params: Any, commands: list[tuple[str, Any]]) -> None:
    assert bound(sql, params) == commands


def test_question_marks_are_placeholders_where_asked_for() -> None:
    assert bound("SELECT ?, '?', ?", [1, 2], question=True) == [("SELECT $1, '?', $2", (1, 2))]


@pytest.mark.parametrize(
    ("sql", "params", "told"),
    [
        ("SELECT :nmae", {"name": 1}, "the SQL names :nmae, which is not in params (there is name)"),
        ("SELECT $1", {"a": 1}, "the SQL has $1, but params is a mapping: give a list, or write :name"),
        ("SELECT :a", [1], "the SQL names 'a', but params is a list: give a mapping"),
        ("SELECT $3", [1, 2], "the SQL has $3, but params has 2 values"),
        ("SELECT $0", [1], "the SQL has $0, but params has 1 values"),
        ("SELECT %s, %s", [1], "the SQL has a placeholder number 2, but params has 1 values"),
        ("SELECT $1, %s", [1, 2], "the SQL has both $1 and %s: keep to one of them"),
        ("SELECT $1", [1, 2, 3], "no placeholder of the SQL takes params[1], params[2]"),
        ("SELECT 'it is $1'", [1], "no placeholder of the SQL takes params[0]"),
        ("SELECT 1", "text", "params must be a list or a mapping, not a text"),
        ("SELECT 1", 7, "params must be a list or a mapping, not a number"),
    ],
)
def test_what_does_not_fit_is_told(sql: str, params: Any, told: str) -> None:
    with pytest.raises(InvalidCall) as failure:
        bind(split(sql), params)
    assert str(failure.value).startswith(told)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "give the SQL as command or as commands"),
        ({"command": None}, "give the SQL as command or as commands"),
        ({"command": "SELECT 1", "commands": ["SELECT 2"]}, "give the SQL as command or as commands, not both"),
        ({"command": 7}, "command must be SQL as text, not a number"),
        ({"command": {"a": 1}}, "command must be SQL as text, not a mapping"),
        ({"commands": ["SELECT 1", None]}, "commands[1] must be SQL as text, not nothing"),
        ({"commands": []}, "commands has no command in it"),
        ({"command": " -- nothing\n;"}, "command has no command in it"),
        ({"command": "SELECT '\x00'"}, "command contains a NUL character, which cannot be stored: remove it"),
        (
            {"command": "SELECT '\ud800'"},
            "command contains a lone surrogate, which is not valid Unicode text: encode it another way",
        ),
    ],
)
def test_commands_that_are_none_are_told(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidCall) as failure:
        commands_of(fields)
    assert str(failure.value) == told


def test_commands_may_be_a_list_of_texts_or_a_text() -> None:
    wanted = ["SELECT 1", "SELECT 2", "SELECT 3"]
    for fields in (
        {"command": "SELECT 1; SELECT 2; SELECT 3"},
        {"commands": ["SELECT 1", "SELECT 2; SELECT 3;"]},
        {"command": ["SELECT 1;", "SELECT 2", "SELECT 3"]},
    ):
        assert [command.text for command in commands_of(fields)] == wanted

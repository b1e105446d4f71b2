"""The scanner of SQL: where commands end, and what is a placeholder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noetl.rules.sql import split, tokens

TWO = [
    "SELECT 1; SELECT 2",
    "SELECT 1;SELECT 2;",
    ";;SELECT 1;; ;SELECT 2;;",
    "SELECT ';'; SELECT 2",
    "SELECT 'it''s; fine'; SELECT 2",
    r"SELECT 'C:\'; SELECT 2",
    r"SELECT E'it\'s; fine'; SELECT 2",
    r"SELECT e'\\'; SELECT 2",
    r"SELECT E'\\\''';'; SELECT 2",
    "SELECT E'a'\n  'b\\'; c'; SELECT 2",
    "SELECT E'a' -- why;\n  'b\\'; c'; SELECT 2",
    r"SELECT E'a' 'b\'; SELECT 2",  # on one line it is no continuation (and an error of the server's)
    r"SELECT U&'d\0061\'; SELECT 2",
    'SELECT U&"d;x"; SELECT 2',
    "SELECT B'01', X'ff;', N'x;'; SELECT 2",
    'SELECT "a;b"; SELECT 2',
    'SELECT "a"";b"; SELECT 2',
    "SELECT $$;$$; SELECT 2",
    "SELECT $tag$ ; $$ ; $other$ $tag$; SELECT 2",
    "SELECT $Ünïcode_1$ ; $Ünïcode_1$; SELECT 2",
    "SELECT a$1; SELECT b$$c",
    "SELECT $1; SELECT $2",
    "SELECT 1 -- ; it's\n; SELECT 2 -- the end;",
    "SELECT 1 /* ; ' */; SELECT 2",
    "SELECT 1 /* ; /* ; */ ; */; SELECT 2 /**/",
    "SELECT 1 +/* ; */ 2; SELECT 2",
    "SELECT 5 --1;\n; SELECT 2",
    "SELECT '--'; SELECT '/*'",
    "SELECT '\"'; SELECT \"'\"",
    "SELECT '$$'; SELECT $$'$$",
    "SELECT (1;2); SELECT 2",
    "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b); SELECT 2",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2'; SELECT 2",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 2",
    "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; DELETE FROM t; END; SELECT 2",
    "CREATE TABLE begin_ (a int); SELECT begin",
    "BEGIN; END",
    "DO $$ BEGIN PERFORM 1; END $$; SELECT 2",
    "SELECT '\u2028;\u00a0', 'naïve; 日本語; 🐘'; SELECT 2",
    "SELECT 1\r\n;\r\nSELECT 2\r\n",
    "SELECT 100 % 7; SELECT 'a' LIKE '%;%'",
    "SELECT '{}'::jsonb ? ';'; SELECT 2",
]


@pytest.mark.parametrize("sql", TWO)
def test_each_of_these_is_two_commands(sql: str) -> None:
    assert len(split(sql)) == 2, [command.text for command in split(sql)]


@pytest.mark.parametrize("sql", ["", " \n\t", ";", " ; ;", "-- nothing;", "/* ; */", "-- a\n/* b */ ; -- c"])
def test_without_content_there_is_no_command(sql: str) -> None:
    assert split(sql) == []


@pytest.mark.parametrize(
    "sql",
    ["SELECT 'a; SELECT 2", 'SELECT "a; b', "SELECT $$a; b", "SELECT 1 /* ; /* */ ; b", "/* ; b", "SELECT E'a\\'; b"],
)
def test_what_is_not_closed_goes_on_to_the_end(sql: str) -> None:
    """Nothing of it is lost: the server says what is wrong with it."""
    assert [command.text for command in split(sql)] == [sql]


def test_a_command_is_its_text_without_what_stands_around_it() -> None:
    one, two = split(" -- first\n SELECT 1 -- why\n ;\n/* second */ select\n2 ; ")
    assert (one.text, one.words) == ("SELECT 1", ("SELECT",))
    assert (two.text, two.words) == ("select\n2", ("SELECT",))


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT $1, $23", ["$1", "$23"]),
        ("SELECT %s, %s::int, '%s', \"%s\", $$%s$$ -- %s", ["%s", "%s"]),
        ("SELECT %(a)s, %(größe)s, '%(a)s'", ["%(a)s", "%(größe)s"]),
        ("SELECT :a, :b::text, (:c), x=:d, ':e', a::int, b := 1", [":a", ":b", ":c", ":d"]),
        ("SELECT a[1:n], a[:n], m['x':y], {'a':b}, f(x):z", [":n"]),
        ("SELECT $name, $tag$ $name $tag$, x$name", ["$name"]),
        ("SELECT 5 %% 2, 5 % s, 5 %size", ["%%"]),
        ("SELECT a ? 'b', a ?| b, a @? '$.c'", ["?", "?", "?"]),
        ("SELECT 'a'::text, '12:30'::time, 12:30", []),
    ],
)
def test_placeholders_are_found_where_they_are_none_of_a_string(sql: str, found: list[str]) -> None:
    (command,) = split(sql)
    assert [command.text[place.start : place.end] for place in command.placeholders] == found


@given(st.text(alphabet="'\"$aE\\;-/*\n ()[]%s:1é?", max_size=40))
def test_any_text_is_cut_into_tokens_without_loss(sql: str) -> None:
    ends = [0]
    for _, start, end in tokens(sql):
        assert start == ends[-1]
        assert end > start
        ends.append(end)
    assert ends[-1] == len(sql)
    for command in split(sql):
        assert command.text in sql


def test_a_long_text_takes_time_in_proportion() -> None:
    """No string, comment or tag makes the scanner go back again and again: each of these would take minutes."""
    for piece in ("'", "''", "/*", "$$", "$a", "E'\\", '"', "--", "(", ":a", "%", "E'a'\n", "E'a' --\n"):
        split(piece * 20_000)
    split("E'a'" + "--" * 20_000)

"""The postgres tool on a real server: commands, params, values, limits, errors."""

from collections.abc import Iterator
from typing import Any

import pytest

from noetl.outcomes import Done
from noetl.settings import Settings
from tests.support.postgres import TestServer
from tests.support.sql import Steps, sql_steps


@pytest.fixture(scope="module")
def shared(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """One database for the tests of this file."""
    name = server.create_database()
    yield server.settings(name, tmp_path_factory.mktemp("home"))
    server.drop_database(name)


@pytest.fixture
def steps(shared: Settings) -> Iterator[Steps]:
    with sql_steps(shared) as steps:
        yield steps


# ---- commands and their results --------------------------------------------------------------------------------------


def test_each_command_has_its_rows_count_and_columns(steps: Steps) -> None:
    result = steps.result(
        """
        CREATE TABLE city (id int PRIMARY KEY, name text);  -- a table of the playbooks' own
        INSERT INTO city VALUES (1, 'Zürich; ''old'' town'), (2, '東京 🐘 100%?');
        SELECT * FROM city ORDER BY id;
        UPDATE city SET name = upper(name) WHERE id = 2 RETURNING id;
        DROP TABLE city
        """
    )
    assert list(result) == [*(f"command_{n}" for n in range(5)), "executed_commands"]
    assert result["command_1"] == {"status": "success", "rows": [], "row_count": 2, "columns": []}
    assert result["command_2"]["rows"] == [{"id": 1, "name": "Zürich; 'old' town"}, {"id": 2, "name": "東京 🐘 100%?"}]
    assert (result["command_2"]["row_count"], result["command_2"]["columns"]) == (2, ["id", "name"])
    assert result["command_3"]["rows"] == [{"id": 2}]
    assert result["executed_commands"] == 5


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("SELECT '100%' || '?' || ';' || $$ it's; $1 %s :x $$", "100%?; it's; $1 %s :x "),
        ("SELECT 7 % 4", 3),
        ("SELECT '{\"a\": 1}'::jsonb ? 'a'", True),
        ("SELECT E'it\\'s; %s'", "it's; %s"),
        ('SELECT "%;""?" FROM (SELECT 5 AS "%;""?") AS x /* ; */ -- ;', 5),
        ("SELECT 'a\\b'", "a\\b"),
    ],
)
def test_without_params_signs_of_other_languages_are_left_alone(steps: Steps, sql: str, value: Any) -> None:
    assert steps.one(sql) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("NULL", None),
        ("true", True),
        ("9223372036854775807", 9223372036854775807),
        ("9223372036854775808", "9223372036854775808"),
        ("1.50", 1.5),
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("'NaN'::numeric", "NaN"),
        ("0.1::float8 + 0.2::float8", 0.30000000000000004),
        ("'-Infinity'::float8", "-Infinity"),
        ("1.1::real", 1.1),
        ("'2026-01-31'::date", "2026-01-31"),
        ("'infinity'::date", "infinity"),
        ("'0044-03-15 BC'::date", "0044-03-15 BC"),
        ("'2026-01-31 08:00:00.5'::timestamp", "2026-01-31T08:00:00.5"),
        ("'2026-01-31 08:00+02'::timestamptz AT TIME ZONE 'UTC'", "2026-01-31T06:00:00"),
        ("'08:00'::time", "08:00:00"),
        ("interval '1 day 2 hours 0.5 seconds'", "P1DT2H0.5S"),
        ("'\\x00ff'::bytea", "AP8="),
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("'[1,5)'::int4range", "[1,5)"),
        ("'{[1,5)}'::int4multirange", "{[1,5)}"),
        ("ARRAY[[1,2],[3,NULL]]", [[1, 2], [3, None]]),
        ("ARRAY['a,b', NULL, 'é\"']", ["a,b", None, 'é"']),
        ("ARRAY['2026-01-31 08:00'::timestamp]", ["2026-01-31T08:00:00"]),
        ("ARRAY[1.50, 2]", [1.5, 2]),
        ('\'{"b": [1, 12345678901234567890], "a": null}\'::json', {"b": [1, "12345678901234567890"], "a": None}),
        ("'[1]'::jsonb", [1]),
        ("ROW(1, 'a')", "(1,a)"),
        ("'192.168.0.1/24'::inet", "192.168.0.1/24"),
        ("'pg_class'::regclass", "pg_class"),
        ("''", ""),
    ],
)
def test_values_become_plain_json(steps: Steps, expression: str, value: Any) -> None:
    found = steps.one(f"SELECT {expression}")
    assert found == value
    assert type(found) is type(value)


def test_a_moment_with_a_zone_is_in_iso_8601(steps: Steps) -> None:
    assert steps.rows("SET LOCAL TimeZone = 'Asia/Kolkata'; SELECT '2026-01-31 08:00+00'::timestamptz") == [
        ["2026-01-31T13:30:00+05:30"]
    ]
    assert steps.rows("SET LOCAL TimeZone = 'UTC'; SELECT '2026-01-31 08:00+00'::timestamptz") == [
        ["2026-01-31T08:00:00+00:00"]
    ]


# ---- params ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "params", "value"),
    [
        ("SELECT $1 || $2", ["a'; DROP TABLE x; --", "é🐘"], "a'; DROP TABLE x; --é🐘"),
        ("SELECT %s::text || '%s'", ["a"], "a%s"),
        ("SELECT :a::int + :b", {"a": "4", "b": 1}, 5),
        ("SELECT %(a)s || :a", {"a": "x"}, "xx"),
        ("SELECT $1", [True], True),
        ("SELECT $1::text", [None], None),
        ("SELECT round($1, 1)", [1.25], 1.3),
        ("SELECT substr('abc', $1)", [2], "bc"),
        ("SELECT $1", [2**40], 2**40),
        ("SELECT $1", [2**63], str(2**63)),
        ("SELECT now() > $1", ["2026-01-31"], True),
        ("SELECT $1", [{"a": [1, {"b": None}], "é": "'"}], {"a": [1, {"b": None}], "é": "'"}),
        ("SELECT $1 -> 'a'", [{"a": [1]}], [1]),
        ("SELECT $1::jsonb", [[1, "a", None]], [1, "a", None]),
        ("SELECT jsonb_array_length($1)", [[1, 2]], 2),
        ("SELECT 2 = ANY($1)", [[1, 2]], True),
        ("SELECT $1::text[]", [["a,b", 'q"\\', None, "NULL", ""]], ["a,b", 'q"\\', None, "NULL", ""]),
        ("SELECT $1::int[]", [[[1, 2], [3, 4]]], [[1, 2], [3, 4]]),
        ("SELECT $1::numeric[]", [[1.5, 2]], [1.5, 2]),
        ("SELECT $1::bool[]", [[True, False]], [True, False]),
        ("SELECT $1::jsonb[]", [[{"a": 1}, {"b": '"'}]], [{"a": 1}, {"b": '"'}]),
        ("SELECT cardinality($1::int[])", [[]], 0),
        ("SELECT '{\"k\":1}'::jsonb ? $1", ["k"], True),
        ("SELECT 7 %% $1", [4], 3),
    ],
)
def test_params_are_bound_with_their_type(steps: Steps, sql: str, params: Any, value: Any) -> None:
    assert steps.one(sql, params) == value


def test_params_go_into_columns_of_any_type(steps: Steps) -> None:
    values = {
        "i": 1,
        "n": 2.5,
        "f": 1e-7,
        "t": "text",
        "d": "2026-01-31",
        "b": False,
        "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "j": {"x": 1},
        "js": {"x": [2]},
        "a": [1, 2],
        "ja": [1, 2],
        "iv": "P1D",
        "vc": None,
    }
    rows = steps.rows(
        """
        CREATE TEMP TABLE wide (i int, n numeric, f float8, t text, d date, b bool, u uuid, j jsonb, js json, a int[],
                                ja jsonb, iv interval, vc varchar(9));
        INSERT INTO wide VALUES (:i, :n, :f, :t, :d, :b, :u, :j, :js, :a, :ja, :iv, :vc);
        SELECT * FROM wide
        """,
        values,
    )
    assert rows == [list(values.values())]


def test_a_type_of_the_databases_own_takes_a_list_too(steps: Steps) -> None:
    sql = "CREATE TYPE mood AS ENUM ('sad', 'ok'); SELECT 'ok' = ANY($1::mood[]), $1::mood[]; DROP TYPE mood"
    result = steps.result(sql, [["sad", "ok"]])
    assert list(result["command_1"]["rows"][0].values()) == [True, ["sad", "ok"]]


@pytest.mark.parametrize(
    ("sql", "params", "told"),
    [
        ("SELECT $1", ["a\x00b"], "the value of $1 contains a NUL character, which cannot be stored: remove it"),
        (
            "SELECT $1",
            [{"a": ["\x00"]}],
            "the value of $1.a[0] contains a NUL character, which cannot be stored",
        ),
        ("SELECT $1", ["\ud800"], "the value of $1 contains a lone surrogate"),
        ("SELECT $2", ["a"], "the SQL has $2, but params has 1 values"),
        ("SELECT 1", 5, "params must be a list or a mapping, not a number"),
    ],
)
def test_params_that_cannot_be_are_told_by_their_place(steps: Steps, sql: str, params: Any, told: str) -> None:
    error = steps.error(sql, params)
    assert error["type"] == "validation"
    assert error["message"].startswith(f"examples/test#step: {told}")


def test_text_that_looks_like_an_escape_is_no_nul(steps: Steps) -> None:
    assert steps.one("SELECT $1", [{"a": "\\u0000"}]) == {"a": "\\u0000"}


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_the_first_error_ends_it_and_nothing_stays(steps: Steps) -> None:
    steps.result("CREATE TABLE left_over (id int PRIMARY KEY)")
    error = steps.error("INSERT INTO left_over VALUES (1); INSERT INTO left_over VALUES (1); SELECT 1 / 0")
    assert error["type"] == "postgres"
    assert error["message"] == (
        'examples/test#step: command_1: duplicate key value violates unique constraint "left_over_pkey"'
    )
    assert error["retryable"] is False
    assert error["detail"]["sqlstate"] == "23505"
    assert error["detail"]["command"] == 1
    assert error["detail"]["table"] == "left_over"
    assert error["detail"]["detail"] == "Key (id)=(1) already exists."
    assert steps.one("SELECT count(*) FROM left_over") == 0


def test_an_error_points_into_the_command(steps: Steps) -> None:
    error = steps.error("SELECT 1;\n\n-- here\nSELECT 'ä',\n  nothing")
    assert error["message"].endswith('command_1: column "nothing" does not exist (line 2, column 3)')
    assert (error["detail"]["line"], error["detail"]["position"]) == (2, 3)


@pytest.mark.parametrize(
    "sql", ["SELECT 'a", "SELECT $$a", "SELECT 1 /*", "SELEC 1", "SELECT 1)", "SELECT (1; SELECT 2"]
)
def test_sql_that_is_none_is_the_servers_sentence(steps: Steps, sql: str) -> None:
    error = steps.error(sql)
    assert (error["type"], error["detail"]["sqlstate"], error["retryable"]) == ("postgres", "42601", False)


def test_a_deferred_constraint_fails_at_the_end(steps: Steps) -> None:
    error = steps.error(
        """CREATE TABLE a (id int PRIMARY KEY);
           CREATE TABLE b (a int REFERENCES a DEFERRABLE INITIALLY DEFERRED);
           INSERT INTO b VALUES (1)"""
    )
    assert (error["detail"]["sqlstate"], error["detail"]["command"]) == ("23503", None)
    assert steps.one("SELECT to_regclass('b')") is None


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "give the SQL as command or as commands"),
        ({"command": "SELECT 1", "once": "yes"}, "once must be true or false, not a text"),
        ({"command": "SELECT 1", "commands": ["SELECT 1"]}, "give the SQL as command or as commands, not both"),
        ({"commands": [["SELECT 1"]]}, "commands[0] must be SQL as text, not a list"),
        ({"command": "COPY (SELECT 1) TO STDOUT"}, "COPY from STDIN or to STDOUT has nothing at its other end"),
        ({"command": "CREATE TEMP TABLE c (a int); COPY c FROM STDIN"}, "COPY from STDIN or to STDOUT has nothing"),
    ],
)
def test_a_wrong_field_is_told(steps: Steps, fields: dict[str, Any], told: str) -> None:
    error = steps.error(**fields)
    assert error["type"] == "validation"
    assert error["message"].startswith(f"examples/test#step: {told}")
    assert steps.one("SELECT 1") == 1


def test_notices_are_the_steps_output(steps: Steps) -> None:
    answer = steps.answer("DO $$ BEGIN RAISE NOTICE 'it is %', 7; RAISE WARNING 'ä'; END $$; SELECT 1")
    assert isinstance(answer, Done)
    assert answer.output == "NOTICE: it is 7\nWARNING: ä\n"


# ---- limits ----------------------------------------------------------------------------------------------------------


def test_a_result_beyond_the_limit_fails_while_it_comes(steps: Steps) -> None:
    """A table without end: what is beyond the limit is never read."""
    error = steps.error("SELECT generate_series(1, 1000000000) AS i, repeat('x', 1000)", limit=100_000)
    assert error["type"] == "too_large"
    assert "more than 100,000 bytes as JSON at row 9" in error["message"]
    assert steps.one("SELECT 1") == 1


def test_a_result_within_the_limit_is_whole(steps: Steps) -> None:
    rows = steps.rows("SELECT i FROM generate_series(1, 30000) AS i")
    assert rows == [[i] for i in range(1, 30001)]


def test_a_step_has_its_time(steps: Steps) -> None:
    error = steps.error("SELECT 1; SELECT pg_sleep(60)", timeout=0.3)
    assert (error["type"], error["retryable"]) == ("timeout", True)
    assert error["message"] == "examples/test#step: command_1 ran on until its timeout of 0.3 s"
    assert (
        steps.one(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active'"
            " AND pid <> pg_backend_pid()"
        )
        == 0
    )


def test_a_step_without_a_limit_takes_the_time_it_takes(steps: Steps) -> None:
    assert steps.rows("SELECT pg_sleep(0.05); SHOW statement_timeout", timeout=float("inf")) == [["0"]]


def test_a_cancel_by_somebody_else_is_no_timeout(steps: Steps) -> None:
    error = steps.error("SELECT pg_cancel_backend(pg_backend_pid()); SELECT pg_sleep(60)")
    assert (error["type"], error["detail"]["sqlstate"], error["retryable"]) == ("postgres", "57014", True)


# ---- once: false -----------------------------------------------------------------------------------------------------


def test_without_once_each_command_stands_for_itself(steps: Steps) -> None:
    assert steps.error("CREATE TABLE stays (id int); SELECT 1 / 0", once=False)["detail"]["command"] == 1
    assert steps.one("SELECT count(*) FROM stays") == 0
    assert steps.result("VACUUM stays; BEGIN; INSERT INTO stays VALUES (1); ROLLBACK", once=False)
    assert steps.result("BEGIN; INSERT INTO stays VALUES (2); COMMIT; DROP TABLE stays", once=False)


def test_a_transaction_left_open_is_told_and_rolled_back(steps: Steps) -> None:
    error = steps.error("CREATE TABLE open_one (id int); BEGIN; INSERT INTO open_one VALUES (1)", once=False)
    assert error["message"].endswith("the SQL leaves a transaction open, which is rolled back: end it with COMMIT")
    assert steps.one("SELECT count(*) FROM open_one") == 0


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN",
        "/* */ begin transaction",
        "START TRANSACTION",
        "SELECT 1; COMMIT",
        "SELECT 1; end",
        "ROLLBACK TO SAVEPOINT a",
        "ABORT",
        "SAVEPOINT a",
        "RELEASE a",
        "PREPARE TRANSACTION 'a'",
    ],
)
def test_transactions_of_the_sqls_own_are_refused(steps: Steps, sql: str) -> None:
    error = steps.error(sql)
    assert error["type"] == "validation"
    assert "but a step is one transaction" in error["message"]
    assert "once: false" in error["message"]


@pytest.mark.parametrize("sql", ["VACUUM", "CREATE DATABASE x", "CREATE INDEX CONCURRENTLY ON pg_class (oid)"])
def test_what_cannot_run_in_a_transaction_points_to_once(steps: Steps, sql: str) -> None:
    error = steps.error(sql)
    assert error["detail"]["sqlstate"] in ("25001", "42501")
    if error["detail"]["sqlstate"] == "25001":
        assert "with once: false each command runs on its own" in error["message"]


def test_a_procedure_cannot_end_the_steps_transaction(steps: Steps) -> None:
    error = steps.error(
        "CREATE PROCEDURE ends() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'; CALL ends(); DROP PROCEDURE ends"
    )
    assert (error["detail"]["sqlstate"], error["detail"]["command"]) == ("2D000", 1)


# ---- the login of playbooks ------------------------------------------------------------------------------------------


def test_without_auth_it_is_the_playbooks_login_with_a_schema_of_its_own(steps: Steps) -> None:
    assert steps.rows("SELECT current_user, current_schema()") == [["noetl_playbook", "noetl_playbook"]]
    assert steps.result("CREATE TABLE own (a int); INSERT INTO own VALUES (1); DROP TABLE own")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM noetl.execution",
        "SELECT * FROM noetl.credential",
        "INSERT INTO noetl.event_log (execution_id, event_id, event_type) VALUES (1, 1, 'x')",
        "CREATE TABLE noetl.mine (a int)",
        "DELETE FROM noetl_inbox.noetl_done",
        "SET ROLE noetl",
        "SET SESSION AUTHORIZATION postgres",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "COPY (SELECT 1) TO '/tmp/x'",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
        "CREATE SCHEMA another",
        "CREATE TABLE public.mine (a int)",
        "ALTER ROLE noetl_playbook SUPERUSER",
        "CREATE EXTENSION dblink",
    ],
)
def test_that_login_can_neither_read_the_engines_tables_nor_get_at_the_machine(steps: Steps, sql: str) -> None:
    error = steps.error(sql)
    assert error["detail"]["sqlstate"] in ("42501", "0LP01"), error

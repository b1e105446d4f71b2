"""Templates in SQL: data and secrets belong into params, constants do not matter."""

import pytest

from noetl.playbook.load import lint

HEAD = "metadata: {path: p}\nworkload: {city: Oslo, host: db}\nworkflow:\n"
HINT = "give it in 'params' instead"


def codes(sql: str, type_: str = "postgres") -> list[tuple[str, int]]:
    """Return codes and columns of what lint says of a command, which begins in column 1."""
    text = f"{HEAD}- step: start\n  type: {type_}\n  command: |-\n    {sql}\n"
    found = lint(text, "f.yaml")
    assert all(HINT in one.message for one in found), found
    return [(one.code, one.column - 4) for one in found]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT * FROM t WHERE city = '{{ workload.city }}'", [("sql-template", 31)]),
        ("SELECT * FROM t WHERE n = {{ 5 }} AND city = '{{ city }}'", [("sql-template", 47)]),
        ("SELECT * FROM t WHERE n = {{ 5 }} LIMIT {{ 2 * 3 }}", []),
        ("SELECT '{{ '{{' }} stays', 'a {{ \"b\" }}'", []),
        ("SELECT '{% raw %}{{ city }}{% endraw %}'", []),
        ("SELECT * FROM t WHERE run = '{{ execution_id }}' AND job = '{{ job.uuid }}' AND at < '{{ now() }}'", []),
        ("SELECT * FROM t WHERE at < '{{ now() ~ city }}'", [("sql-template", 29)]),
    ],
)
@pytest.mark.parametrize("type_", ["postgres", "duckdb"])
def test_only_data_is_a_value(sql: str, found: list[tuple[str, int]], type_: str) -> None:
    """Constants, what is raw and the names of the run bring none."""
    assert codes(sql, type_) == found


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT * FROM t WHERE k = '{{ secret('api_key') }}'", [("sql-secret", 28)]),
        ("SELECT * FROM t WHERE k = {{ secret('api_key') | tojson }}", [("sql-secret", 27)]),
        ("ALTER ROLE r PASSWORD '{{ secret('k') }}'", [("sql-secret", 24)]),
        ("SELECT 1 -- {{ secret('k') }}", [("sql-secret", 13)]),
        ("SELECT 'secret()', '{{ workload.city }}'", [("sql-template", 21)]),
        ("SELECT {% if city %}'{{ secret('k') }}'{% endif %}", [("sql-secret", 22)]),
    ],
)
@pytest.mark.parametrize("type_", ["postgres", "duckdb"])
def test_a_secret_does_not_belong_into_sql(sql: str, found: list[tuple[str, int]], type_: str) -> None:
    """Wherever it stands in the text, and with blocks around it; one warning each."""
    assert codes(sql, type_) == found


def test_a_secret_in_the_statement_of_a_save() -> None:
    """As a step and as a block."""
    save = """{storage: postgres, statement: "INSERT INTO t VALUES ('{{ secret('k') }}', :a)", data: {a: 1}"""
    text = f"{HEAD}- step: start\n  type: http\n  endpoint: http://x\n  save: {save}}}\n"
    assert [one.code for one in lint(text, "f.yaml")] == ["sql-secret"]


def test_a_secret_among_params_is_right() -> None:
    """Values that are bound stand in no text."""
    text = f"""{HEAD}- {{step: start, type: postgres, command: SELECT $1, params: ["{{{{ secret('k') }}}}"]}}\n"""
    assert lint(text, "f.yaml") == []

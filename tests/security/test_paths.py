"""Data in a path leads neither out of the folder that the playbook names nor into NOETL_HOME."""

from pathlib import Path
from typing import Any

import pytest

from noetl.engine.paths import is_within, keep_within
from noetl.errors import TemplateError
from noetl.outcomes import Done
from noetl.playbook.templates.template import compile_template
from noetl.tools.registry import TOOLS
from tests.support.sql import Steps


@pytest.mark.parametrize(
    ("template", "value", "within"),
    [
        ("/x/{{ name }}.csv", "/x/a.csv", True),
        ("/x/{{ name }}.csv", "/x/a/b.csv", True),
        ("/x/{{ name }}.csv", "/x/../etc/a.csv", False),
        ("/x/{{ name }}.csv", "/x/a/../../y.csv", False),
        ("/x/day-{{ name }}.csv", "/x/day-/../../y.csv", False),
        ("/x/../y/{{ name }}", "/y/a", True),
        ("/x/../y/{{ name }}", "/x/a", False),
        ("/{{ name }}", "/anywhere", True),
        ("out/{{ name }}", "out/../../up", False),
        ("out/{{ name }}", "out/a", True),
        ("./{{ name }}", "./a", True),
        ("./{{ name }}", "./../a", False),
        ("a{{ name }}", "a/../../b", False),
        ("s3://bucket/in/{{ name }}", "s3://bucket/in/a", True),
        ("s3://bucket/in/{{ name }}", "s3://bucket/in/../../other/a", False),
        ("{{ folder }}/{{ name }}", "/anywhere/at/all", True),
        ("/x/{% if a %}{{ a }}{% endif %}", "/x/..", False),
    ],
)
def test_the_text_before_a_template_is_a_wall(template: str, value: str, within: bool) -> None:
    """Below it data may name what it likes."""
    assert is_within(template, value) is within


def test_a_step_whose_path_leads_out_fails_as_a_template_does() -> None:
    """Whatever gave the value; the message names the folder."""
    template = compile_template({"path": "/x/{{ name }}.json", "format": "json"}, playbook="p", step="s", field="save")
    keep_within("save", {"path": "/x/day/one.json"}, template)
    with pytest.raises(TemplateError, match="leads out of the folder '/x/', which the playbook names"):
        keep_within("save", {"path": "/x/../up.json"}, template)


def _home(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    home = tmp_path / "home"
    home.mkdir()
    (home / "token").write_text("very secret\n")
    return home, {"files": str(home / "duckdb"), "execution_id": "7"}


@pytest.mark.parametrize(
    "way", ["{home}/token", "{home}/../home/token", "file://{home}/token", "{home}/*", "/**/token"]
)
def test_params_of_duckdb_do_not_read_the_token(tmp_path: Path, way: str) -> None:
    """Whatever its spelling; a pattern and a link lead there just as well."""
    home, context = _home(tmp_path)
    steps = Steps(TOOLS["duckdb"])
    answer = steps.tool.run(
        steps.call(
            {"command": "SELECT content FROM read_text($p)", "params": {"p": way.format(home=home)}}, context=context
        )
    )
    assert "params.p leads into" in str(answer)
    link = tmp_path / "link"
    link.symlink_to(home)
    call = steps.call({"command": "SELECT content FROM read_text($1)", "params": [f"{link}/token"]}, context=context)
    assert "params[0] leads into" in str(steps.tool.run(call))


def test_other_params_are_left_alone(tmp_path: Path) -> None:
    """Text that is no path of the home stays data."""
    _, context = _home(tmp_path)
    steps = Steps(TOOLS["duckdb"])
    values = ["a", "", "*", "../x", "https://example.org/home", "~", "{" * 50, f"{tmp_path}/homeless", "\u0000"[:0]]
    for value in values:
        call = steps.call({"command": "SELECT $1 AS a", "params": [value]}, context=context)
        answer = steps.tool.run(call)
        assert isinstance(answer, Done)
        assert b'"rows":[{"a":' in answer.result


def test_nothing_is_written_into_the_home(tmp_path: Path) -> None:
    """Neither a file nor a database, whether something stands there or not."""
    home, context = _home(tmp_path)
    save, duckdb = Steps(TOOLS["save"]), Steps(TOOLS["duckdb"])
    for path in (home / "token", home / "new", home / "postgres" / "x", tmp_path / "x" / ".." / "home" / "new"):
        for call in (
            save.call({"storage": "file", "path": str(path), "format": "json", "data": {"a": 1}}, context=context),
            save.call({"storage": "duckdb", "database": str(path), "table": "t", "data": {"a": 1}}, context=context),
            duckdb.call({"command": "SELECT 1", "database": str(path)}, context=context),
        ):
            answer = (save if call.type == "save" else duckdb).tool.run(call)
            assert "where NoETL keeps its token and keys" in str(answer), (call.fields, answer)
    assert (home / "token").read_text() == "very secret\n"
    assert [file.name for file in home.iterdir()] == ["token"]
    good = save.call({"storage": "file", "path": str(tmp_path / "fine.json"), "data": {"a": 1}}, context=context)
    assert save.tool.run(good)
    assert (tmp_path / "fine.json").exists()

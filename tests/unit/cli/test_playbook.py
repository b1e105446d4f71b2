"""`noetl playbook`: exit codes, what goes to stdout, and that it needs neither server nor database."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from noetl.cli.app import build
from noetl.errors import InputError, PlaybookError

GOOD = """metadata: {path: a/good}
workload: {limit: 1}
workflow:
- {step: start, next: end}
- {step: end, result: '{{ limit }}'}
"""
WARNED = GOOD.replace("next: end", "next: [{when: false, then: never}, {else: end}]") + "- {step: never}\n"
BAD = GOOD.replace("{{ limit }}", "{{ limti }}").replace("next: end", "nxt: end, next: end")


def noetl(*args: object) -> Result:
    return CliRunner().invoke(build("playbook"), ["playbook", *map(str, args)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("good", GOOD), ("warned", WARNED), ("bad", BAD)):
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "other.yaml").write_text("kind: Note\nmetadata: {path: a/note}\n")
    (tmp_path / "unrelated.yaml").write_text("a: b\n")
    return tmp_path


def test_all_problems_of_all_files_at_once_and_exit_code_1(folder: Path) -> None:
    result = noetl("lint", folder / "bad", folder / "warned.yaml", folder / "good")
    bad, warned = folder / "bad.yaml", folder / "warned.yaml"
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{bad}:4:17: error: unknown-key: unknown key 'nxt' in step 'start' (did you mean 'next'?)",
        f"{bad}:5:27: error: unknown-name: result of step 'end' reads 'limti' (did you mean 'limit'?)",
        f"{warned}:6:10: warning: never: the step 'never' never starts: the conditions of all ways to it are never"
        " true",
    ]
    assert result.stderr == "3 files: 2 errors, 1 warning\n"


def test_warnings_fail_only_when_they_are_to(folder: Path) -> None:
    assert noetl("lint", folder / "warned").exit_code == 0
    assert noetl("lint", folder / "warned", "--strict").exit_code == 1
    assert noetl("lint", folder / "good", "--strict").exit_code == 0


def test_a_folder_is_every_playbook_below_it(folder: Path) -> None:
    result = noetl("lint", folder)
    assert (result.exit_code, len(result.stdout.splitlines())) == (1, 3)
    assert "other.yaml is of kind Note, which is stored and never run" in result.stderr
    assert result.stderr.endswith("4 files: 2 errors, 1 warning\n")


def test_problems_as_json(folder: Path) -> None:
    result = noetl("lint", folder / "bad", "--json")
    assert result.exit_code == 1
    first, second = json.loads(result.stdout)
    assert first["code"] == "unknown-key"
    assert (second["line"], second["column"], second["severity"]) == (5, 27, "error")
    assert json.loads(noetl("lint", folder / "good", "--json").stdout) == []


def test_credentials_that_are_named_are_all_that_exist(folder: Path) -> None:
    file = folder / "sql.yaml"
    file.write_text(
        "metadata: {path: a}\nworkflow: [{step: start, type: postgres, auth: wearhouse, command: SELECT 1}]\n"
    )
    assert noetl("lint", file).exit_code == 0
    result = noetl("lint", file, "--credential", "warehouse")
    assert result.exit_code == 1
    assert "unknown-credential: there is no credential 'wearhouse' (did you mean 'warehouse'?)" in result.stdout


def test_graph_draws_to_stdout_or_a_file(folder: Path) -> None:
    assert noetl("graph", folder / "good").stdout.startswith("flowchart TD\n")
    assert noetl("graph", folder / "good", "--format", "svg").stdout.startswith("<svg ")
    result = noetl("graph", folder / "good", "--format", "svg", "--output", folder / "out.svg")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (folder / "out.svg").read_text().startswith("<svg ")
    for args, message in (
        (["graph", folder / "good", "--format", "png"], "it is one of mermaid, svg"),
        (["graph", folder], "is a folder"),
        (["show", folder / "nobody"], "there is no file"),
        (["graph", folder / "good", "-o", folder / "no" / "such"], "cannot be written"),
    ):
        result = noetl(*args)
        assert isinstance(result.exception, InputError)
        assert message in str(result.exception)


def test_show_and_graph_take_what_only_the_further_checks_refuse(folder: Path) -> None:
    (folder / "named.yaml").write_text(GOOD.replace("{{ limit }}", "{{ limti }}"))
    assert noetl("lint", folder / "named").exit_code == 1
    assert "start: router" in noetl("show", folder / "named").stdout
    assert json.loads(noetl("show", folder / "named", "--json").stdout)["path"] == "a/good"
    assert isinstance(noetl("show", folder / "bad").exception, PlaybookError)


def test_schema_is_json() -> None:
    assert json.loads(noetl("schema").stdout)["title"] == "NoETL playbook"


def test_lint_needs_no_database(folder: Path) -> None:
    """Neither psycopg nor a web client is so much as imported."""
    program = (
        "import sys; from noetl.cli.app import build\n"
        f"build('playbook')(['playbook', 'lint', {str(folder / 'good.yaml')!r}], standalone_mode=False)\n"
        "print([name for name in ('psycopg', 'httpx', 'noetl.database', 'noetl.engine') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

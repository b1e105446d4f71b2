"""Shells complete nouns, files and ids; nothing is an error there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from noetl.cli.completion import execution_ids, files, playbooks


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("flows/a.yaml", "flows/.hidden.yaml", "flows/deep/b.yml", "flow.txt", "first.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOETL_HOME", str(tmp_path / "home"))
    return tmp_path


def test_files_are_proposed_with_their_folders(here: Path) -> None:
    assert files("f") == ["first.yaml", "flows/"]
    assert files("flows/") == ["flows/a.yaml", "flows/deep/"]
    assert files("flows/.h") == ["flows/.hidden.yaml"]
    assert files(f"{here}/fi") == [f"{here}/first.yaml"]
    assert files("none/x") == []


def test_without_a_server_there_are_no_ids_and_no_errors(here: Path) -> None:
    assert execution_ids("3") == []
    assert playbooks("fi") == ["first.yaml"]


@pytest.mark.parametrize(
    ("line", "wanted"), [("noetl exe", "execute"), ("noetl execute st", "status"), ("noetl run fi", "first.yaml")]
)
def test_a_shell_is_answered(here: Path, line: str, wanted: str) -> None:
    """As bash asks: the words so far, and which of them is being completed."""
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1), "_NOETL_COMPLETE": "complete_bash"}
    program = Path(sys.executable).with_name("noetl")
    done = subprocess.run(
        [str(program)], env={**os.environ, **asked}, cwd=here, capture_output=True, text=True, timeout=60, check=False
    )
    assert wanted in done.stdout.splitlines(), done.stderr

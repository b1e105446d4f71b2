"""`noetl playbook test` from the command line: which files, what is shown, exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from noetl.cli.playbook.test import gather, run_playbook_tests
from tests.support.trials import document

ROOT = Path(__file__).resolve().parents[3]
BOOK = """
- {step: start, type: http, endpoint: x, next: judge}
- {step: judge, type: python, args: {n: "{{ start.data }}"}, code: "def main(n):\\n  print('judging')\\n  return n * 2"}
"""
GOOD = "- {name: It doubles, stubs: {start: {result: {data: 4}}}, expect: {result: 8}}\n"
BAD = "- {name: it triples, stubs: {start: {result: {data: 4}}}, expect: {result: 12}}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*files: str, **options: Any) -> int:
    """Run the command in this process and return its exit code."""
    given = {"name": None, "verbose": False, "record": None, "output": None, "host": None, "port": None}
    with pytest.raises(typer.Exit) as ended:
        run_playbook_tests(list(files), **{**given, "as_json": False, **options})
    return ended.value.exit_code


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_a_line_for_each_test_and_one_for_all(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "book.yaml", document(BOOK, GOOD))
    assert run("book") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "book.yaml"
    assert lines[1].split() == ["ok", "It", "doubles", lines[1].split()[-2], "ms"]
    assert lines[2].startswith("1 test passed in ")
    assert len(lines) == 3


def test_a_failure_shows_the_difference_its_line_and_the_path(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "book.yaml", document(BOOK, GOOD + BAD))
    assert run("book.yaml") == 1
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    at = document(BOOK, GOOD + BAD).splitlines().index("  " + BAD.strip()) + 1
    assert lines[2].startswith("failed  it triples")
    assert lines[3:7] == [
        f"book.yaml:{at}: result: expected 12, got 8",
        "steps taken:",
        'start  {"data": 4}',
        "judge  8",
    ]
    assert lines[7].startswith("2 tests, 1 failed in ")


def test_verbose_tells_what_happened_when(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "book.yaml", document(BOOK, GOOD.replace("data: 4}", "data: 4}, takes: 1h")))
    assert run("book", verbose=True) == 0
    out = capsys.readouterr().out
    assert '3600.000 s  step_completed start  {"data":4}' in out.replace(" attempt 1", "")
    assert "judge printed: judging" in out


def test_a_test_that_lacks_a_stub_shows_what_to_write(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "book.yaml", document(BOOK, "- {name: it}"))
    assert run("book") == 1
    out = capsys.readouterr().out
    assert "step 'start' (type http) has effects outside, and the test has no stub for it" in out
    assert "write, for instance:" in out


def test_json_tells_everything(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "book.yaml", document(BOOK, GOOD + BAD))
    assert run("book", as_json=True) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["file"], good["name"], good["ok"], good["status"], good["result"]) == (
        "book.yaml",
        "It doubles",
        True,
        "completed",
        8,
    )
    assert good["failures"] == []
    assert good["milliseconds"] > 0
    assert [step["step"] for step in good["steps"]] == ["start", "judge"]
    assert good["calls"][0]["fields"] == {"endpoint": "x"}
    assert bad["failures"][0] == {
        "line": bad["line"],
        "what": "result",
        "differences": ["result: expected 12, got 8"],
        "expected": 12,
        "got": 8,
    }


def test_tests_are_chosen_by_a_part_of_their_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "book.yaml", document(BOOK, GOOD + BAD))
    assert run("book", name="doub") == 0
    assert run("book", name="TRIPLES") == 1
    assert "it triples" in capsys.readouterr().out


def test_a_folder_is_searched_and_a_file_beside_a_playbook_has_tests_too(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here / "a/one.yaml", document(BOOK, GOOD))
    write(here / "a/b/two.yaml", document(BOOK))
    write(here / "a/b/two.test.yaml", "tests:\n" + "".join(f"  {line}" for line in GOOD.splitlines(True)))
    write(here / "a/none.yaml", document(BOOK))
    write(here / "a/other.yaml", "kind: Dashboard\nmetadata: {path: x}\n")
    write(here / "a/notes.yaml", "just: notes\n")
    assert run("a") == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if ".yaml" in line] == ["a/b/two.yaml", "a/one.yaml"]
    assert "2 tests passed" in out
    found, broken = gather(["a", "a/one.yaml", "a/b/two.test.yaml", "a/b/two.test"])
    assert broken == 0
    assert [str(each.file) for each in found] == ["a/b/two.yaml", "a/none.yaml", "a/one.yaml"], "each once"


def test_children_stand_where_their_path_says_or_where_the_test_says(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = "- {step: start, type: playbook, path: flows/child}"
    child = "- {step: start, type: python, code: 'def main(): return 3'}"
    write(here / "flows/parent.yaml", document(parent, "- {name: it, expect: {result: 3}}", "flows/parent"))
    write(here / "flows/child.yaml", document(child, path="flows/child"))
    assert run("flows/parent") == 0
    test = "- {name: it, children: {flows/child: ../other.yaml}, expect: {result: 3}}"
    write(here / "flows/parent.yaml", document(parent, test, "flows/parent"))
    assert run("flows/parent") == 1
    assert "the child 'flows/child' cannot be read: the file flows/../other.yaml" in capsys.readouterr().out
    write(here / "other.yaml", document(child, path="flows/child"))
    assert run("flows/parent") == 0


def test_files_with_problems_are_told_and_the_others_are_tested(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "good.yaml", document(BOOK, GOOD))
    write(here / "wrong.yaml", document(BOOK, "- {nam: it}"))
    write(here / "also.yaml", document(BOOK))
    write(here / "also.test.yaml", "tests: [{name: it, stubs: {nowhere: {result: 1}}}]\n")
    assert run(".") == 2
    told = capsys.readouterr()
    assert "1 test passed" in told.out
    assert "wrong.yaml:8:5: error: missing: a test has no name: give it 'name: what it shows'" in told.err
    assert "also.test.yaml:1:28: error: unknown-step: stubs of test 'it': 'nowhere'" in told.err


@pytest.mark.parametrize(
    ("files", "options", "told"),
    [
        ([], {}, "name a playbook with tests, or a folder"),
        (["missing"], {}, "there is no file missing"),
        (["book"], {"name": "zzz"}, "there are no tests with 'zzz' in their name in book"),
        (["bare"], {}, "there are no tests in bare"),
        (["lonely.test.yaml"], {}, "lonely.test.yaml has the tests of a playbook beside it, and there is none"),
        (["book"], {"output": "x"}, "--output, --host and --port belong to --record"),
        (["book"], {"record": "12"}, "--record writes a test and runs none"),
    ],
)
def test_wrong_usage_is_a_sentence(here: Path, files: list[str], options: dict[str, Any], told: str) -> None:
    from noetl.errors import InputError

    write(here / "book.yaml", document(BOOK, GOOD))
    write(here / "bare.yaml", document(BOOK))
    write(here / "lonely.test.yaml", "tests: []\n")
    given = {"name": None, "verbose": False, "record": None, "output": None, "host": None, "port": None}
    with pytest.raises(InputError, match=told.replace("(", r"\(")):
        run_playbook_tests(files, **{**given, "as_json": False, **options})


def test_the_examples_pass_their_own_tests(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert run("examples", as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    tested = {row["file"].split("/")[1] for row in told}
    assert {
        "branching",
        "container",
        "errors",
        "http",
        "loops",
        "paging",
        "parallel",
        "retry",
        "shell",
        "subplaybook",
        "wait",
    } <= tested


def test_a_file_of_tests_alone_is_told_where_it_belongs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "only.yaml", "tests:\n" + "".join(f"  {line}\n" for line in GOOD.splitlines()))
    assert run("only.yaml") == 2
    assert "holds tests and no playbook: call it NAME.test.yaml beside the playbook" in capsys.readouterr().err

"""A playbook of a generation that is not read gets one sentence, wherever it is handed in."""

import pytest

from noetl.errors import PlaybookError
from noetl.playbook.load import document_kind, lint, load_playbook

V2 = """\
apiVersion: noetl.io/v2
kind: Playbook
metadata: {name: p, path: p}
executor: {profile: local}
workflow:
- step: start
  tool: {kind: shell, cmds: ["echo"]}
  next: {spec: {mode: exclusive}, arcs: [{step: end}]}
- step: end
"""


def told(text: str) -> list[str]:
    return [f"{one.line}:{one.column}: {one.code}: {one.message}" for one in lint(text, "f.yaml")]


def test_a_file_of_the_second_version_is_one_sentence() -> None:
    (found,) = told(V2)
    assert found.startswith(
        "1:13: generation: the file is of another generation (apiVersion noetl.io/v2, kind Playbook)"
    )
    assert "this program reads noetl.io/v1" in found
    assert "rewrite the file so, or run it with the NoETL that it was written for" in found


@pytest.mark.parametrize("tool", ["{kind: python, code: x}", "[{a: {kind: http}}, {b: {kind: python}}]", "{}"])
@pytest.mark.parametrize("section", ["workflow", "finally", "workbook", "steps"])
def test_so_is_one_whose_steps_hold_tools(tool: str, section: str) -> None:
    """Also where apiVersion says nothing of it."""
    (found,) = told(f"apiVersion: noetl.io/v1\nmetadata: {{path: p}}\n{section}:\n- {{step: a}}\n- {{tool: {tool}}}\n")
    assert found.startswith("5:10: generation: the file is of a later generation ('tool' holds a ")


def test_it_is_refused_with_that_sentence_alone() -> None:
    for refuse in (load_playbook, document_kind):
        with pytest.raises(PlaybookError) as caught:
            refuse(V2, "f.yaml")
        assert [problem.code for problem in caught.value.problems] == ["generation"]


@pytest.mark.parametrize("version", ["noetl.io/v1", "noetl.io", "v2", "5"])
def test_other_files_are_read_as_ever(version: str) -> None:
    """A version that is no generation's is one mistake among the others; documents of other kinds have their own."""
    found = told(f"apiVersion: {version}\nmetadata: {{path: p}}\nworkflow: [{{step: a, nxt: b}}]\n")
    assert len(found) == (1 if version == "noetl.io/v1" else 2)
    assert not any("generation" in one for one in found)
    assert document_kind("apiVersion: noetl.io/v2\nkind: Credential\nname: c\n", "f.yaml")[0] == "Credential"

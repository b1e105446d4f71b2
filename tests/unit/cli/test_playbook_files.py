"""Which file a PATH means, and which child playbooks it brings along."""

from pathlib import Path
from typing import Any

import pytest

from noetl.cli.playbook_files import catalog_path, child_paths, documents, find_file, register_tree, root_of
from noetl.errors import InputError, NotFound


def write(root: Path, path: str, *children: str) -> Path:
    """Write a playbook that calls others, where its catalog path says."""
    file = root / f"{path}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    steps = "".join(f"  - {{step: s{n}, type: playbook, path: {child}}}\n" for n, child in enumerate(children))
    file.write_text(f"metadata: {{path: {path}}}\nworkflow:\n{steps}")
    return file


class Catalog:
    """Stands for the server: takes documents, says where they are."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def register(self, content: str, filename: str) -> dict[str, Any]:
        self.files.append(Path(filename).name)
        path = content.partition("path: ")[2].partition("}")[0]
        return {"path": path, "version": 1, "kind": "Playbook", "created": True}


def test_the_suffix_may_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "a/one")
    Path("a/two.yml").write_text("")
    assert find_file("a/one") == Path("a/one.yaml")
    assert find_file("a/one.yaml") == Path("a/one.yaml")
    assert find_file("a/two") == Path("a/two.yml")
    assert find_file("a/three") is None
    assert find_file("a") is None
    assert find_file("") is None
    assert find_file("a\0b") is None


def test_what_is_no_file_is_a_catalog_path() -> None:
    assert catalog_path("a/b.yaml") == "a/b"
    assert catalog_path("./a/b") == "a/b"
    assert catalog_path("a/b") == "a/b"


def test_children_are_found_from_the_folder_less_the_catalog_path(tmp_path: Path) -> None:
    parent = write(tmp_path, "flows/parent", "flows/child", "other/deep/child.yaml")
    write(tmp_path, "flows/child", "flows/grandchild")
    write(tmp_path, "flows/grandchild")
    write(tmp_path, "other/deep/child")
    catalog = Catalog()
    entries = register_tree(parent, catalog.register)
    assert entries[0].path == "flows/parent"
    assert {entry.path for entry in entries} == {
        "flows/parent",
        "flows/child",
        "flows/grandchild",
        "other/deep/child",
    }


def test_playbooks_that_call_each_other_are_registered_once(tmp_path: Path) -> None:
    one = write(tmp_path, "one", "two", "one")
    write(tmp_path, "two", "one")
    catalog = Catalog()
    register_tree(one, catalog.register)
    assert catalog.files == ["one.yaml", "two.yaml"]


def test_a_child_that_is_not_there_is_left_to_the_catalog(tmp_path: Path) -> None:
    catalog = Catalog()
    register_tree(write(tmp_path, "a/one", "a/missing", "'{{ workload.x }}'", "../../etc/passwd"), catalog.register)
    assert catalog.files == ["one.yaml"]


def test_a_file_that_stands_elsewhere_brings_no_children(tmp_path: Path) -> None:
    file = write(tmp_path, "flows/parent", "flows/child")
    write(tmp_path, "flows/child")
    moved = tmp_path / "elsewhere.yaml"
    file.rename(moved)
    catalog = Catalog()
    register_tree(moved, catalog.register)
    assert catalog.files == ["elsewhere.yaml"]
    assert root_of(moved, "flows/parent") is None
    assert root_of(moved, "parent") == tmp_path


def test_a_child_beside_its_parent_is_found_if_it_says_that_it_is_the_one(tmp_path: Path) -> None:
    """As in folders that are called otherwise than the paths of what is in them."""
    parent = write(tmp_path, "flows/parent", "etl/child", "etl/other")
    parent = parent.rename(tmp_path / "parent.yaml")
    (tmp_path / "child.yaml").write_text("metadata: {path: etl/child}\nworkflow: []\n")
    (tmp_path / "other.yaml").write_text("metadata: {path: quite/other}\nworkflow: []\n")
    catalog = Catalog()
    register_tree(parent, catalog.register)
    assert catalog.files == ["parent.yaml", "child.yaml"]


def test_children_are_found_in_older_spellings(tmp_path: Path) -> None:
    text = """
name: p
workflow:
  - {step: a, type: playbooks, resource_path: flows/one}
  - {step: b, type: iterator, collection: [1], element: x, task: {type: playbook, playbook_path: flows/two}}
"""
    assert child_paths(text, "x") == ["flows/one", "flows/two"]


def test_only_constant_paths_of_playbook_steps_are_children() -> None:
    text = """
workload: {path: not/this}
workflow:
  - {step: a, type: http, path: not/this}
  - {step: b, type: playbook, path: "{{ workload.path }}"}
  - {step: c, "type": "playbook", path: this/one}
finally:
  - {step: d, type: playbook, path: that/one.yaml}
"""
    assert child_paths(text, "x") == ["this/one", "that/one"]
    assert child_paths("{unclosed: [type: playbook", "x") == []


def test_a_folder_means_every_document_below_it(tmp_path: Path) -> None:
    write(tmp_path, "b/two")
    write(tmp_path, "a/one")
    (tmp_path / "compose.yml").write_text("services: {}\n")
    (tmp_path / "notes.txt").write_text("metadata: {}\n")
    assert [file.name for file in documents([str(tmp_path)])] == ["one.yaml", "two.yaml"]
    with pytest.raises(NotFound, match="there is no file nothing"):
        list(documents(["nothing"]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match=r"there is no playbook in the folder .*empty"):
        list(documents([str(tmp_path / "empty")]))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"x\.yaml is not UTF-8"):
        register_tree(tmp_path / "x.yaml", Catalog().register)

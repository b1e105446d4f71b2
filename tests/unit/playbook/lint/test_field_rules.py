"""What lint says of fields that are written out is what the tools would say when they get them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from noetl.calls import Call
from noetl.playbook.load import lint
from noetl.tools.base import InvalidCall
from noetl.tools.save.order import read_order, storage_of

ROW = {"a": 1, "b": 2}
SAVES: list[dict[str, Any]] = [
    {"data": ROW},
    {"storage": "event_log", "data": ROW},
    {"data": ROW, "table": "t"},
    {"data": ROW, "path": "/x.csv"},
    {"storage": "postgres", "data": ROW},
    {"storage": "postgres", "data": ROW, "table": "t"},
    {"storage": "postgres", "data": ROW, "table": "t", "path": "/x.csv"},
    {"storage": "postgres", "data": ROW, "table": "t", "database": "d"},
    {"storage": "duckdb", "data": ROW, "table": "t", "database": "d"},
    {"storage": "postgres", "data": ROW, "table": "t", "statement": "SELECT 1"},
    {"storage": "postgres", "data": ROW, "table": "t", "params": [1]},
    {"storage": "postgres", "data": ROW, "table": "t", "mode": "upsert"},
    {"storage": "postgres", "data": ROW, "table": "t", "mode": "upsert", "key": "a"},
    {"storage": "postgres", "data": ROW, "table": "t", "mode": "upsert", "key": ["a", "b"]},
    {"storage": "postgres", "data": ROW, "table": "t", "mode": "upsert", "key": ["a", "c"]},
    {"storage": "postgres", "data": ROW, "table": "t", "key": "a"},
    {"storage": "postgres", "data": ROW, "table": "t", "mode": "insert", "key": "a"},
    {"storage": "postgres", "data": ROW, "statement": "SELECT :a", "mode": "insert"},
    {"storage": "postgres", "data": ROW, "statement": "SELECT :a"},
    {"storage": "postgres", "statement": "SELECT :a", "params": {"a": 1}},
    {"storage": "file", "data": ROW},
    {"storage": "file", "data": ROW, "path": "/x.csv"},
    {"storage": "file", "data": ROW, "path": "/x.PARQUET"},
    {"storage": "file", "data": ROW, "path": "/x.txt"},
    {"storage": "file", "data": ROW, "path": "/x.txt", "format": "csv"},
    {"storage": "file", "data": ROW, "path": "/x.csv", "key": "a"},
]


def errors(step: Mapping[str, Any]) -> list[str]:
    text = json.dumps({"metadata": {"path": "p"}, "workflow": [{"step": "start", **step}]})
    return [problem.message for problem in lint(text, "f") if problem.severity == "error"]


def refused(fields: Mapping[str, Any]) -> bool:
    call = Call("save", "k", "p#start", fields, {}, None, 1 << 20, {})
    try:
        storage = storage_of(call)
        if storage != "event_log":
            read_order(call, storage)
    except InvalidCall:
        return True
    return False


@pytest.mark.parametrize("fields", SAVES)
def test_lint_complains_of_a_save_where_the_tool_would(fields: dict[str, Any]) -> None:
    """As a step, as a block, and as a block of a loop."""
    python = {"type": "python", "code": "def main(): return 1"}
    wrong = refused(fields)
    assert bool(errors({"type": "save", **fields})) is wrong
    assert bool(errors({**python, "save": fields})) is wrong
    assert bool(errors({**python, "loop": {"in": [1], "save": fields}})) is wrong


def test_what_a_template_gives_is_not_known() -> None:
    for field, value in [("storage", "{{ 'file' }}"), ("mode", "{{ 'upsert' }}"), ("data", "{{ {} }}")]:
        fields = {"storage": "postgres", "table": "t", "mode": "upsert", "key": "a", "data": {"a": 1}, field: value}
        assert errors({"type": "save", **fields}) == []
    assert errors({"type": "save", "storage": "file", "data": ROW, "path": "{{ '/x' }}"}) == []
    assert errors({"type": "wait", "until": "{{ 'later' }}"}) == []


def test_the_sentence_says_what_to_do() -> None:
    fields = {"type": "save", "storage": "postgres", "data": ROW, "table": "t", "mode": "upsert"}
    assert errors(fields) == ["step 'start' has mode upsert and no 'key': add the column, or a list of columns"]
    assert errors({"type": "save", "data": ROW, "table": "t"}) == [
        "table of step 'start' does not go with storage event_log, the default"
    ]


@pytest.mark.parametrize("until", ["2026-01-31T08:00:00Z", "2026-01-31", 1700000000])
def test_moments(until: Any) -> None:
    assert errors({"type": "wait", "until": until}) == []


@pytest.mark.parametrize("until", ["tomorrow", "2026-02-30T08:00:00Z", True, 1e20])
def test_what_is_no_moment(until: Any) -> None:
    (found,) = errors({"type": "wait", "until": until})
    assert found.startswith("until of step 'start': ")
    assert "is no timestamp: write one like" in found


def test_an_argument_of_a_program_is_no_truth_value() -> None:
    assert errors({"type": "shell", "command": ["echo", True, 1]}) == [
        "command of step 'start' has true: write 'true' in quotes, which is text"
    ]

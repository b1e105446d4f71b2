"""Every example runs, on a real worker, against local stubs."""

from pathlib import Path
from typing import Any

import pytest

from noetl.database.connect import Database
from noetl.settings import Settings
from tests.support.stub import Answers, serving
from tests.support.working import Engine, working

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(str(path.relative_to(EXAMPLES.parent)) for path in EXAMPLES.rglob("*.yaml"))


def items(asked: dict[str, Any]) -> dict[str, Any]:
    """Three pages: two items, two items, one."""
    page = int(dict(asked["query"])["page"])
    return {"items": [f"{page}.{n}" for n in range(2 if page < 3 else 1)], "next": page + 1 if page < 3 else None}


ANSWERS: Answers = {
    "/forecast": lambda asked: {"city": dict(asked["query"])["city"], "temperature": 31},
    "/alerts": lambda asked: {"accepted": True},
    "/items": items,
    "/unsteady": lambda asked: {"value": 7},
}

RESULTS = {
    "examples/http/weather.yaml": {"city": "London", "temperature": 31, "alerted": True},
    "examples/paging/pages.yaml": {"items": 5},
    "examples/branching/temperature.yaml": {"text": "70 F: enjoy the day"},
    "examples/errors/compensate.yaml": {"charged": 50},
    "examples/parallel/join.yaml": {"sum": 31, "greatest": 9, "share": 0.29},
    "examples/subplaybook/child.yaml": {"text": "Hello, somebody!"},
    "examples/subplaybook/parent.yaml": {"greetings": ["Hello, Ada!", "Good evening, Grace!"]},
    "examples/test/simple_test.yaml": {"greeting": "Hello, world!", "length": 12},
}


@pytest.mark.parametrize("file", FILES)
def test_an_example_runs_to_its_end(file: str, database: Database, settings: Settings) -> None:
    engine = Engine(database, settings)
    for other in FILES:
        engine.register((EXAMPLES.parent / other).read_text())
    with serving(ANSWERS) as stub, working(settings):
        execution = engine.start(file.removesuffix(".yaml"), payload={"base_url": stub.url})
        status = engine.wait(execution)
    assert status == "completed", engine.error(execution)
    result = engine.result(execution)
    assert result == RESULTS[file] if file in RESULTS else result

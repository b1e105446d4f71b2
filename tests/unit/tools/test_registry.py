"""The registry of tools and the descriptors of step types speak of the same types."""

import importlib.util

from noetl.playbook.step_types import STEP_TYPES
from noetl.tools.registry import TOOLS
from noetl.words import ROUTER


def test_each_type_that_runs_in_a_thread_or_a_runner_has_a_tool_and_no_other_has() -> None:
    with_tool = {name for name, type_ in STEP_TYPES.items() if type_.place in ("thread", "runner")}
    assert TOOLS.keys() == with_tool
    assert all(tool.type == name for name, tool in TOOLS.items())
    assert all(type_.name == name for name, type_ in STEP_TYPES.items())


def test_only_the_worker_itself_carries_out_secrets_and_the_engine_the_rest() -> None:
    others = {name: type_.place for name, type_ in STEP_TYPES.items() if name not in TOOLS}
    assert others == {
        ROUTER: "decision",
        "fail": "decision",
        "playbook": "queue",
        "wait": "queue",
        "secrets": "worker",
    }


def test_descriptors_are_whole() -> None:
    for name, type_ in STEP_TYPES.items():
        assert type_.description.endswith("."), name
        assert set(type_.one_of) <= type_.fields.keys(), name
        assert not type_.aliases or type_.credentials, name
        assert type_.has_effects or not (type_.credentials or type_.runs_code or type_.prints or type_.keeps_files), (
            name
        )
        assert type_.stub.startswith("result: "), name
        assert not type_.keeps_files or any(spec.path for spec in type_.fields.values()), name


def test_the_modules_that_tools_import_later_exist() -> None:
    """A misspelt one would only make the first call slower, which nobody would notice."""
    for name, tool in TOOLS.items():
        assert all(importlib.util.find_spec(module) for module in tool.imports), name

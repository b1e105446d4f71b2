"""The reader of a test's `stubs`: the answers that steps get instead of being carried out."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.model import Step
from noetl.playbook.read.reader import Reader
from noetl.playbook.step_types import STEP_TYPES, WORKBOOK
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.templates.template import AnyTemplate
from noetl.playbook.testfile.model import Stub, StubAnswer
from noetl.playbook.yaml.tree import Node

RUN: Final = "run"
STUB_KINDS: Final = ("result", "render", "error", RUN)
SAVE_SUFFIX: Final = ".save"
"""Behind a step's name: the block `save` of that step."""

ITEM_INDEX: Final = re.compile(r"\d+(/\d+)*", re.ASCII)
"""An item of a loop: its index, in an inner loop behind those of the items around it."""

_ANSWER_KEYS: Final = frozenset({*STUB_KINDS, "when", "times", "takes"})
_ERROR_KEYS: Final = frozenset({"type", "message", "retryable", "detail", "cause"})
TYPES_WITHOUT_CALLS: Final = frozenset(name for name, type_ in STEP_TYPES.items() if not type_.has_jobs)
"""Types that the engine decides on the spot: there is no call to answer."""

Steps = Mapping[str, str]


def stubbed(steps: Iterable[Step], *, types: bool = True) -> Steps:
    """Return the types of all steps and blocks `save` that stubs and expectations can name.

    `types` false: types are not known.
    """
    types_by_name: dict[str, str] = {}
    for step in steps:
        types_by_name[step.name] = step.type if types else ""
        if step.save is not None or step.item_save is not None:
            types_by_name[step.name + SAVE_SUFFIX] = "save"
    return types_by_name


def read_stubs(reader: Reader, node: Node, steps: Steps | None, label: str) -> Mapping[str, Stub]:
    """Return stubs by the name of a step, or of a type that is no step's name. `steps` None: names are not checked."""
    stubs: dict[str, Stub] = {}
    for name, value in (reader.mapping(node, f"stubs of {label}") or {}).items():
        type_ = _type_of(reader, node.keys[name], name, steps, label)
        stub = _stub(reader, value, type_, f"the stub of {name!r} in {label}", node.keys[name].line)
        if stub is not None:
            stubs[name] = stub
    return stubs


def _type_of(reader: Reader, key: Node, name: str, steps: Steps | None, label: str) -> str | None:
    """Return the type of step that a stub is for, None where it is not known."""
    problem = None if steps is None else wrong_name(name, steps)
    if problem:
        reader.error(key, Code.UNKNOWN_STEP, f"stubs of {label}: {problem}")
        return None
    if steps is not None and name in steps:
        return steps[name] or None
    return name if steps is not None else None


def wrong_name(name: str, steps: Steps) -> str | None:
    """Return the fault of a stub's name; None if it names a step or a type."""
    if name in steps:
        message = f"the step {name!r} has no action: the engine itself decides it, there is nothing to stub"
        return message if steps[name] in TYPES_WITHOUT_CALLS else None
    if name in STEP_TYPES and name not in TYPES_WITHOUT_CALLS:
        return None
    if name == WORKBOOK:
        return "a stub for 'workbook' has no meaning: name the step, or the type of its task"
    known = [
        *(step for step, type_ in steps.items() if type_ not in TYPES_WITHOUT_CALLS),
        *(STEP_TYPES.keys() - TYPES_WITHOUT_CALLS),
    ]
    return f"{name!r} is neither a step nor a type{did_you_mean(name, known)}"


def _stub(reader: Reader, node: Node, type_: str | None, label: str, line: int) -> Stub | None:
    if node.kind == "list":
        answers = [_answer(reader, item, type_, label, in_list=True) for item in node.value]
        if not answers:
            reader.error(node, Code.MISSING, f"{label} is an empty list: write what its calls get")
        return Stub(line, tuple(answer for answer in answers if answer is not None))
    if node.kind != "mapping" or "items" not in node.value:
        answer = _answer(reader, node, type_, label)
        return None if answer is None else Stub(line, (answer,))
    own = None
    if node.value.keys() - {"items"}:
        own = _answer(reader, node, type_, label, also=frozenset({"items"}))
    return Stub(line, () if own is None else (own,), _items(reader, node.value["items"], type_, label))


def _items(reader: Reader, node: Node, type_: str | None, label: str) -> Mapping[str, Stub]:
    """Return the stubs of a loop's items by their index; a list has them in order."""
    if node.kind == "list":
        pairs = [(str(index), item, item) for index, item in enumerate(node.value)]
    else:
        pairs = [
            (key, node.keys[key], value) for key, value in (reader.mapping(node, f"items of {label}") or {}).items()
        ]
    stubs: dict[str, Stub] = {}
    for text, key, value in pairs:
        if not ITEM_INDEX.fullmatch(text):
            reader.error(key, Code.VALUE, f"items of {label}: {text!r} is no index: items count 0, 1, 2 ...")
            continue
        stub = _stub(reader, value, type_, f"item {text} of {label}", key.line)
        if stub is not None and stub.items:
            reader.error(
                value, Code.UNKNOWN_KEY, f"item {text} of {label} has items of its own: write '{text}/0' for them"
            )
        elif stub is not None:
            stubs[text] = stub
    return stubs


def _answer(
    reader: Reader,
    node: Node,
    type_: str | None,
    label: str,
    *,
    in_list: bool = False,
    also: frozenset[str] = frozenset(),
) -> StubAnswer | None:
    if node.kind == "scalar" and node.value == RUN:
        return _checked(reader, node, StubAnswer(node.line, RUN, times=1 if in_list else None), type_, label)
    if node.kind != "mapping":
        message = f"{label} is {node.describe()}: write 'result: ...', 'error: ...', or 'run' to carry the step out"
        reader.error(node, Code.WRONG_TYPE, message)
        return None
    keys: Mapping[str, Node] = node.value
    reader.unknown(node, _ANSWER_KEYS | also, label)
    kinds = [kind for kind in STUB_KINDS if kind in keys]
    if not kinds and keys.keys() - _ANSWER_KEYS - also:
        return None  # a misspelt key is one problem, not two
    if len(kinds) != 1:
        has = f"has both {kinds[0]!r} and {kinds[1]!r}" if kinds else "does not say what its calls get"
        reader.error(node, Code.MISSING, f"{label} {has}: give it one of result, render, error, run")
        return None
    when = reader.condition(keys["when"], "", f"when of {label}") if "when" in keys else None
    times = reader.integer(keys["times"], f"times of {label}", 1) if "times" in keys else None
    if times is None and in_list and when is None:
        times = 1
    answer = StubAnswer(
        node.line,
        kinds[0],
        result=reader.data(keys["result"], f"result of {label}") if "result" in keys else None,
        render=_template(reader, keys.get("render"), label),
        error=_error(reader, keys["error"], type_, label) if "error" in keys else None,
        when=when,
        times=times,
        takes=(reader.duration(keys["takes"], f"takes of {label}") or 0.0) if "takes" in keys else 0.0,
    )
    return _checked(reader, keys.get(RUN, node), answer, type_, label)


def _checked(reader: Reader, node: Node, answer: StubAnswer, type_: str | None, label: str) -> StubAnswer | None:
    if answer.kind != RUN:
        return answer
    if node.value is not True and node.value != RUN:
        reader.error(node, Code.WRONG_TYPE, f"run of {label} is {node.describe()}: it can only be true")
        return None
    if type_ is not None and type_ in STEP_TYPES and not STEP_TYPES[type_].runs_in_tests:
        message = f"{label}: a step of type {type_} has effects outside and cannot run in a test: give it a result"
        reader.error(node, Code.VALUE, message)
        return None
    return answer


def _template(reader: Reader, node: Node | None, label: str) -> AnyTemplate | None:
    return None if node is None else reader.template(node, "", f"render of {label}")


def _error(reader: Reader, node: Node, type_: str | None, label: str) -> Mapping[str, Any]:
    """Return the uniform error value. Text is a message; without more said, the error is worth a retry."""
    error = {"type": type_ or "error", "message": "", "retryable": True, "detail": None}
    if isinstance(node.value, str):
        return {**error, "message": node.value}
    keys = reader.mapping(node, f"error of {label}")
    if keys is None:
        return error
    reader.unknown(node, _ERROR_KEYS, f"error of {label}")
    for key, value in keys.items():
        inside = f"{key} in error of {label}"
        if key in ("type", "message", "cause"):
            error[key] = reader.text(value, inside)
        elif key == "retryable":
            error[key] = reader.boolean(value, inside)
        else:
            error[key] = reader.data(value, inside)
    return error

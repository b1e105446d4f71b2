"""The reader of the section `tests`: every problem with its place, all at once."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.read.reader import Reader
from noetl.playbook.testfile.expect import read_expectations
from noetl.playbook.testfile.model import Child, Stub, Test
from noetl.playbook.testfile.stubs import read_stubs
from noetl.playbook.yaml.tree import Node

TEST_KEYS: Final = frozenset(
    {
        "name",
        "desc",
        "payload",
        "merge",
        "execution_id",
        "now",
        "env",
        "secrets",
        "credentials",
        "stubs",
        "children",
        "cancel_at",
        "expect",
    }
)
_CHILD_KEYS: Final = frozenset({"file", "stubs"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Steps = Mapping[str, str]
"""The type of each step that stubs and expectations can speak of, empty where it could not be read."""


def read_tests(reader: Reader, node: Node | None, steps: Steps | None) -> tuple[Test, ...]:
    """Return the tests of a section. `steps` None: the playbook's steps are not known, names are not checked."""
    if node is None or node.null:
        return ()
    tests: dict[str, Test] = {}
    for item in reader.items(node, "tests"):
        test = _test(reader, item, steps)
        if test is None:
            continue
        if test.name in tests:
            line = tests[test.name].line
            message = f"the test {test.name!r} is defined twice (first in line {line}): rename one of them"
            reader.error(item.value["name"], Code.DUPLICATE_TEST, message)
            continue
        tests[test.name] = test
    return tuple(tests.values())


def _test(reader: Reader, node: Node, steps: Steps | None) -> Test | None:
    keys = reader.mapping(node, "a test")
    if keys is None:
        return None
    if "name" not in keys:
        reader.error(node, Code.MISSING, "a test has no name: give it 'name: what it shows'")
    name = reader.text(keys["name"], "the name of a test") if "name" in keys else None
    if name is not None and not name.strip():
        reader.error(keys["name"], Code.WRONG_TYPE, "the name of a test is empty: write what it shows")
    label = f"test {name!r}" if name else "a test"
    reader.unknown(node, TEST_KEYS, label)
    values = {key: value for key, value in keys.items() if not value.null}
    if "desc" in values:
        reader.text(values["desc"], f"desc of {label}")
    test = Test(
        name=name or "",
        line=node.line,
        file=reader.filename,
        payload=_values(reader, values.get("payload"), f"payload of {label}"),
        merge=bool("merge" in values and reader.boolean(values["merge"], f"merge of {label}")),
        execution_id=_id(reader, values.get("execution_id"), f"execution_id of {label}"),
        now=_moment(reader, values["now"], f"now of {label}") if "now" in values else None,
        env=_texts(reader, values.get("env"), f"env of {label}"),
        secrets=_values(reader, values.get("secrets"), f"secrets of {label}"),
        credentials=_values(reader, values.get("credentials"), f"credentials of {label}"),
        stubs=read_stubs(reader, values["stubs"], steps, label) if "stubs" in values else {},
        children=_children(reader, values["children"], label) if "children" in values else {},
        cancel_at=_cancels(reader, values.get("cancel_at"), label),
        expectations=read_expectations(reader, values.get("expect"), steps, label, node.line),
    )
    return test if test.name else None


def _values(reader: Reader, node: Node | None, label: str) -> Mapping[str, Any]:
    """Return a mapping of plain JSON values: data, never a template."""
    if node is None or reader.mapping(node, label) is None:
        return {}
    values: dict[str, Any] = reader.data(node, label)
    return values or {}


def _id(reader: Reader, node: Node | None, label: str) -> int:
    text = "1" if node is None else reader.text(node, label)
    if text is not None and text.isascii() and text.isdigit() and 0 < int(text) < 2**63:
        return int(text)
    if node is not None and text is not None:
        reader.error(node, Code.WRONG_TYPE, f"{label} is {text!r}: write the digits of an id")
    return 1


def _texts(reader: Reader, node: Node | None, label: str) -> Mapping[str, str]:
    if node is None:
        return {}
    pairs = (
        (name, reader.text(value, f"{name} in {label}")) for name, value in (reader.mapping(node, label) or {}).items()
    )
    return {name: text for name, text in pairs if text is not None}


def _moment(reader: Reader, node: Node, label: str) -> int | None:
    """Return a timestamp as microseconds since 1970; without a zone it is UTC."""
    text = reader.text(node, label)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        reader.error(node, Code.WRONG_TYPE, f"{label} is {text!r}: write a timestamp like 2026-01-31T08:00:00Z")
        return None
    return round(((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH).total_seconds() * 1_000_000)


def _cancels(reader: Reader, node: Node | None, label: str) -> tuple[float, ...]:
    if node is None:
        return ()
    items = node.value if node.kind == "list" else [node]
    moments = [reader.duration(item, f"cancel_at of {label}") for item in items]
    return tuple(seconds for seconds in moments if seconds is not None)


def _children(reader: Reader, node: Node, label: str) -> Mapping[str, Child]:
    children: dict[str, Child] = {}
    for path, value in (reader.mapping(node, f"children of {label}") or {}).items():
        key, inside = node.keys[path], f"child {path!r} of {label}"
        if path.endswith((".yaml", ".yml")):
            message = f"{inside}: a child is named by its path in the catalog: write {path.rpartition('.')[0]!r}"
            reader.error(key, Code.VALUE, message)
        file, stubs = value, dict[str, Stub]()
        if value.kind == "mapping":
            reader.unknown(value, _CHILD_KEYS, inside)
            file = value.value.get("file")
            if "stubs" in value.value and not value.value["stubs"].null:
                stubs = dict(read_stubs(reader, value.value["stubs"], None, inside))
        named = None if file is None or file.null else reader.name(file, f"the file of {inside}")
        children[path] = Child(key.line, key.column, named, stubs)
    return children

"""The reader of a document's keys beside its lists: apiVersion and kind, the workload, the options of executions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.read.document import API_VERSION, METADATA_KEYS, PLAYBOOK_KIND
from noetl.playbook.read.reader import Reader
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.templates.template import AnyTemplate, Constant
from noetl.playbook.yaml.tree import Node

DOCUMENT_KEYS: Final = frozenset(
    {
        *("apiVersion", "kind", "metadata", "workload", "additional", "workbook", "workflow", "finally"),
        *("timeout", "pool", "priority", "labels", "tests"),
    }
)
_PRIORITIES: Final = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a playbook's executions. `timeout` is in seconds."""

    timeout: float | None
    pool: str | None
    priority: int
    labels: Mapping[str, str] | None
    additional: bool  # whether a run may set names that the workload does not have


def check_document_keys(reader: Reader, root: Node) -> None:
    """Report unknown keys of the document and of its metadata, and another version or kind than is read here."""
    keys: Mapping[str, Node] = root.value
    reader.unknown(root, DOCUMENT_KEYS, "the playbook", "document")
    version, kind, metadata = (keys.get(key) for key in ("apiVersion", "kind", "metadata"))
    if version is not None and version.value != API_VERSION:
        reader.error(version, Code.VALUE, f"apiVersion is {version.describe()}: write {API_VERSION}")
    if (
        kind is not None
        and isinstance(kind.value, str)
        and not (kind.value == PLAYBOOK_KIND or did_you_mean(kind.value, (PLAYBOOK_KIND,)))
    ):
        reader.error(kind, Code.VALUE, f"kind is {kind.describe()}: a file that runs is of kind {PLAYBOOK_KIND}")
    if metadata is not None and metadata.kind == "mapping":
        reader.unknown(metadata, METADATA_KEYS, "metadata")


def read_workload(reader: Reader, node: Node | None) -> AnyTemplate:
    """Return the template of the workload, an empty mapping where there is none."""
    if node is None or node.null or reader.mapping(node, "workload") is None:
        return Constant({})
    return reader.template(node, "", "workload")


def read_options(reader: Reader, keys: Mapping[str, Node]) -> Options:
    """Read the options of a playbook's executions."""
    pool = reader.name(keys["pool"], "pool") if "pool" in keys else None
    additional = "additional" in keys and reader.boolean(keys["additional"], "additional") is True
    return Options(_timeout(reader, keys), pool, _priority(reader, keys), _labels(reader, keys), additional)


def _priority(reader: Reader, keys: Mapping[str, Node]) -> int:
    priority = reader.integer(keys["priority"], "priority") if "priority" in keys else None
    if priority is not None and priority not in _PRIORITIES:
        reader.error(keys["priority"], Code.VALUE, f"priority is {priority}: write a number of at most 32 bits")
    return priority or 0


def _labels(reader: Reader, keys: Mapping[str, Node]) -> dict[str, str] | None:
    node = keys.get("labels")
    if node is None or node.null:
        return None
    labels: dict[str, str] = {}
    for name, value in (reader.mapping(node, "labels") or {}).items():
        if value.kind == "scalar" and not value.null:
            labels[name] = value.text
        else:
            reader.error(value, Code.WRONG_TYPE, f"the label {name!r} is {value.describe()}: it must be text")
    return labels


def _timeout(reader: Reader, keys: Mapping[str, Node]) -> float | None:
    node = keys.get("timeout")
    if node is None or node.null:
        return None
    seconds = reader.duration(node, "timeout")
    if seconds == 0:
        reader.error(node, Code.VALUE, "timeout is 0: it must be more")
    return seconds

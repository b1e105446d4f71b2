"""The reader of a document's head: its kind, and the path, name and description in `metadata`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.read.reader import Reader
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.yaml.tree import Node

API_VERSION: Final = "noetl.io/v1"
PLAYBOOK_KIND: Final = "Playbook"
METADATA_KEYS: Final = frozenset({"name", "path", "description"})
_CATALOG_PATH: Final = re.compile(r"[\w.\-]+(?:/[\w.\-]+)*")


@dataclass(frozen=True, slots=True)
class Document:
    """The head of a document."""

    kind: str
    path: str
    name: str
    description: str


def read_head(reader: Reader, root: Node) -> Document | None:
    """Read the head of a document; None where it has no usable path."""
    keys = reader.mapping(root, "the document")
    if keys is None:
        return None
    kind = PLAYBOOK_KIND
    if "kind" in keys:
        kind = reader.name(keys["kind"], "kind") or PLAYBOOK_KIND
        near = did_you_mean(kind, (PLAYBOOK_KIND,))
        if near and kind != PLAYBOOK_KIND:
            reader.error(keys["kind"], Code.VALUE, f"the kind is {kind!r}{near}")
    node = keys.get("metadata")
    if node is None or node.null:
        reader.error(node or root, Code.MISSING, "there is no metadata: add 'metadata: {path: folder/name}'")
        return None
    metadata = reader.mapping(node, "metadata")
    if metadata is None:
        return None
    texts = {key: _optional(reader, metadata, key) for key in ("path", "name", "description")}
    path = texts["path"] or texts["name"]
    if not path:
        if all(key not in metadata or metadata[key].null for key in ("path", "name")):
            reader.error(node, Code.MISSING, "metadata has no path: add 'path: folder/name', the key in the catalog")
        return None
    place = metadata["path"] if texts["path"] else metadata["name"]
    _check_path(reader, place, path)
    return Document(kind, path, texts["name"] or path.rsplit("/", 1)[-1], texts["description"])


def _optional(reader: Reader, metadata: Mapping[str, Node], key: str) -> str:
    if key not in metadata or metadata[key].null:
        return ""
    read = reader.text if key == "description" else reader.name
    return read(metadata[key], f"metadata.{key}") or ""


def _check_path(reader: Reader, node: Node, path: str) -> None:
    parts = path.split("/")
    if not _CATALOG_PATH.fullmatch(path) or "." in parts or ".." in parts:
        reader.error(
            node, Code.PATH, f"the path {path!r} is not usable: write letters, digits, '_', '-', '.', with '/' between"
        )
    elif path.endswith((".yaml", ".yml")):
        reader.error(node, Code.PATH, f"the path {path!r} has a suffix: write {path.rsplit('.', 1)[0]!r}")
    elif len(path) > 500:
        reader.error(node, Code.PATH, "the path is longer than 500 characters: shorten it")

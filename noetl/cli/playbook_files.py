"""Playbook files: the file that a PATH means, and the child playbooks that it brings along."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from noetl.cli.json_object import JsonObject
from noetl.errors import InputError, NotFound

PLAYBOOK_SUFFIXES = (".yaml", ".yml")

_DOCUMENT_KEY = re.compile(r"^(apiVersion|kind|metadata|workflow)\s*:", re.MULTILINE)
_CHILD_CALL = re.compile(r"type['\"]?\s*:\s*['\"]?playbook")

Register = Callable[[str, str], JsonObject]
"""Put content with this file name into the catalog; return `{path, version, kind, created}`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file's place in the catalog."""

    file: Path
    path: str
    version: int
    kind: str
    created: bool


def find_file(text: str) -> Path | None:
    """Return the file that a PATH means, with its suffix or without, or None where it is none."""
    if "\0" in text:
        return None
    path = Path(text)
    for candidate in (path, *(path.with_name(path.name + suffix) for suffix in PLAYBOOK_SUFFIXES if path.name)):
        if candidate.is_file():
            return candidate
    return None


def catalog_path(text: str) -> str:
    """Return the catalog path that a PATH means which is no file."""
    for suffix in PLAYBOOK_SUFFIXES:
        text = text.removesuffix(suffix)
    return text.removeprefix("./")


def read_text(file: Path) -> str:
    """Return a file's text. Raises `InputError`."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text") from None


def documents(texts: Sequence[str]) -> Iterator[Path]:
    """Give the files that are named, and in folders every YAML file that looks like a document of NoETL.

    Raises `NotFound` for a file that is not there, and for a folder without any.
    """
    for text in texts:
        folder = Path(text)
        if folder.is_dir():
            below = (file for file in sorted(folder.rglob("*")) if file.suffix in PLAYBOOK_SUFFIXES and file.is_file())
            files = [file for file in below if is_document(read_text(file))]
            if not files:
                raise NotFound(f"there is no playbook in the folder {text}: no file there ends in .yaml and is one")
            yield from files
        elif (found := find_file(text)) is not None:
            yield found
        else:
            raise NotFound(f"there is no file {text}")


def is_document(text: str) -> bool:
    """Tell whether a YAML file's text looks like a document of NoETL."""
    return _DOCUMENT_KEY.search(text) is not None


def register_tree(file: Path, register: Register) -> list[Entry]:
    """Register a playbook and the child playbooks that it names, as far as they stand beside it.

    See `child_file`; a child that is not there may be in the catalog already. The first entry is the file's own.
    """
    entries: dict[str, Entry] = {}
    waiting = [file]
    while waiting:
        current = waiting.pop(0)
        text = read_text(current)
        done = register(text, str(current))
        entry = Entry(current, str(done["path"]), int(done["version"]), str(done["kind"]), bool(done["created"]))
        entries[entry.path] = entry
        for path in child_paths(text, str(current)):
            child = child_file(current, entry.path, path)
            if path not in entries and child is not None and child not in waiting:
                waiting.append(child)
    return list(entries.values())


def child_file(parent: Path, own: str, path: str) -> Path | None:
    """Return the file of a child playbook, None where it is not found; `own` is the parent's catalog path.

    It is looked for from the parent's folder less the folders of `own`, else beside the parent by the last part of its
    path: such a file counts if it says itself that it has this path.
    """
    root = root_of(parent, own)
    below = find_file(str(root / path)) if root is not None else None
    if below is not None:
        return below
    beside = find_file(str(parent.parent / PurePosixPath(path).name))
    return beside if beside is not None and _says_path(beside) == path else None


def _says_path(file: Path) -> object:
    """Return the catalog path that a file gives itself."""
    from noetl.playbook.load import read_document

    root, _problems = read_document(read_text(file), str(file))
    document = root.plain() if root is not None and root.kind == "mapping" else {}
    metadata = document.get("metadata")
    return (metadata.get("path") or metadata.get("name")) if isinstance(metadata, dict) else None


def root_of(file: Path, path: str) -> Path | None:
    """Return the folder that catalog paths count from, or None where the file stands elsewhere."""
    folder = file.resolve().parent
    parts = PurePosixPath(path).parts[:-1]
    if not parts:
        return folder
    if folder.parts[-len(parts) :] != parts:
        return None
    return folder.parents[len(parts) - 1]


def child_paths(text: str, filename: str) -> list[str]:
    """Return the catalog paths of the playbooks that a playbook calls by a constant path."""
    if not _CHILD_CALL.search(text):
        return []
    from noetl.playbook.load import read_document

    root, _problems = read_document(text, filename)
    paths: dict[str, None] = {}
    pending = [root.plain()] if root is not None else []
    while pending:
        value = pending.pop(0)
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            pending += value.values()
            path = value.get("path")
            if value.get("type") == "playbook" and isinstance(path, str) and "{{" not in path:
                clean = catalog_path(path)
                if clean and ".." not in PurePosixPath(clean).parts and not clean.startswith("/"):
                    paths[clean] = None
    return list(paths)

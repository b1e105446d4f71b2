"""Playbook files: which one a PATH means, and which child playbooks it brings along."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from noetl.errors import InputError, NotFound

SUFFIXES = (".yaml", ".yml")

_DOCUMENT = re.compile(r"^(apiVersion|kind|metadata|workflow)\s*:", re.MULTILINE)
_CALLS = re.compile(r"type['\"]?\s*:\s*['\"]?playbook")

Register = Callable[[str, str], dict[str, Any]]
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
    given = Path(text)
    for candidate in (given, *(given.with_name(given.name + suffix) for suffix in SUFFIXES if given.name)):
        if candidate.is_file():
            return candidate
    return None


def catalog_path(text: str) -> str:
    """Return the catalog path that a PATH means which is no file."""
    for suffix in SUFFIXES:
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


def documents(given: Sequence[str]) -> Iterator[Path]:
    """Give the files that are named, and in folders every YAML file that looks like a document of NoETL."""
    for text in given:
        folder = Path(text)
        if folder.is_dir():
            for file in sorted(folder.rglob("*")):
                if file.suffix in SUFFIXES and file.is_file() and _DOCUMENT.search(read_text(file)):
                    yield file
        elif (found := find_file(text)) is not None:
            yield found
        else:
            raise NotFound(f"there is no file {text}")


def register_tree(file: Path, register: Register) -> list[Entry]:
    """Register a playbook and the child playbooks that it names, as far as they stand beside it.

    A child is looked for from the file's folder less the folders of its catalog path; one that is not there may be
    in the catalog already. The first entry is the file's own.
    """
    entries: dict[str, Entry] = {}
    waiting = [file]
    while waiting:
        current = waiting.pop(0)
        text = read_text(current)
        done = register(text, str(current))
        entry = Entry(current, str(done["path"]), int(done["version"]), str(done["kind"]), bool(done["created"]))
        entries[entry.path] = entry
        root = root_of(current, entry.path)
        for path in child_paths(text, str(current)) if root is not None else ():
            child = find_file(str(root / path)) if root is not None else None
            if path not in entries and child is not None and child not in waiting:
                waiting.append(child)
    return list(entries.values())


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
    if not _CALLS.search(text):
        return []
    from noetl.playbook import yamltree

    root, _problems = yamltree.read(text, filename)
    found: dict[str, None] = {}
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
                    found[clean] = None
    return list(found)

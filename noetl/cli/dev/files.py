"""The files of `noetl dev`: registered at first and on each save; one with errors keeps its last version."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from noetl.cli.dev.screen import Screen
from noetl.cli.playbook_files import PLAYBOOK_SUFFIXES, is_document, read_text
from noetl.errors import InputError, PlaybookError, Problem

if TYPE_CHECKING:
    from noetl.orchestrator.commands import Registered

MAX_FILES = 5000
"""Most files of a folder that are watched."""

IMPORTED_SUFFIXES = (".py", ".sql")
"""Files that playbooks may take in: when one is saved, the playbooks are registered again."""

_SKIPPED_FOLDERS = ("node_modules", "__pycache__", "venv")
_TEST_SUFFIXES = (".test.yaml", ".test.yml")

Sign = tuple[int, int, int]
"""What changes when a file is saved: its time, size and number."""

Register = Callable[[str, str], "Registered"]


@dataclass(slots=True)
class Folder:
    """The playbooks below a folder. `paths` are those of the catalog that stand there, with their files."""

    root: Path
    register: Register
    screen: Screen
    paths: dict[str, Path] = field(default_factory=dict)
    _signs: dict[Path, Sign] = field(default_factory=dict)
    _versions: dict[Path, tuple[str, int]] = field(default_factory=dict)
    _broken: set[Path] = field(default_factory=set)
    _crowded: bool = False

    def look(self) -> list[str]:
        """Register what is new or was saved, and return the catalog paths that have a new version."""
        found = self._scan()
        gone = self._signs.keys() - found.keys()
        saved = [file for file, sign in found.items() if self._signs.get(file) != sign]
        self._signs = found
        for file in sorted(gone):
            self._forget(file)
        if any(file.suffix in IMPORTED_SUFFIXES for file in (*saved, *gone)):
            saved = list(found)
        return [
            path
            for file in sorted(saved)
            if file.suffix in PLAYBOOK_SUFFIXES and (path := self._take(file)) is not None
        ]

    def _scan(self) -> dict[Path, Sign]:
        signs: dict[Path, Sign] = {}
        for file in self._files():
            if len(signs) >= MAX_FILES:
                if not self._crowded:
                    self.screen.say(f"{self.root} has more than {MAX_FILES:,} files: the others are left out")
                self._crowded = True
                break
            try:
                stat = file.stat()
            except OSError:
                continue  # it was removed just now: the next look sees that
            signs[file] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return signs

    def _files(self) -> Iterator[Path]:
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS and not name.startswith("."))
            for name in sorted(names):
                plain = not name.startswith(".") and not name.endswith(_TEST_SUFFIXES)
                if plain and name.endswith((*PLAYBOOK_SUFFIXES, *IMPORTED_SUFFIXES)):
                    yield Path(folder, name)

    def _forget(self, file: Path) -> None:
        path, version = self._versions.pop(file, ("", 0))
        if path:
            self.paths.pop(path, None)
            self.screen.say(f"{file} is gone; version {version} of {path} stays in the catalog")

    def _take(self, file: Path) -> str | None:
        """Register one file; return its path where that has a new version."""
        try:
            text = read_text(file)
            if not is_document(text):
                return None
            problems = lint(text, str(file))
            for problem in problems:
                self.screen.problem(problem)
            if any(problem.severity == "error" for problem in problems):
                self._refused(file)
                return None
            done = self.register(text, str(file))
        except PlaybookError as error:
            for problem in error.problems:
                self.screen.problem(problem)
            self._refused(file)
            return None
        except InputError as error:
            self.screen.say(f"{error}")
            return None
        return self._registered(file, done)

    def _registered(self, file: Path, done: "Registered") -> str | None:
        other = self.paths.get(done.path)
        if other is not None and other != file:
            self.screen.say(f"{file} and {other} have the same path {done.path}: each save of one replaces the other")
        known = self._versions.get(file)
        self._versions[file], self.paths[done.path] = (done.path, done.version), file
        if known != (done.path, done.version) or file in self._broken:
            self.screen.registered(file, done.path, done.version, done.created)
        self._broken.discard(file)
        return done.path if done.created else None

    def _refused(self, file: Path) -> None:
        self._broken.add(file)
        path, version = self._versions.get(file, ("", 0))
        stays = f": version {version} of {path} stays" if path else ""
        self.screen.say(f"{file} was not registered{stays}")


def lint(text: str, filename: str) -> list[Problem]:
    """Return what lint says about a document; one that never runs has nothing to be checked."""
    from noetl.playbook import load
    from noetl.playbook.read.document import PLAYBOOK_KIND

    try:
        kind = load.document_kind(text, filename)[0]
    except PlaybookError:
        kind = PLAYBOOK_KIND
    return load.lint(text, filename, None) if kind == PLAYBOOK_KIND else []

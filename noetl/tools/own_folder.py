"""The protection of NOETL_HOME, where token, keys and the database's password are, from paths in data.

Tools that keep files of an execution get their folder from the worker; it is directly in the home.
"""

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from noetl.calls import Call
from noetl.tools.base import InvalidCall


def refuse_home(call: Call, place: str, value: object) -> None:
    """Raise `InvalidCall` where a text, or a text within a value, is a path or a pattern that leads into the home."""
    files = call.context.get("files")
    if files is not None:
        _look(Path(os.path.realpath(files)).parent, place, value)


def _look(home: Path, place: str, value: object) -> None:
    if isinstance(value, str):
        if any(_reaches(path, home) for path in _spellings(value)):
            raise InvalidCall(
                f"{place} leads into {home}, where NoETL keeps its token and keys: no playbook's file may be there"
            )
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _look(home, f"{place}.{key}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _look(home, f"{place}[{index}]", item)


def _spellings(text: str) -> tuple[str, str]:
    """Return a path as it is written and as the file system follows it, both absolute."""
    path = os.path.abspath(os.path.expanduser(text.removeprefix("file://").replace("\x00", "")))
    return path, os.path.realpath(path)


def _reaches(path: str, home: Path) -> bool:
    """Tell whether a path, which may be a pattern of DuckDB's, can name a file in the home."""
    parts = PurePath(path).parts
    for place, part in enumerate(home.parts):
        if place >= len(parts):
            return False
        if parts[place] == "**":
            return True
        if part != parts[place] and not fnmatchcase(part, parts[place]):
            return False
    return True

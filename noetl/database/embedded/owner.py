"""Whose a folder of the embedded Postgres is, for people who find it: what uses it, and how it is removed."""

import os
from pathlib import Path

NAME = "README.txt"

_TEXT = """\
This folder belongs to NoETL. It holds the embedded Postgres, with all playbooks and executions, of

    NOETL_HOME={home}

It is stopped with `NOETL_HOME={home} noetl db stop` and removed, with everything in it, by

    NOETL_HOME={home} noetl db remove

Where NoETL is no longer installed: end the process whose number is the first line of data/postmaster.pid (kill -INT),
then delete this folder{home_too}.
"""


def mark_folder(folder: Path, home: Path) -> None:
    """Write into a folder of the embedded Postgres whose it is, unless that stands there."""
    file = folder / NAME
    where = os.path.realpath(home)
    inside = os.path.realpath(folder).startswith(where + os.sep)
    text = _TEXT.format(home=where, home_too="" if inside else f" and {where}")
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return
    file.write_text(text, encoding="utf-8")


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    total = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue  # Postgres removes files while it runs
    return total

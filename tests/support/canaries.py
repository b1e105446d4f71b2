"""Canaries: secrets that must never be seen, and the looking for them everywhere."""

import base64
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote


class Canaries:
    """Secrets by name, each with its own random part, in every form in which it might sing."""

    def __init__(self, *names: str) -> None:
        self.values = {name: f'{name}-"{secrets.token_hex(8)}\\/ü' for name in names}

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def add(self, name: str, value: str) -> str:
        """Take in a secret that has a form of its own."""
        self.values[name] = value
        return value

    def found_in(self, data: bytes | str, names: Iterable[str] | None = None) -> set[str]:
        """Return the names of those that can be found in some data."""
        data = data.encode("utf-8", "replace") if isinstance(data, str) else data
        return {
            name
            for name, value in self.values.items()
            if (names is None or name in names) and any(form in data for form in _forms(value))
        }


def _forms(value: str) -> Iterator[bytes]:
    """Yield a value as it is, its random part, and both encoded: what would suffice to find the value out."""
    random = re.search(r"[0-9a-f]{16}", value)
    for text in {value, random[0] if random else value}:
        data = text.encode()
        yield data
        yield data[::-1]
        yield data.hex().encode()
        yield quote(text, safe="").encode()
        for offset in range(3):  # wherever it stands in what is encoded
            encoded = base64.b64encode(b"\0" * offset + data).rstrip(b"=")
            yield encoded[(0, 2, 3)[offset] : (offset + len(data)) * 8 // 6]


def processes() -> dict[int, str]:
    """Return the command lines of all processes that can be seen."""
    return {pid: _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace") for pid in _pids()}


def environment_of(pid: int) -> bytes:
    """Return the environment of a process, as it was started."""
    return _read(pid, "environ")


def memory_of(pid: int) -> bytes:
    """Return what a process can write to in its memory."""
    parts = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            place, rights, *_ = line.split()
            if "w" not in rights:
                continue
            begin, end = (int(part, 16) for part in place.split("-"))
            try:
                memory.seek(begin)
                parts.append(memory.read(end - begin))
            except OSError:
                continue  # a page that only the kernel reads
    return b"".join(parts)


def files_below(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield the files below a folder; those that vanish meanwhile are left out."""
    for parent, _, names in os.walk(folder):
        for name in names:
            file = Path(parent) / name
            try:
                if file.is_file():
                    yield file, file.read_bytes()
            except FileNotFoundError:
                continue


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""

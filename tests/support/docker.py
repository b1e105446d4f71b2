"""A Docker engine for tests, and an image that needs no registry: programs of this machine with their libraries."""

import io
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import docker
import pytest
from docker.errors import DockerException

from noetl.tools.container import knock

PROGRAMS = ("sh", "cat", "echo", "env", "sleep", "id", "ls")


def engine() -> docker.DockerClient:
    """Return the engine; skip, and say so loudly, where none answers."""
    try:
        knock()
        client = docker.from_env(timeout=60)
        client.ping()
    except (DockerException, OSError) as failure:
        reason = f"NOT TESTED: containers need a Docker engine, and none answers: {failure}"
        print(f"\n{'!' * 80}\n{reason}\n{'!' * 80}", file=sys.__stderr__)
        pytest.skip(reason)
    return client


@contextmanager
def small_image(client: docker.DockerClient) -> Iterator[str]:
    """Make an image of this machine's shell and a few programs; remove it afterwards."""
    tag = f"noetl-test-{uuid4().hex[:12]}:small"
    client.api.import_image_from_data(_archive(), repository=tag.split(":")[0], tag="small")
    try:
        yield tag
    finally:
        client.images.remove(tag, force=True)


def _archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for program in PROGRAMS:
            found = shutil.which(program)
            assert found, f"this machine has no {program}"
            archive.add(Path(found).resolve(), f"bin/{program}")
        for library in sorted(set(_libraries())):
            archive.add(Path(library).resolve(), library.lstrip("/"))
    return buffer.getvalue()


def _libraries() -> Iterator[str]:
    for program in PROGRAMS:
        told = subprocess.run(["ldd", shutil.which(program) or ""], capture_output=True, text=True, check=True).stdout
        yield from re.findall(r"(/\S+) \(0x", told)

"""scripts/bootstrap.sh where no Python will do: one sentence, and nothing is left behind."""

import fcntl
import re
import select
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("sh", "cat", "cksum", "dirname", "rm", "flock")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the script reads, and a PATH (`bin`) with nothing but what it calls."""
    for name in ("pyproject.toml", "requirements.txt", "requirements-dev.txt"):
        shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / "scripts").mkdir()
    text = (ROOT / "scripts" / "bootstrap.sh").read_text("utf-8")
    text, count = re.subn(r"/usr/(local/)?bin/python3[.\d]*", "no-such-python", text)
    assert count, "the pythons of this machine are out of reach for the test"
    (tmp_path / "scripts" / "bootstrap.sh").write_text(text, "utf-8")
    (tmp_path / "bin").mkdir()
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            (tmp_path / "bin" / name).symlink_to(found)
    return tmp_path


def python(clone: Path, lacks: str) -> None:
    """Put a python3 on PATH that cannot import one module, as Debian's without python3-venv."""
    shim = clone / "bin" / "python3"
    shim.write_text(f'#!/bin/sh\ncase "$2" in *{lacks}*) echo "No module named {lacks}" >&2; exit 1;; esac\n', "utf-8")
    shim.chmod(0o755)


def start(clone: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["sh", "scripts/bootstrap.sh"],
        cwd=clone,
        env={"PATH": str(clone / "bin"), "HOME": str(clone)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def bootstrap(clone: Path) -> subprocess.CompletedProcess[str]:
    with start(clone) as process:
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.parametrize("lacks", ["venv", "ensurepip", "sys.version_info"])
def test_a_python_without_venv_or_too_old_is_told_with_what_to_do(clone: Path, lacks: str) -> None:
    python(clone, lacks)
    done = bootstrap(clone)
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.startswith("NoETL needs Python 3.11 or newer with the modules venv and ensurepip")
    assert "python3-venv" in done.stderr
    assert "make PYTHON=" in done.stderr
    assert not (clone / ".venv").exists()


def test_no_python_at_all_is_told_too(clone: Path) -> None:
    done = bootstrap(clone)
    assert done.returncode != 0
    assert "found none" in done.stderr


@pytest.mark.skipif(not shutil.which("flock"), reason="without flock nobody waits")
def test_who_waits_for_another_installation_is_told_so(clone: Path) -> None:
    """The other terminal may be busy for minutes."""
    with (clone / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = start(clone)
        assert process.stderr is not None
        assert select.select([process.stderr], [], [], 10)[0], "it waits without a word"
        assert process.stderr.readline() == "Another make is installing here: waiting for it\n"
    with process:
        _, err = process.communicate(timeout=60)
    assert "found none" in err, "it goes on once the other is through"

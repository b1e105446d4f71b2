"""Modules that a runner imports once for all its forks, so that no call pays for them again.

Only what is installed (the standard library, site-packages) is imported there: a helper module beside the playbooks may
change, and is read anew by each call. A package is tried in a fork first. If its import starts threads or processes,
or changes what another step could see, each call imports it by itself.
"""

import contextlib
import gc
import importlib
import importlib.util
import os
import signal
import sys
import sysconfig
from collections.abc import Iterable
from typing import Any, Final

from noetl.worker.runner.descendants import IS_LINUX, die_with_parent, end_descendants

_EXCLUDED_MODULES: Final = frozenset({"antigravity", "this", "__main__", "noetl_step", "test", "idlelib", "turtledemo"})
_REGISTRY_MODULE: Final = "noetl.tools.registry"


class Preloaded:
    """The modules that have been imported, and those that must not be."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        paths = sysconfig.get_paths()
        self._installed = tuple(
            os.path.join(os.path.realpath(paths[name]), "") for name in ("stdlib", "platstdlib", "purelib", "platlib")
        )

    def load(self, tool: str, names: Iterable[str]) -> None:
        """Import the modules of a call ahead of it, as far as that is safe."""
        new = [name for name in (*_imports_of(tool), *names) if name not in self._seen]
        if not new:
            return
        self._seen.update(new)
        wanted = [name for name in new if name not in sys.modules and self._may_be_shared(name.partition(".")[0])]
        for name in wanted:
            if name == "duckdb":
                _import_duckdb()
            elif name.partition(".")[0] in sys.stdlib_module_names or _is_quiet(name):
                with contextlib.suppress(Exception):  # the call will say it
                    importlib.import_module(name)
        gc.collect()
        gc.freeze()  # so that a fork's collector does not touch, and thereby copy, all of this

    def _may_be_shared(self, root: str) -> bool:
        if root in _EXCLUDED_MODULES:
            return False
        if root in sys.stdlib_module_names:
            return True
        try:
            spec = importlib.util.find_spec(root)
        except (ImportError, ValueError):
            return False
        origin = spec.origin if spec is not None else None
        return origin is not None and os.path.realpath(origin).startswith(self._installed)


def _imports_of(tool: str) -> tuple[str, ...]:
    """Return the modules that a tool imports when it is first called."""
    if tool == "python":
        return ()
    from noetl.tools.registry import TOOLS  # runners that only see python never need the others

    return (_REGISTRY_MODULE, *TOOLS[tool].imports)


def _import_duckdb() -> None:
    """Import DuckDB and end the thread that its default connection has: `run_step` opens another for who uses it."""
    duckdb: Any = importlib.import_module("duckdb")
    duckdb.default_connection().close()


def _is_quiet(name: str) -> bool:
    """Whether importing a module leaves nothing but modules: no thread, no process, no setting of the interpreter."""
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent(True)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            before = _settings()
            importlib.import_module(name)
            os._exit(0 if before == _settings() and _threads() == 1 else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(pid, 0)
    end_descendants()
    return status == 0


def _threads() -> int:
    """Return how many threads this process has. The module `threading` is imported where it is needed only: each fork
    of a process that has it puts its locks right."""
    if IS_LINUX:
        return len(os.listdir("/proc/self/task"))
    import threading

    return threading.active_count()


def _settings() -> list[object]:
    """Return the settings that no import may have changed."""
    import decimal
    import locale
    import socket

    umask = os.umask(0o077)
    os.umask(umask)
    return [
        repr(decimal.getcontext()),
        locale.setlocale(locale.LC_ALL),
        socket.getdefaulttimeout(),
        sys.getrecursionlimit(),
        [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        dict(os.environ),
        os.getcwd(),
        umask,
    ]

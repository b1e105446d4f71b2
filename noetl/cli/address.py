"""Where the server of a NOETL_HOME is, which instance it serves, and the token it asks for.

`server.json` is written by the server while it runs: `{address, pid, instance}`. `instance` stays behind: with it a
client notices that it reached the server of another home. `token` is made when it is first needed.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any

from noetl.errors import SettingsError, Unreachable
from noetl.settings import Settings

DEFAULT_PORT = 8082


def url_of(host: str, port: int) -> str:
    """Return the address of a server as its clients write it; one that is bound to all is called by loopback."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def find_address(settings: Settings, host: str | None = None, port: int | None = None) -> str:
    """Return the address of the server: as given, else where this home's server says it is, else the default."""
    if host is not None or port is not None:
        return url_of(host or settings.host, port or settings.port or DEFAULT_PORT)
    running = read_address(settings.home)
    if running is not None:
        return str(running["address"])
    if settings.embedded:
        raise Unreachable(
            f"no server runs for {settings.home}: noetl server start, or give --host and --port{_home_beside(settings)}"
        )
    return url_of(settings.host, settings.port or DEFAULT_PORT)


def _home_beside(settings: Settings) -> str:
    """Say how to reach the server that Make has started in the working folder, "" if there is none."""
    beside = Path(".noetl")
    if beside.resolve() == settings.home.resolve() or read_address(beside) is None:
        return ""
    return f"; the server of this folder is reached with NOETL_HOME={beside}"


def read_address(home: Path) -> dict[str, Any] | None:
    """Return what this home's server has written about itself, or None."""
    try:
        found = json.loads((home / "server.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "address" in found else None


def write_address(home: Path, address: str, instance: str | None) -> None:
    """Write where this process serves, and what."""
    about = {"address": address, "pid": os.getpid(), "instance": instance}
    _replace(home / "server.json", json.dumps(about) + "\n", 0o644)
    if instance is not None:
        _replace(home / "instance", instance + "\n", 0o644)


def remove_address(home: Path) -> None:
    """Forget where this process served."""
    (home / "server.json").unlink(missing_ok=True)


def known_instance(settings: Settings) -> str | None:
    """Return the instance that this home's server served last, or None."""
    try:
        return (settings.home / "instance").read_text().strip() or None
    except OSError:
        return None


def read_token(settings: Settings) -> str | None:
    """Return the token that a client sends: NOETL_API_TOKEN, else the home's own, else None."""
    if settings.api_token:
        return settings.api_token
    try:
        return (settings.home / "token").read_text().strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsError(f"{settings.home / 'token'} cannot be read: {error.strerror}") from None


def make_token(settings: Settings) -> str:
    """Return the token that a server asks for; make the home's own (mode 0600) where there is none."""
    if found := read_token(settings):
        return found
    path = settings.home / "token"
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".token.{os.getpid()}")
        _write(temporary, secrets.token_urlsafe(32) + "\n", 0o600)
        try:
            os.link(temporary, path)  # whole, or not at all: another process may be making it, too
        except FileExistsError:
            if not path.read_text().strip():
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror}): set NOETL_HOME or NOETL_API_TOKEN") from None
    return path.read_text().strip()


def _replace(path: Path, text: str, mode: int) -> None:
    """Write a file so that nobody reads half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    _write(temporary, text, mode)
    temporary.replace(path)


def _write(path: Path, text: str, mode: int) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)

"""The address of a NOETL_HOME's server, the instance that it serves, and the token for it.

`server.json` is written by the server while it runs: `{address, socket, pid, instance}`. `instance` stays behind: with
it a client notices that it reached the server of another home. `token` is made when it is first needed.

The home's token goes through the home's socket only. Another address has to be named, and needs a token of its own:
NOETL_API_TOKEN. What `.env` names counts for the folder of that file: it may not send a token elsewhere that it does
not hold itself.
"""

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from noetl.cli.json_object import JsonObject
from noetl.errors import SettingsError, Unauthorized, Unreachable
from noetl.home import local_socket
from noetl.home.files import make_home, replace_file, write_new
from noetl.settings import DEFAULT_PORT, Settings


@dataclass(frozen=True, slots=True)
class ServerLocation:
    """Where a server is: behind the socket of `home`, or, where that is None, at an address that was named."""

    address: str
    home: Path | None = None
    from_dotenv: bool = False  # host or port stand in `.env`


def url_of(host: str, port: int) -> str:
    """Return the address of a server as its clients write it; one that is bound to all is called by loopback."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def find_server(settings: Settings, host: str | None = None, port: int | None = None) -> ServerLocation:
    """Return where to call: the given address, else this home's server, else the address that the settings name.

    Raises `Unreachable` where there is none of them: no port is guessed, since anybody may listen there.
    """
    running = read_address(settings.home)
    if host is None and port is None:
        if running is not None:
            return home_server(settings.home, running)
        if settings.embedded or not (settings.environment.get("NOETL_HOST") or settings.environment.get("NOETL_PORT")):
            raise Unreachable(
                f"no server runs for {settings.home}: noetl server start, or give --host and --port of one, with its"
                f" token in NOETL_API_TOKEN{_home_beside(settings)}"
            )
    address = url_of(host or settings.host, port or settings.port or DEFAULT_PORT)
    if running is not None and running["address"] == address and running.get("socket"):
        return home_server(settings.home, running)
    names = [name for name, flag in (("NOETL_HOST", host), ("NOETL_PORT", port)) if flag is None]
    return ServerLocation(address, from_dotenv=not settings.from_dotenv.isdisjoint(names))


def home_server(home: Path, running: JsonObject) -> ServerLocation:
    """Return where the server of a home is, by what it has written about itself.

    Raises `Unreachable` where it has no socket.
    """
    if running.get("socket"):
        return ServerLocation(str(running["address"]), home)
    raise Unreachable(
        f"the server of {home} has no socket there: start it again (its log says why it has none), or give --host and"
        " --port, with its token in NOETL_API_TOKEN"
    )


def _home_beside(settings: Settings) -> str:
    """Say how to reach the server that Make has started in the working folder, "" if there is none."""
    beside = Path(".noetl")
    if beside.resolve() == settings.home.resolve() or read_address(beside) is None:
        return ""
    return f"; the server of this folder is reached with NOETL_HOME={beside}"


def token_for(location: ServerLocation, settings: Settings) -> str | None:
    """Return the token that a client gives to a server, or None where the home has none.

    Raises `Unauthorized` where there is none for that address, and `SettingsError` where it is not to be sent there.
    """
    if location.home is not None:
        return read_token(settings)
    if settings.api_token is None:
        raise Unauthorized(
            f"there is no token for {location.address}: set NOETL_API_TOKEN to that server's; the token in"
            f" {settings.home} is given to this home's own server only"
        )
    if location.from_dotenv and "NOETL_API_TOKEN" not in settings.from_dotenv:
        raise SettingsError(
            f"{location.address} is named by {Path('.env').resolve()}, but NOETL_API_TOKEN is not from there: a token"
            " is not sent where a file of the working folder says; give --host and --port"
        )
    return settings.api_token


def read_address(home: Path) -> JsonObject | None:
    """Return what this home's server has written about itself, or None."""
    try:
        about = json.loads((home / "server.json").read_bytes())
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) and "address" in about else None


def write_address(home: Path, address: str, instance: str | None, *, socket: bool = True) -> None:
    """Write where this process serves, whether on the home's socket, too, and which instance."""
    about = {
        "address": address,
        "socket": str(local_socket.path_of(home)) if socket else None,
        "pid": os.getpid(),
        "instance": instance,
    }
    replace_file(home / "server.json", json.dumps(about) + "\n")
    if instance is not None:
        replace_file(home / "instance", instance + "\n")


def remove_address(home: Path) -> None:
    """Forget where this process served."""
    (home / "server.json").unlink(missing_ok=True)
    with suppress(FileNotFoundError, NotADirectoryError):  # a home need not have one
        local_socket.path_of(home).unlink()


def known_instance(settings: Settings) -> str | None:
    """Return the instance that this home's server served last, or None."""
    try:
        return (settings.home / "instance").read_text().strip() or None
    except OSError:
        return None


def read_token(settings: Settings) -> str | None:
    """Return the token of this home's server: NOETL_API_TOKEN, else the home's own, else None."""
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
    if token := read_token(settings):
        return token
    path = settings.home / "token"
    try:
        make_home(settings.home)
        temporary = path.with_name(f".token.{os.getpid()}")
        write_new(temporary, secrets.token_urlsafe(32) + "\n")
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

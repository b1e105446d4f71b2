"""The container tool: commands in containers of the Docker engine that the worker reaches.

Fields: `image`, `command` (text or list), `env`, `volumes` (`source:target[:ro]`, or a mapping), `workdir`, `user`,
`network`. The container's name is the step run's idempotency key: a container that a lost worker left behind under it
is removed before the next attempt begins, so no two attempts run at once on one engine. Its labels name database and
worker: where no next attempt comes, another worker removes the container (`worker/maintenance/containers.py`).
"""

import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from noetl.calls import Call
from noetl.errors import TooLarge
from noetl.outcomes import Done, Failed
from noetl.playbook.values import plain
from noetl.rules.text import storable
from noetl.tools.base import InvalidCall, Tool, failed_at
from noetl.words import fact

if TYPE_CHECKING:  # imported by the first call: most workers never make one
    import docker
    from docker.models.containers import Container

DEFAULT_TIMEOUT_SECONDS: Final = 3600.0
API_TIMEOUT_SECONDS: Final = 60
"""The time limit of one request to the engine; the run itself is none."""

ERROR_OUTPUT_BYTES: Final = 16 * 1024
"""The end of each stream that an error keeps."""

OUTPUT_TAIL_BYTES: Final = 48 * 1024
"""The end of what was printed that is kept as the step's output."""

KEY_LABEL: Final = "noetl.key"
DATABASE_LABEL: Final = "noetl.database"
WORKER_LABEL: Final = "noetl.worker"
DEFAULT_HOST: Final = "unix:///var/run/docker.sock"


class _Unavailable(Exception):
    """No engine answers, or the package is not installed."""


@dataclass(slots=True)
class _Printed:
    """The output of a container. `limit` is for both streams together."""

    limit: int
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)

    def take(self, stream: int, data: bytes) -> None:
        """Take a piece of stream 1 or 2. Raises `TooLarge`."""
        text = self.stderr if stream == 2 else self.stdout
        text += data
        self.tail += data
        del self.tail[:-OUTPUT_TAIL_BYTES]
        if len(self.stdout) + len(self.stderr) > self.limit:
            raise TooLarge(f"the container printed more than {self.limit:,} bytes: write to a volume instead")

    def described(self, code: int, kept: int | None = None) -> dict[str, Any]:
        begin = 0 if kept is None else -kept
        return {"exit_code": code, "stdout": _text(self.stdout[begin:]), "stderr": _text(self.stderr[begin:])}


@fact
class Owned:
    """A container that a worker made: its id, the idempotency key of the step run, and the worker."""

    id: str
    key: str
    worker: str


def run(labels: Mapping[str, str], call: Call) -> Done | Failed:
    """Run a container to its end and return `{exit_code, stdout, stderr}`. `labels` name its database and worker.

    Errors: `validation` (a field is wrong), `container` (no engine, no such image, another code than 0; `detail` has
    code and output), `timeout`, `too_large`.
    """
    printed = _Printed(call.limit)
    try:
        options = {**_options(call), "labels": {**labels, KEY_LABEL: call.key}}
        with _engine() as engine, _container(engine, call, options) as container:
            return _run(call, container, printed)
    except InvalidCall as failure:
        return failed_at(call.where, "validation", failure)
    except _Unavailable as failure:
        return failed_at(call.where, "container", failure, retryable=True)
    except TooLarge as failure:
        return failed_at(call.where, "too_large", failure, output=_text(printed.tail))


def cancel(call: Call) -> None:
    """Kill the container of a call that was given up; `run` then removes it."""
    import docker

    with _engine() as engine:
        try:
            engine.containers.get(container_name(call.key)).kill()
        except (docker.errors.NotFound, docker.errors.APIError):
            return  # it has ended, or is being removed


def container_name(key: str) -> str:
    """Return the name of the container that runs a step run, from its idempotency key."""
    return "noetl-" + re.sub(r"[^a-zA-Z0-9_.-]", "-", key)


def list_containers(database: str) -> list[Owned]:
    """Return the containers, running or not, of the workers on one database; none where no engine answers."""
    try:
        knock()  # before the SDK is imported: most workers never need it
        with _engine() as engine:
            containers = engine.api.containers(
                all=True, filters={"label": [f"{DATABASE_LABEL}={database}", WORKER_LABEL, KEY_LABEL]}
            )
    except (_Unavailable, OSError):
        return []
    return [
        Owned(container["Id"], container["Labels"][KEY_LABEL], container["Labels"][WORKER_LABEL])
        for container in containers
    ]


def remove_containers(ids: Iterable[str]) -> None:
    """Kill and remove containers. Raises `docker.errors.APIError` where the engine cannot."""
    with _engine() as engine:
        for each in ids:
            _remove(engine, each)


# ---- the call's fields -----------------------------------------------------------------------------------------------


def _options(call: Call) -> dict[str, Any]:
    """Return the options of the container. Raises `InvalidCall`."""
    fields = call.fields
    image = fields.get("image")
    if not isinstance(image, str) or not image.strip():
        raise InvalidCall(f"image is {image!r}: write the name of an image, as python:3.13-slim")
    options: dict[str, Any] = {
        "image": image.strip(),
        "command": _command(fields.get("command")),
        "environment": {"NOETL_IDEMPOTENCY_KEY": call.key, **_environment(fields.get("env"))},
        "volumes": _volumes(fields.get("volumes")),
        "working_dir": _name("workdir", fields.get("workdir")),
        "user": _name("user", fields.get("user")),
        "network": _name("network", fields.get("network")),
    }
    return {name: value for name, value in options.items() if value is not None}


def _command(command: object) -> Any:
    if command is None or isinstance(command, str):
        return command
    if not isinstance(command, list) or any(isinstance(part, (dict, list, bool)) or part is None for part in command):
        raise InvalidCall(f"command is {command!r}: write a text, or a list of the program and its arguments")
    return [str(part) for part in command]


def _environment(env: object) -> dict[str, str]:
    if env is None:
        return {}
    if not isinstance(env, Mapping):
        raise InvalidCall(f"env must be a mapping, not a {type(env).__name__}")
    return {name: _variable(value) for name, value in env.items() if value is not None}


def _variable(value: object) -> str:
    return value if isinstance(value, str) else plain(value, 1 << 20, "env").decode()


def _volumes(volumes: object) -> Any:
    """Return volumes as `source:target:mode` texts."""
    if volumes is None:
        return None
    if isinstance(volumes, Mapping):
        volumes = [f"{source}:{target}" for source, target in volumes.items()]
    if not isinstance(volumes, list):
        raise InvalidCall(f"volumes must be a list or a mapping, not a {type(volumes).__name__}")
    for volume in volumes:
        parts = volume.split(":") if isinstance(volume, str) else []
        if len(parts) not in (2, 3) or not all(parts) or parts[2:] not in ([], ["ro"], ["rw"]):
            raise InvalidCall(f"volumes has {volume!r}: write source:target, or source:target:ro")
    return volumes


def _name(name: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InvalidCall(f"{name} is {value!r}: it must be text")


# ---- the engine ------------------------------------------------------------------------------------------------------


@contextmanager
def _engine() -> "Iterator[docker.DockerClient]":
    """Open the engine that the environment names. Raises `_Unavailable`."""
    try:
        import docker.errors  # a folder docker in the working folder has no such module
    except ImportError:
        raise _Unavailable("containers need the package docker: pip install 'noetl[container]'") from None
    try:
        knock()
        engine = docker.from_env(timeout=API_TIMEOUT_SECONDS)
        engine.ping()
    except (docker.errors.DockerException, OSError) as failure:
        raise _Unavailable(
            f"no Docker engine answers ({failure}): start one on the worker's machine, or set DOCKER_HOST for it"
        ) from None
    try:
        yield engine
    except OSError as failure:  # requests' errors among them
        raise _Unavailable(f"the Docker engine no longer answers ({failure})") from None
    finally:
        engine.close()


def knock() -> None:
    """Raise `OSError` where nobody listens at the engine's socket: the SDK would leave its own socket open."""
    scheme, _, path = os.environ.get("DOCKER_HOST", DEFAULT_HOST).partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(path)


@contextmanager
def _container(engine: "docker.DockerClient", call: Call, options: dict[str, Any]) -> "Iterator[Container]":
    """Make the container, and remove it in any case."""
    import docker

    name = container_name(call.key)
    try:
        _remove(engine, name)
        named_options = {**options, "name": name}
        try:
            container = engine.containers.create(**named_options)
        except docker.errors.ImageNotFound:
            _pull(engine, call, options["image"])
            container = engine.containers.create(**named_options)
        try:
            yield container
        finally:
            _remove(engine, name)
    except docker.errors.APIError as failure:
        message = failure.explanation or str(failure)
        if failure.is_client_error():
            raise InvalidCall(f"the Docker engine refuses: {message}") from None
        raise _Unavailable(f"the Docker engine fails: {message}") from None


def _remove(engine: "docker.DockerClient", name: str) -> None:
    import docker

    try:
        engine.containers.get(name).remove(force=True, v=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as failure:
        if failure.status_code != 409:  # somebody is removing it already
            raise


def _pull(engine: "docker.DockerClient", call: Call, image: str) -> None:
    """Fetch an image, with the credential of type basic in `auth`, if there is one."""
    import docker

    login = call.auth.get("") or next(iter(call.auth.values()), {})
    config = {"username": login["username"], "password": login.get("password", "")} if login.get("username") else None
    try:
        tagged = ":" in image.rpartition("/")[2] or "@" in image
        engine.images.pull(image, tag=None if tagged else "latest", auth_config=config)
    except docker.errors.NotFound as failure:
        raise InvalidCall(f"there is no image {image}: {failure.explanation}") from None
    except docker.errors.APIError as failure:
        raise _Unavailable(f"the image {image} is not here and cannot be pulled: {failure.explanation}") from None


# ---- the run ---------------------------------------------------------------------------------------------------------


def _run(call: Call, container: "Container", printed: _Printed) -> Done | Failed:
    seconds = DEFAULT_TIMEOUT_SECONDS if call.timeout is None else call.timeout
    overran = threading.Event()
    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), _end, (container, overran))
    timer.daemon = True
    with _attached(container) as frames:
        container.start()
        timer.start()
        try:
            for stream, data in frames:
                printed.take(stream, data)
            code = int(container.wait(timeout=API_TIMEOUT_SECONDS)["StatusCode"])
        finally:
            timer.cancel()
    output = _text(printed.tail)
    detail = printed.described(code, ERROR_OUTPUT_BYTES)
    if overran.is_set():
        problem = f"the container was still running after its timeout of {seconds:g} s; it was killed"
        return failed_at(call.where, "timeout", problem, retryable=True, detail=detail, output=output)
    if code != 0:
        lines = detail["stderr"].strip().splitlines()
        problem = f"the container ended with exit code {code}" + (f": {lines[-1][:500]}" if lines else "")
        return failed_at(call.where, "container", problem, retryable=True, detail=detail, output=output)
    return Done(plain(printed.described(code), call.limit), output)


@contextmanager
def _attached(container: "Container") -> Iterator[Iterator[tuple[int, bytes]]]:
    """Yield the output of a container as (1 or 2, bytes), however long it is silent.

    It is attached before the start, so that nothing is missed. The SDK's own stream has the timeout of a request and is
    never closed.
    """
    from docker.utils.socket import frames_iter

    stream = container.attach_socket(params={"stdout": 1, "stderr": 1, "stream": 1})
    try:
        getattr(stream, "_sock", stream).settimeout(None)
        yield frames_iter(stream, tty=False)
    finally:
        getattr(stream, "_response", stream).close()  # the SDK keeps the response there; it closes the stream, too


def _end(container: "Container", overran: threading.Event) -> None:
    import docker

    overran.set()
    try:
        container.kill()
    except docker.errors.APIError:
        return  # it has just ended by itself


def _text(data: bytes | bytearray) -> str:
    """Return output as text that can be stored; bytes that are not UTF-8 are written as `\\xff`."""
    return storable(bytes(data).decode("utf-8", "backslashreplace"), 1 << 62)


def make_tool(labels: Mapping[str, str]) -> Tool:
    """Return the tool. `labels` (`DATABASE_LABEL`, `WORKER_LABEL`) are read whenever it makes a container, which has
    them."""
    return Tool("container", partial(run, labels), default_timeout=DEFAULT_TIMEOUT_SECONDS, cancel=cancel)

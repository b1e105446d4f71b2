"""What `.env` of a foreign folder names gets no password from elsewhere; the token has tests of its own."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from noetl.settings import load_settings

LIMIT = 30.0
SSL_REQUEST, GSS_REQUEST = struct.pack("!i", 80877103), struct.pack("!i", 80877104)


class Asking:
    """A server of Postgres' protocol that asks for the password as it is, and writes down what it is told."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.heard = b""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT)
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return  # it was shut down
            with peer, suppress(ConnectionError):  # the client may leave at any moment
                peer.settimeout(LIMIT)
                while (request := peer.recv(65536))[4:8] in (SSL_REQUEST, GSS_REQUEST):
                    peer.sendall(b"N")
                if request:
                    peer.sendall(b"R" + struct.pack("!ii", 8, 3))
                    self.heard += peer.recv(65536)


@pytest.fixture
def asking() -> Iterator[Asking]:
    with Asking() as asking:
        yield asking


@pytest.mark.parametrize("url", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_a_password_from_elsewhere_is_not_shown_to_a_database_that_dotenv_names(
    asking: Asking, url: bool, own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"POSTGRES_HOST=127.0.0.1\nPOSTGRES_PORT={asking.port}\nPOSTGRES_DB=d\nPOSTGRES_USER=u\n"]
    if url:
        lines = [f"NOETL_DATABASE_URL=postgresql://u@127.0.0.1:{asking.port}/d\n"]
    passwords = dict.fromkeys(("POSTGRES_PASSWORD", "NOETL_PASSWORD", "PGPASSWORD"), "the-password")
    for name, value in passwords.items():
        if own:
            lines.append(f"{name}={value}\n")
        else:
            monkeypatch.setenv(name, value)
    (tmp_path / ".env").write_text("".join(lines))
    settings = load_settings()
    for conninfo in (settings.admin_conninfo(), settings.login_conninfo("noetl", settings.password)):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(conninfo, connect_timeout=10)
    assert (b"the-password" in asking.heard) is own


def test_a_database_that_the_environment_names_is_asked_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOST", "DB", "USER", "PASSWORD"):
        monkeypatch.setenv(f"POSTGRES_{name}", name.lower())
    assert conninfo_to_dict(load_settings().admin_conninfo()) == {
        "host": "host",
        "port": "5432",
        "dbname": "db",
        "user": "user",
        "password": "password",
    }

"""The configuration of the embedded Postgres: the text of its `postgresql.conf`."""

from collections.abc import Mapping
from pathlib import Path

CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "jit": "off",  # no statement here is worth compiling
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] %a ",
    "autovacuum_naptime": "10s",  # the queue turns over quickly
    "password_encryption": "scram-sha-256",
}


def configuration_text(socket_folder: Path, more: Mapping[str, str] | None) -> str:
    """Return the text of the file, with the server's socket in a folder, and more settings laid over ours."""
    settings = {**CONFIGURATION, "unix_socket_directories": str(socket_folder), **(more or {})}
    lines = [f"{name} = {_quoted(value)}\n" for name, value in settings.items()]
    return "# Written anew at each start by NoETL.\n" + "".join(lines)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"

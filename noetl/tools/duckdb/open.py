"""An open DuckDB for a call: the file, extensions from installed packages only, and the call's credentials.

Nothing is ever downloaded: an extension is in a Python package `duckdb-extension-NAME` of exactly DuckDB's version.
"""

import importlib.util
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from noetl.calls import Call
from noetl.tools.base import InvalidCall
from noetl.tools.credential import hide, postgres_parts, secrets_of
from noetl.tools.own_folder import refuse_home
from noetl.tools.sql.bind import Bound, check_text, kind_of
from noetl.tools.sql.quoting import identifier, literal

if TYPE_CHECKING:
    import duckdb

IN_MEMORY: Final = ":memory:"
LOCK_WAIT_SECONDS: Final = 60.0
"""How long to wait for a file that another process has open."""

SINGLE_ALIAS: Final = "db"
"""The name in SQL of a single credential, which has no alias."""

_POSTGRES_SQL: Final = re.compile(
    r"\btype\s+'?postgres|\bpostgres_(?:scan|query|attach|execute)\w*\s*\(|'postgres(?:ql)?:", re.IGNORECASE
)
_OTHER_PARTS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey", "options")
"""The parts of a login that are no part of a secret of DuckDB's."""

_LOCKED_MESSAGE: Final = "Could not set lock on file"
_S3_OPTIONS: Final = {
    "access_key": "KEY_ID",
    "secret_key": "SECRET",
    "session_token": "SESSION_TOKEN",
    "region": "REGION",
    "endpoint": "ENDPOINT",
    "url_style": "URL_STYLE",
    "use_ssl": "USE_SSL",
}


class DatabaseUnavailable(Exception):
    """A database cannot be opened at the moment; the message is one sentence. Another attempt may help."""


@dataclass(slots=True)
class Opened:
    """An open DuckDB. `secrets` are hidden in its messages."""

    conn: "duckdb.DuckDBPyConnection"
    secrets: tuple[str, ...] = ()

    def hide(self, text: str) -> str:
        """Return text without the secrets of the call."""
        return hide(text, self.secrets)


def file_of(call: Call) -> str:
    """Return the database of a call: its field `database`, else a file of the execution's own. Raises `InvalidCall`."""
    name = call.fields.get("database")
    if name is not None:
        if not isinstance(name, str) or not name:
            raise InvalidCall(f"database must be a path or {IN_MEMORY}, not {kind_of(name) if name != '' else 'empty'}")
        check_text("database", name)
        if name != IN_MEMORY:
            refuse_home(call, "database", name)
        return name
    folder = call.context.get("files")
    if folder is None:
        return IN_MEMORY
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(Path(folder) / f"{call.context['execution_id']}.duckdb")


def open_duckdb(path: str, *, patience: float = LOCK_WAIT_SECONDS) -> Opened:
    """Open a database.

    Raises `InvalidCall` where DuckDB is not installed or the file cannot be opened, `DatabaseUnavailable` where another
    process has it open for too long.
    """
    try:
        import duckdb
    except ImportError:
        raise InvalidCall("DuckDB is not installed where this worker runs: pip install 'noetl[duckdb]'") from None
    deadline = time.monotonic() + patience
    while True:
        try:
            conn = duckdb.connect(path, config={"autoinstall_known_extensions": "false"})
            return Opened(conn)
        except duckdb.IOException as failure:
            if _LOCKED_MESSAGE not in str(failure):
                raise InvalidCall(f"the database {path!r} cannot be opened: {first_line(failure)}") from None
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"the database {path!r} was in use by another process for {patience:g} s"
                ) from None
            time.sleep(0.02)
        except duckdb.Error as failure:
            raise InvalidCall(f"the database {path!r} cannot be opened: {first_line(failure)}") from None


def first_line(failure: BaseException) -> str:
    """Return the message of an error without DuckDB's picture of the place."""
    text = str(failure).strip().split("\n\nLINE ")[0]
    return " ".join(text.split()) or type(failure).__name__


# ---- extensions ------------------------------------------------------------------------------------------------------


def load_extension(opened: Opened, name: str) -> None:
    """Load an extension from its package. Raises `InvalidCall` where that is not installed, or of another version."""
    import duckdb

    package = f"duckdb_extension_{name}"
    spec = importlib.util.find_spec(package)
    files = [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or ()]
    paths = [path for folder in files for path in folder.glob(f"extensions/v{duckdb.__version__}/*.duckdb_extension")]
    if not paths:
        raise InvalidCall(
            f"the SQL needs DuckDB's extension {name}, and nothing is downloaded while a playbook runs: pip install"
            f" duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}"
        )
    try:
        opened.conn.load_extension(str(paths[0]))
    except duckdb.Error as failure:
        raise InvalidCall(f"the extension {name} cannot be loaded: {first_line(failure)}") from None


def needed_by(commands: Iterable[Bound]) -> set[str]:
    """Return the extensions that SQL seems to need."""
    return {"postgres_scanner"} if any(_POSTGRES_SQL.search(command.text) for command in commands) else set()


def asked_for(command: Bound) -> str | None:
    """Return the extension that a LOAD or an INSTALL names, None for any other command.

    Both take what is installed as a package. Raises `InvalidCall` for an INSTALL that asks for a download.
    """
    first = command.words[:1]
    if command.words[:2] == ("FORCE", "INSTALL") or (first == ("INSTALL",) and len(command.text.split()) != 2):
        raise InvalidCall(
            "nothing is downloaded while a playbook runs: write INSTALL name, which takes what is installed"
        )
    if first not in (("LOAD",), ("INSTALL",)):
        return None
    name = command.text[len(first[0]) :].strip().strip("'\"").lower()
    name = {"postgres": "postgres_scanner", "mysql": "mysql_scanner", "sqlite": "sqlite_scanner"}.get(name, name)
    return name if name.isidentifier() else None


# ---- credentials -----------------------------------------------------------------------------------------------------


def log_in(opened: Opened, auth: Mapping[str, Mapping[str, object]], commands: Iterable[Bound]) -> None:
    """Give DuckDB the call's credentials: as secrets under their aliases, with Postgres databases attached under them
    unless the SQL attaches them itself. Raises `InvalidCall`, `DatabaseUnavailable`."""
    import duckdb

    words = {word for command in commands if command.words[:1] == ("ATTACH",) for word in command.text.upper().split()}
    for alias, credential in auth.items():
        name = alias or SINGLE_ALIAS
        check_text("an alias of auth", name)
        credential_name = f"the credential {alias!r}" if alias else "the credential"
        if credential.get("type") == "s3":
            _secret(opened, name, "s3", _s3(credential, credential_name), credential_name)
            continue
        parts = postgres_parts(credential, credential_name)
        opened.secrets += secrets_of(parts)
        options = {"HOST": parts.get("host") or parts.get("hostaddr"), "PORT": parts.get("port"), "USER": parts["user"],
                   "PASSWORD": parts.get("password"), "DATABASE": parts["dbname"]}  # fmt: skip
        _secret(opened, name, "postgres", options, credential_name)
        if name.upper() in words:
            continue
        other_parts = " ".join(f"{key}={_quoted(parts[key])}" for key in _OTHER_PARTS if key in parts)
        target = f"connect_timeout=10 {other_parts}".strip()
        try:
            opened.conn.execute(
                f"ATTACH {literal(target)} AS {identifier(name)} (TYPE postgres, SECRET {identifier(name)})"
            )
        except duckdb.Error as failure:
            raise DatabaseUnavailable(
                f"no connection to the database of {credential_name}: {opened.hide(first_line(failure))}"
            ) from None


def _secret(opened: Opened, name: str, kind: str, options: Mapping[str, object], credential_name: str) -> None:
    import duckdb

    load_extension(opened, {"postgres": "postgres_scanner", "s3": "httpfs"}[kind])
    listed = ", ".join(f"{key} {literal(str(value))}" for key, value in options.items() if value is not None)
    try:
        opened.conn.execute(f"CREATE OR REPLACE TEMPORARY SECRET {identifier(name)} (TYPE {kind}, {listed})")
    except duckdb.Error:  # the message may quote what it was given
        raise InvalidCall(f"{credential_name} has a value that DuckDB does not take") from None


def _s3(credential: Mapping[str, object], credential_name: str) -> dict[str, Any]:
    unknown = [str(name) for name in credential if name != "type" and name not in _S3_OPTIONS]
    if unknown:
        raise InvalidCall(
            f"{credential_name} has the field {unknown[0]!r}, which is unknown: there are {', '.join(_S3_OPTIONS)}"
        )
    return {_S3_OPTIONS[name]: value for name, value in credential.items() if name != "type"}


def _quoted(value: str) -> str:
    """Return a value as a connection string of Postgres takes it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

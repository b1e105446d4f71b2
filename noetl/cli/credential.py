"""`noetl credential`: add, list, show, remove, rotate, and make a key."""

import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from noetl.cli.connection.client import connect, segment
from noetl.cli.execute.start_options import read_payload
from noetl.cli.options import Host, Json, Port
from noetl.cli.terminal import note, print_json, print_table
from noetl.errors import InputError
from noetl.playbook.common_secrets import COMMON_WARNING, is_common
from noetl.playbook.credential_types import CREDENTIAL_TYPES, check_fields, check_name, check_type, secret_values
from noetl.settings import load_settings

app = typer.Typer(help="Credentials: add, list, show, remove, rotate.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the credential.")]


Type = Annotated[str, typer.Option("--type", metavar="T", help=f"Type: one of {', '.join(CREDENTIAL_TYPES)}.")]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="K=V",
        help="Field with its value: K=- asks for it, K=@FILE reads it, K=env:NAME takes a variable's. Repeatable.",
    ),
]
FieldsFile = Annotated[
    str | None, typer.Option("--input", metavar="FILE", help="File with the fields as a JSON object; - reads stdin.")
]
Description = Annotated[str, typer.Option("--description", help="Sentence that is shown in lists.")]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite the credential of this name. Default: an error.")]


@app.command()
def add(
    name: Name,
    type_: Type,
    sets: Fields = None,
    input_file: FieldsFile = None,
    description: Description = "",
    replace: Replace = False,
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Store a credential, encrypted.

    Others can see a command line: give values as K=-, K=@FILE, K=env:NAME or by --input.
    """
    check_name(name)
    check_type(type_)
    fields = {**read_payload(None, input_file), **read_fields(type_, sets or [], input_file)}
    body = {
        "name": name,
        "type": type_,
        "fields": check_fields(type_, fields),
        "description": description,
        "replace": replace,
    }
    stored = connect(load_settings(), host, port).post("/api/credentials", body, repeat=replace)
    for value in secret_values(type_, fields):
        if isinstance(value, str) and is_common(value):
            note(f"warning: a value of {name} {COMMON_WARNING}")
    if as_json:
        print_json(stored)
    else:
        note(f"the credential {name} of type {type_} is {'stored' if stored['created'] else 'replaced'}")


@app.command("list")
def list_credentials(
    type_: Annotated[str | None, typer.Option("--type", help="Type of the credentials. Default: all.")] = None,
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """List the credentials, without their values."""
    rows = connect(load_settings(), host, port).items("/api/credentials", {"type": type_})
    if as_json:
        print_json(rows)
        return
    columns = ("name", "type", "key_id", "updated_at", "description")
    print_table(columns, rows, empty="there are no credentials: noetl credential add")


@app.command()
def show(
    name: Name,
    reveal: Annotated[
        bool,
        typer.Option(
            "--reveal", help="Show the values, if the server has NOETL_CREDENTIAL_REVEAL=true. Default: masked."
        ),
    ] = False,
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Show a credential, its values masked."""
    query = {"reveal": "true" if reveal else None}
    credential = connect(load_settings(), host, port).get(f"/api/credentials/{segment(name)}", query)
    if as_json:
        print_json(credential)
        return
    note(f"{credential['name']}, {credential['type']}, key {credential['key_id']}, changed {credential['updated_at']}")
    rows = [{"field": field, "value": value} for field, value in credential["fields"].items()]
    print_table(("field", "value"), rows, empty="it has no fields")


@app.command()
def remove(name: Name, host: Host = None, port: Port = None, as_json: Json = False) -> None:
    """Remove a credential."""
    removed = connect(load_settings(), host, port).delete(f"/api/credentials/{segment(name)}")
    if as_json:
        print_json(removed or {"name": name})
    else:
        note(f"the credential {name} is removed")


@app.command()
def rotate(host: Host = None, port: Port = None, as_json: Json = False) -> None:
    """Encrypt all credentials anew with the first key of NOETL_ENCRYPTION_KEY, all or none."""
    rotated = connect(load_settings(), host, port).post("/api/credentials/rotate", {}, repeat=True)
    if as_json:
        print_json(rotated)
    else:
        count = rotated["rotated"]
        noun = "credential is" if count == 1 else "credentials are"
        note(f"{count} {noun} encrypted with the key {rotated['key_id']}")


@app.command()
def key() -> None:
    """Print a new key for NOETL_ENCRYPTION_KEY."""
    from noetl.database.keys import new_key

    print(new_key())


def read_fields(type_: str, pairs: Sequence[str], input_file: str | None = None) -> dict[str, str]:
    """Return the fields of `--set k=v`; a v of -, @FILE or env:NAME says where the value is. Raises `InputError`."""
    fields = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InputError(f"--set {name!r} is not of the form name=value")
        if text == "-" and input_file == "-":
            raise InputError(f"--set {name}=- and --input - both read stdin: give one of them")
        fields[name] = _value(type_, name, text)
    return fields


def _value(type_: str, name: str, text: str) -> str:
    if text == "-":
        return _asked(name)
    if text.startswith("@"):
        return _read(name, text[1:])
    if text.startswith("env:"):
        value = os.environ.get(text[4:])
        if value is None:
            raise InputError(f"--set {name}={text}: the environment variable {text[4:]} is not set")
        return value
    if _is_secret(type_, name):
        note(
            f"warning: the value of {name} stands in the list of processes and in the shell's history:"
            f" {name}=- asks for it, {name}=@FILE and {name}=env:NAME read it"
        )
    return text


def _asked(name: str) -> str:
    """Return a value that is typed in, unseen; from a pipe, its next line."""
    if sys.stdin.isatty():
        return getpass.getpass(f"{name}: ")
    line = sys.stdin.readline()
    if not line:
        raise InputError(f"--set {name}=-: stdin has no line with the value")
    return line.removesuffix("\n").removesuffix("\r")


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise InputError(f"--set {name}=@{path}: the file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"--set {name}=@{path}: the file is not UTF-8 text") from None


def _is_secret(type_: str, name: str) -> bool:
    fields: dict[str, Any] = dict(CREDENTIAL_TYPES[type_])
    spec = next((each for field, each in fields.items() if name in (field, *each.also)), None)
    return type_ == "generic" or bool(spec and spec.secret)

"""References: texts that stand in the place of a secret's value until the call is made.

`secret('name')` renders to a reference, and the result of a `secrets` step holds one. Rendering, the event log and
error messages see references only; the worker puts the values in where a tool is called. What is no reference of ours
stays the text that it is: those of `secret()` carry a code that only this process can make, those of `secrets` steps
are sealed by the worker (`noetl.worker.secrets.seals`).

    noetl-secret:c.SOURCE.CODE:        of a call of `secret()`, good in this process and for one step run only
    noetl-secret:s.KEY.SEALED:         of a `secrets` step, good in its tree of executions
    noetl-secret:...+json:             the same where it has become part of a JSON text: so is the value to be written
"""

import base64
import hmac
import json
import re
import secrets
from dataclasses import dataclass
from typing import Final

from noetl.errors import InputError
from noetl.playbook.credential_types import check_name

REFERENCE_CALL: Final = "secret()"
"""Stands among a template's names where it calls `secret`, and in its scope for the step run that the reference is
good for."""

REFERENCE_MARK: Final = "noetl-secret:"
"""What every reference begins with."""

APOSTROPHE: Final = "\\u0027"
"""An apostrophe in JSON text that the filter `tojson` writes."""

REFERENCE: Final = re.compile(rf"{REFERENCE_MARK}([cs]\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)((?:\+json)*):")
_KINDS: Final = ("credential", "env", "file")
_OWN: Final = re.compile(r"NOETL_|POSTGRES_|PG[A-Z]+$")
_CODE_KEY: Final = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a secret's value. `kind`: credential, env or file; `field` is a credential's."""

    kind: str
    name: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}{'.' if self.field else ''}{self.field}"


def read_source(text: object) -> Source:
    """Return the source of a secret that the argument of `secret()` names. Raises `InputError`."""
    if not isinstance(text, str) or not text:
        raise InputError("secret() takes a text: the name of a credential, 'env:NAME' or 'file:/path'")
    kind, colon, name = text.partition(":")
    if not colon:
        kind, name = "credential", text
    if kind == "credential":
        name, _, field = name.partition(".")
        return Source(kind, check_name(name), field)
    if kind == "env":
        return Source(kind, check_variable(name))
    if kind == "file":
        return Source(kind, check_file(name))
    raise InputError(
        f"secret({text!r}): there is no source {kind!r}: write the name of a credential, or one of"
        f" {', '.join(f'{each}:...' for each in _KINDS)}; google and aws are providers of a step of type secrets"
    )


def is_source(text: str) -> bool:
    """Whether `secret()` can be given this text."""
    try:
        read_source(text)
    except InputError:
        return False
    return True


def check_variable(name: str) -> str:
    """Return the name of an environment variable that playbooks may read. Raises `InputError`."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise InputError(f"{name!r} is no name of an environment variable")
    if _OWN.match(name):
        raise InputError(f"{name} is the engine's own variable, which playbooks cannot read: use another name")
    return name


def check_file(path: str) -> str:
    """Return the path of a file with a secret. Raises `InputError`."""
    if not path.startswith("/") or "\0" in path:
        raise InputError(f"the file {path!r} needs its whole path, as in 'file:/run/secrets/token'")
    return path


def refer(source: Source, bound: str) -> str:
    """Return the reference to a source; `bound` is the key of the step run that it is good for."""
    name = base64.urlsafe_b64encode(str(source).encode()).decode().rstrip("=")
    return f"{REFERENCE_MARK}c.{name}.{_code(name, bound)}:"


def source_of(body: str, bound: str) -> Source | None:
    """Return the source of a reference's body, None where `refer` has not made it for this step run."""
    kind, name, code = body.split(".")
    if kind != "c" or not hmac.compare_digest(code, _code(name, bound)):
        return None
    return read_source(base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode())


def inside_json(text: str) -> str:
    """Return a text as it stands inside a JSON text that the filter `tojson` wrote.

    >>> inside_json("O'Hara")
    'O\\\\u0027Hara'
    """
    return json.dumps(text, ensure_ascii=False)[1:-1].replace("'", APOSTROPHE)


def in_json(text: str) -> str:
    """Return a JSON text whose references say that they stand in one."""
    return (
        REFERENCE.sub(lambda match: f"{REFERENCE_MARK}{match[1]}{match[2]}+json:", text)
        if REFERENCE_MARK in text
        else text
    )


def _code(name: str, bound: str) -> str:
    return hmac.digest(_CODE_KEY, f"{name}.{bound}".encode(), "sha256").hex()[:32]

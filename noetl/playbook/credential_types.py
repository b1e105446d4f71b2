"""The types of credentials and their fields."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from noetl.errors import InputError, ValueNotJson
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.values import plain

MAX_CREDENTIAL_BYTES: Final = 64 * 1024
"""Bytes of a credential's fields, and of any secret."""

CREDENTIAL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
"""Names of credentials. They have no point, which divides the name from a field's."""


@dataclass(frozen=True, slots=True)
class CredentialField:
    """A field of a credential. `secret` values are masked wherever they turn up; `also` are further
    spellings."""

    required: bool = False
    secret: bool = False
    choices: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


_SECRET: Final = CredentialField(required=True, secret=True)

CREDENTIAL_TYPES: Final[Mapping[str, Mapping[str, CredentialField]]] = {
    "postgres": {
        "host": CredentialField(required=True, also=("db_host",)),
        "port": CredentialField(also=("db_port",)),
        "database": CredentialField(required=True, also=("dbname", "db_name")),
        "user": CredentialField(required=True, also=("username", "db_user")),
        "password": CredentialField(secret=True, also=("db_password",)),
        "sslmode": CredentialField(
            choices=("disable", "allow", "prefer", "require", "verify-ca", "verify-full"), also=("ssl_mode",)
        ),
        "url": CredentialField(secret=True, also=("dsn", "conninfo")),  # instead of the required ones
        "sslpassword": CredentialField(secret=True),
        **{name: CredentialField() for name in ("hostaddr", "sslrootcert", "sslcert", "sslkey", "channel_binding")},
        **{name: CredentialField() for name in ("connect_timeout", "application_name", "options")},
        "target_session_attrs": CredentialField(),
    },
    "bearer": {"token": _SECRET},
    "basic": {
        "username": CredentialField(required=True, also=("user",)),
        "password": _SECRET,
    },
    "api_key": {
        "value": CredentialField(required=True, secret=True, also=("api_key",)),
        "name": CredentialField(),
        "in": CredentialField(choices=("header", "query")),
    },
    "header": {"name": CredentialField(required=True), "value": _SECRET},
    "s3": {
        "access_key": CredentialField(required=True, also=("access_key_id", "key_id")),
        "secret_key": CredentialField(required=True, secret=True, also=("secret_access_key", "secret")),
        "session_token": CredentialField(secret=True),
        "region": CredentialField(),
        "endpoint": CredentialField(),
        "url_style": CredentialField(choices=("path", "vhost")),
        "use_ssl": CredentialField(choices=("true", "false")),
    },
    "generic": {},  # any fields, all of them secret
}
"""The types and their fields."""

MAIN_FIELDS: Final[Mapping[str, str]] = {
    "postgres": "password",
    "bearer": "token",
    "basic": "password",
    "api_key": "value",
    "header": "value",
    "s3": "secret_key",
    "generic": "value",
}
"""The field that is used where only the credential is named."""


def check_type(type_: object) -> str:
    """Return the type of a credential. Raises `InputError`."""
    if not isinstance(type_, str) or not type_:
        raise InputError(f"a credential needs a type: one of {', '.join(CREDENTIAL_TYPES)}")
    if type_ not in CREDENTIAL_TYPES:
        hint = did_you_mean(type_, CREDENTIAL_TYPES) or f": the types are {', '.join(CREDENTIAL_TYPES)}"
        raise InputError(f"unknown type of credential {type_!r}{hint}")
    return type_


def check_name(name: object) -> str:
    """Return the name of a credential. Raises `InputError`."""
    if not isinstance(name, str) or not CREDENTIAL_NAME.fullmatch(name):
        raise InputError(
            f"{name if isinstance(name, str) else type(name).__name__!r} cannot be the name of a credential: write"
            " letters, digits, '_' and '-', at most 100"
        )
    return name


def check_fields(type_: str, values: Mapping[str, object]) -> dict[str, Any]:
    """Return a credential's fields under their canonical names. Raises `InputError`, which tells no value."""
    if type_ == "generic":
        fields = _generic(values)
    else:
        fields = _canonical(type_, values)
        missing = [name for name, spec in CREDENTIAL_TYPES[type_].items() if spec.required and name not in fields]
        if "hostaddr" in fields and "host" in missing:
            missing.remove("host")
        if missing and "url" not in fields:
            raise InputError(f"a credential of type {type_} needs {_listed(missing)}")
    try:
        plain(fields, MAX_CREDENTIAL_BYTES, "the credential")
    except ValueNotJson:
        raise InputError(f"a field of the credential of type {type_} is not plain JSON: write text") from None
    return fields


def secret_values(type_: str, fields: Mapping[str, Any]) -> list[Any]:
    """Return the secret values of a credential."""
    spec = CREDENTIAL_TYPES.get(type_, {})
    secrets = [value for name, value in fields.items() if type_ == "generic" or (name in spec and spec[name].secret)]
    return secrets + _passwords_in(fields["url"]) if type_ == "postgres" and "url" in fields else secrets


def _passwords_in(url: str) -> list[str]:
    """Return the passwords of a connection string, as written and as decoded."""
    passwords = [match for match in re.findall(r"//[^/@:]*:([^@]*)@", url) if match]
    for quoted, plain_ in re.findall(r"password\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s&]+))", url):
        passwords += [quoted, re.sub(r"\\(.)", r"\1", quoted), plain_]
    return [text for each in passwords if each for text in (each, unquote(each))]


def _generic(values: Mapping[str, object]) -> dict[str, Any]:
    if not values:
        raise InputError("a credential of type generic needs at least one field")
    for name in values:
        if not isinstance(name, str) or not name or "." in name or len(name) > 100:
            raise InputError(f"{str(name)[:100]!r} cannot be a field's name: write a word without points")
    return dict(values)


def _canonical(type_: str, values: Mapping[str, object]) -> dict[str, Any]:
    spec = CREDENTIAL_TYPES[type_]
    names = {spelling: name for name, each in spec.items() for spelling in (name, *each.also)}
    fields: dict[str, Any] = {}
    for spelling, value in values.items():
        name = names.get(spelling)
        if name is None:
            hint = did_you_mean(str(spelling), names) or f": its fields are {', '.join(spec)}"
            raise InputError(f"a credential of type {type_} has no field {spelling!r}{hint}")
        if name in fields:
            raise InputError(f"the field {name!r} of a credential of type {type_} is given twice")
        if value is not None:
            fields[name] = _value(type_, name, value)
    return fields


def _value(type_: str, name: str, value: object) -> Any:
    """Return one value as text; a port as a number."""
    label = f"{name} of a credential of type {type_}"
    text = str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int | float) else value
    if not isinstance(text, str):
        raise InputError(f"{label} is a {type(value).__name__}: it must be text")
    spec = CREDENTIAL_TYPES[type_][name]
    if spec.required and not text and name != "password":
        raise InputError(f"{label} is empty")
    if spec.choices and text not in spec.choices:
        raise InputError(f"{label} must be one of {', '.join(spec.choices)}")
    if name == "port":
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
            raise InputError(f"{label} must be a number from 1 to 65535")
        return int(text)
    return text


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

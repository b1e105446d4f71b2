"""Parsers of settings: from the name of a setting and its text to its value, or to an error that names it."""

import base64
from collections.abc import Callable
from pathlib import Path

from noetl.errors import SettingsError


def plain_text(name: str, text: str) -> str:
    if "\0" in text:
        raise SettingsError(f"{name} holds a NUL character: remove it")
    return text


def path(name: str, text: str) -> Path:
    return Path(plain_text(name, text)).expanduser().absolute()


def boolean(name: str, text: str) -> bool:
    match text.strip().lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
        case _:
            raise SettingsError(f"{name} is {text!r}, but must be true or false")


def whole_number(least: int, most: int) -> Callable[[str, str], int]:
    def parse(name: str, text: str) -> int:
        try:
            number = int(text.strip().replace("_", ""))
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise SettingsError(f"{name} is {text!r}, but must be a whole number from {least} to {most}")
        return number

    return parse


def seconds(least: float, most: float) -> Callable[[str, str], float]:
    def parse(name: str, text: str) -> float:
        try:
            number = float(text.strip())
        except ValueError:
            number = least - 1
        if not least <= number <= most:  # NaN compares false, too
            raise SettingsError(f"{name} is {text!r}, but must be a number of seconds from {least} to {most}")
        return number

    return parse


def names(name: str, text: str) -> tuple[str, ...]:
    names = tuple(text.replace(",", " ").split())
    if not names:
        raise SettingsError(f"{name} is {text!r}, but must be names separated by commas")
    return names


def identifier(name: str, text: str) -> str:
    if len(plain_text(name, text).encode()) > 63:
        raise SettingsError(f"{name} is {text!r}, but a name in Postgres has at most 63 bytes: take a shorter one")
    if text.lower().startswith("pg_"):
        raise SettingsError(f"{name} is {text!r}, but Postgres keeps names with pg_ to itself: take another one")
    return text


def schema_name(name: str, text: str) -> str:
    if text in ("public", "information_schema", "noetl_inbox"):
        raise SettingsError(f"{name} is {text!r}, but NoETL needs a schema of its own: take another one")
    return identifier(name, text)


def encryption_keys(name: str, text: str) -> tuple[bytes, ...]:
    """Return the keys of a text, separated by commas. Raises `SettingsError`, which shows none of them."""
    keys = tuple(_key(part.strip()) for part in text.split(","))
    for number, key in enumerate(keys, 1):
        if key is None:
            which = f"key {number} of {name}" if len(keys) > 1 else name
            raise SettingsError(
                f"{which} is no key: it must be 32 bytes in Base64, as noetl credential key makes one"
                " (several are separated by commas)"
            )
    return tuple(key for key in keys if key is not None)


def _key(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None
    return key if len(key) == 32 else None


def connection_string(name: str, text: str) -> str:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(text)
    except ProgrammingError as error:  # its message may quote the password
        raise SettingsError(f"{name} is not a connection string (postgresql://user@host:port/db)") from error
    return text

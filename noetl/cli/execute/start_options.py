"""The values of an execution's start, read from the options of a command line."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noetl.cli.json_object import JsonObject
from noetl.cli.terminal import note
from noetl.errors import InputError


def read_payload(text: str | None, file: str | None) -> JsonObject:
    """Return the object given as --payload JSON or --input FILE (- is stdin). Raises `InputError`."""
    if text is not None and file is not None:
        raise InputError("--payload and --input exclude each other: give one of them")
    if text is not None:
        return _object(text, "--payload")
    if file is None:
        return {}
    if file == "-":
        return _object(sys.stdin.read(), "stdin")
    try:
        return _object(Path(file).read_text(encoding="utf-8"), file)
    except OSError as error:
        raise InputError(f"--input {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"--input {file} is not UTF-8 text") from None


def _object(text: str, name: str) -> JsonObject:
    try:
        value = json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        raise InputError(f"{name} is not JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{name} is nested too deep") from None
    if not isinstance(value, dict):
        kinds = {list: "an array", str: "a text", bool: "a boolean", type(None): "null"}
        raise InputError(f"{name} is {kinds.get(type(value), 'a number')}; it must be a JSON object")
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def read_sets(pairs: Sequence[str], texts: Sequence[str] = ()) -> JsonObject:
    """Return the `--set a.b=v` as one nested object, `texts` (those of `--set-string`) laid over the others.

    v is JSON if it parses, else text; of `texts` always text. A number that reads back otherwise is told on stderr.
    Raises `InputError`.
    """
    values: JsonObject = {}
    for pair, option in [*((pair, "--set") for pair in pairs), *((pair, "--set-string") for pair in texts)]:
        path, equals, text = pair.partition("=")
        names = path.split(".")
        if not equals or not all(names):
            raise InputError(f"{option} {pair!r} is not of the form name=value or name.name=value")
        place = values
        for name in names[:-1]:
            inner = place.setdefault(name, {})
            if not isinstance(inner, dict):
                inner = place[name] = {}
            place = inner
        value = _value(text) if option == "--set" else text
        if isinstance(value, (int, float)) and not isinstance(value, bool) and json.dumps(value) != text.strip():
            note(f"--set {pair} gives the number {json.dumps(value)}: --set-string {pair} gives the text")
        last = place.get(names[-1])
        place[names[-1]] = _laid(last, value) if isinstance(last, dict) and isinstance(value, dict) else value
    return values


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _laid(below: JsonObject, above: JsonObject) -> JsonObject:
    out = dict(below)
    for name, value in above.items():
        mine = out.get(name)
        out[name] = _laid(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return out


def read_labels(pairs: Sequence[str]) -> dict[str, str]:
    """Return the `--label k=v` as a mapping. Raises `InputError`."""
    labels = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"--label {pair!r} is not of the form name=value")
        labels[name] = value
    return labels

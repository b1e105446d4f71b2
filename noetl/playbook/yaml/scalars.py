"""The values of YAML scalars by YAML 1.2's core schema: `on`, `yes` and dates stay text."""

import re
from collections.abc import Callable
from typing import Any, Final

from noetl.rules.text import text_fault

TRUTH_WORDS: Final = {"yes": "true", "on": "true", "no": "false", "off": "false"}
"""Words that YAML 1.1 read as truth values, in small letters, with the truth value that they were."""

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OCTAL: Final = re.compile(r"0o[0-7]+", re.ASCII)
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NOT_A_NUMBER: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)
_TAG: Final = "tag:yaml.org,2002:"
COLLECTION_TAGS: Final = (_TAG + "map", _TAG + "seq")
"""The tags that a collection may have."""


def scalar_value(text: str, tag: str | None, plain: bool) -> Any:
    """Return a scalar's value; `plain`: it stands without quotes. Raises `ValueError` with the sentence to show."""
    fault = text_fault(text)
    if fault:
        raise ValueError(f"the text {fault}")
    if tag and tag != "!":
        return _tagged(tag, text)
    if tag == "!" or not plain:
        return text
    return _resolve(text)


def _resolve(text: str) -> Any:
    """Return the value of a plain scalar by YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if not (text[0].isdigit() or text[0] in "+-."):
        return text
    if _INTEGER.fullmatch(text) or _OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise ValueError(f"the number {text[:40]} is too large: write it as text, in quotes")
        return number
    if _NOT_A_NUMBER.fullmatch(text):
        raise ValueError(f"{text} is not JSON: write it as text, in quotes")
    return text


def _integer(text: str) -> int:
    number = int(text, 0 if text[:2] in ("0o", "0x") else 10) if len(text) <= 40 else 2**64
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"the integer {text[:40]} is beyond 64 bits: write it as text, in quotes")
    return number


def _tagged(tag: str, text: str) -> Any:
    """Return a scalar with an explicit tag such as `!!str`."""
    name = tag.removeprefix(_TAG)
    if name == "str":
        return text
    resolved = _resolve(text)
    kinds: dict[str, Callable[[Any], bool]] = {
        "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
        "float": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
        "bool": lambda value: isinstance(value, bool),
        "null": lambda value: value is None,
    }
    if name not in kinds:
        raise ValueError(
            f"the tag {tag_name(tag)} is not available: write the value plainly, or in quotes where it is text"
        )
    if not kinds[name](resolved):
        raise ValueError(f"{text!r} is no {name}")
    return float(resolved) if name == "float" else resolved


def tag_name(tag: str) -> str:
    """Return a tag as people write it."""
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag

"""Text as the event log and databases can hold it: without NUL and lone surrogates, and cut where it is long."""

import re
from typing import Final

MAX_TEXT_CHARACTERS: Final = 16 * 1024
"""The length of a message or traceback in an error."""

CUT_SIGN: Final = re.compile(r"(\n?\.\.\. [\d,]+ (?:characters|bytes) left out \.\.\.)")
"""The sign of a place where text was cut: what stands around it may be half of something."""


def text_fault(text: str) -> str | None:
    """Return why a text cannot be stored, to stand behind the name of its place; None where it can.

    >>> text_fault("a\\x00b")
    'contains a NUL character, which cannot be stored: remove it'
    """
    if "\x00" in text:
        return "contains a NUL character, which cannot be stored: remove it"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "contains a lone surrogate, which is not valid Unicode text: encode it another way"
    return None


def storable(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """Return text as it can be stored: NUL and lone surrogates escaped, its middle cut out over `limit` characters."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()

"""Names: which are allowed, and which one somebody probably meant."""

import difflib
import keyword
from collections.abc import Iterable


def is_identifier(name: str) -> bool:
    """Whether a name can stand in a template and in a Python signature."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest known name, or nothing."""
    names = [text for text in known if isinstance(text, str)]
    lowered = {text.lower(): text for text in reversed(names)}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.7)
    return f" (did you mean {lowered[near[0]]!r}?)" if near else ""

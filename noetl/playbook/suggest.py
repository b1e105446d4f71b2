"""Suggestions for misspelt names."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a name, if one is."""
    lowered = {text.lower(): text for text in known if isinstance(text, str)}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.65)
    return lowered[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest known name, or nothing."""
    near = nearest(name, known)
    return f" (did you mean {near!r}?)" if near else ""

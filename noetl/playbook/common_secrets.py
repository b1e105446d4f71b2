"""Common secrets: those that other texts contain by chance, as `demo` is in `a demonstration`.

They are masked as whole words, and only in text that people read; in results, which are data, they stay. Light: the
tools import it.
"""

from typing import Final

MIN_UNCOMMON_CHARACTERS: Final = 8
MIN_UNCOMMON_LETTERS: Final = 16
"""Characters from which a secret stands nowhere by chance: of any kind, and where all are letters."""


COMMON_WARNING: Final = (
    "is so short, or so much like a word, that it stands in other texts by chance: it is masked as a whole"
    " word, and only in errors and output, not in results"
)
"""The warning about such a secret, behind its name."""


def is_common(secret: str) -> bool:
    """Return whether a secret may well be a part of other texts."""
    return len(secret) < MIN_UNCOMMON_CHARACTERS or (len(secret) < MIN_UNCOMMON_LETTERS and secret.isalpha())

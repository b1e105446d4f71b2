"""The engine's SQL: one statement per file, named verb_noun like the function that runs it."""

from functools import cache
from importlib.resources import files


@cache
def sql(name: str) -> str:
    """Return the text of statement `name`."""
    return (files(__package__) / f"{name}.sql").read_text(encoding="utf-8")

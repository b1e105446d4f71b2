"""Shapes: which keys a value is known to have before anything has run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Shape:
    """A mapping with these keys and no others; or, with `listed`, a list that has these names beside its items.

    `numbered`: keys that match it are there, too, all of one shape. None in place of a shape stands for anything.
    """

    keys: Mapping[str, "Shape | None"]
    listed: bool = False
    numbered: tuple[re.Pattern[str], "Shape | None"] | None = None

    def has(self, key: str) -> bool:
        return key in self.keys or bool(self.numbered and self.numbered[0].fullmatch(key))

    def inner(self, key: str) -> "Shape | None":
        """Return the shape behind a key that is there."""
        return self.keys[key] if key in self.keys else self.numbered[1] if self.numbered else None


def shape_of(*keys: str) -> Shape:
    """Return the shape of a mapping with these keys, whose values can be anything."""
    return Shape(MappingProxyType(dict.fromkeys(keys)))

"""Puts bases and operators together: the cases, and which of them are held out.

Held out are whole operators and whole bases, by a hash of their name: their cases are not looked at while checks are
written, so that what is caught of them says how well the checks do where nobody looked.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tests.lint import (
    mistakes_code,
    mistakes_names,
    mistakes_routing,
    mistakes_structure,
    mistakes_templates,
    mistakes_values,
    mistakes_words,
)
from tests.lint.source import Base, Mistake

HERE = Path(__file__).parent
PER_BASE, PER_OPERATOR = 3, 12
"""How many cases an operator gives at most, for one base and in all."""
CREDENTIALS = frozenset({"warehouse", "api_key", "env:API_TOKEN", "k", "w"})
"""The credentials that exist where the corpus is linted."""

OPERATORS = {
    operator.__name__: operator
    for module in (
        *(mistakes_structure, mistakes_routing, mistakes_names),
        *(mistakes_templates, mistakes_code, mistakes_values, mistakes_words),
    )
    for operator in module.OPERATORS
}


@dataclass(frozen=True, slots=True)
class Case:
    """One seeded mistake."""

    operator: str
    base: str
    number: int
    mistake: Mistake

    @property
    def held_out(self) -> bool:
        return held_out(f"operator {self.operator}") or held_out(f"base {self.base}")

    def __str__(self) -> str:
        found = self.mistake
        digest = hashlib.sha256(found.text.encode()).hexdigest()[:8]
        return f"{self.operator} {self.base} {self.number} {found.line}:{found.column} {found.code} {digest}"


def held_out(name: str) -> bool:
    """Whether a base or an operator is held out: one in five of each, which makes a third of the cases."""
    return hashlib.sha256(name.encode()).digest()[0] % 5 == 0


@lru_cache(maxsize=1)
def bases() -> list[Base]:
    return [Base(file.stem, file.read_text()) for file in sorted((HERE / "bases").glob("*.yaml"))]


@lru_cache(maxsize=1)
def cases() -> list[Case]:
    """Return the whole corpus."""
    return [case for name in sorted(OPERATORS) for case in _of(name)]


def _of(name: str) -> list[Case]:
    """Return some of the mistakes that an operator makes, spread over the bases by a hash of their text."""
    found = []
    for base in bases():
        made = sorted(OPERATORS[name](base), key=_digest)
        found += [Case(name, base.name, number, mistake) for number, mistake in enumerate(made[:PER_BASE])]
    return sorted(found, key=lambda case: (case.number, _digest(case.mistake)))[:PER_OPERATOR]


def _digest(mistake: Mistake) -> bytes:
    return hashlib.sha256(mistake.text.encode()).digest()


def correct() -> Iterator[tuple[str, str]]:
    """Yield correct playbooks with their names: the bases, and each document of the files in `correct`."""
    for base in bases():
        yield f"bases/{base.name}", base.text
    for file in sorted((HERE / "correct").glob("*.yaml")):
        for number, text in enumerate(file.read_text().split("\n---\n"), 1):
            yield f"correct/{file.stem}-{number}", text + "\n"

"""Environment variables as templates see them: `env.X`."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

_SECRET_WORDS: Final = re.compile(
    r"(?:^|_)(?:KEY|PASS|PWD|PASSWD|PASSPHRASE|AUTH|DSN)S?(?:_|$)|SECRET|PASSWORD|TOKEN|CREDENTIAL|APIKEY|PRIVATE",
    re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    """Whether a variable is named like a secret."""
    return bool(_SECRET_WORDS.search(name))


class Env(Mapping[str, str]):
    """The environment variables that templates may read as `env.X`.

    Only those in `allowed` (the setting NOETL_TEMPLATE_ENV), and never one named like a secret: that is
    undefined, with a sentence of its own.
    """

    def __init__(self, allowed: tuple[str, ...], environ: Mapping[str, str]) -> None:
        self._allowed = {name: environ[name] for name in allowed if name in environ and not is_secret_name(name)}
        self._listed = frozenset(allowed)

    def __getitem__(self, name: str) -> str:
        value = self._allowed.get(name)
        if value is not None:
            return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._allowed)

    def __len__(self) -> int:
        return len(self._allowed)

    def missing(self, name: str) -> str:
        """Return the sentence for a variable that is not there."""
        if is_secret_name(name):
            return f"env.{name} is named like a secret: use secret('env:{name}')"
        if name in self._listed:
            return f"the environment variable {name} is not set"
        return f"env.{name} is not available: list {name} in NOETL_TEMPLATE_ENV to let playbooks read it"

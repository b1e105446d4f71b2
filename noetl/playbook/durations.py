"""Times as playbooks write them: lengths (`10`, `"10s"`, `"250ms"`, `"1h30m"`) and moments (ISO 8601)."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from noetl.errors import InputError
from noetl.playbook.values import brief

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART: Final = re.compile(rf"\s*(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})", re.ASCII)
_NUMBER: Final = re.compile(r"\s*\d+(?:\.\d+)?\s*", re.ASCII)
DURATION_PATTERN: Final = rf"(\s*[0-9]+(\.[0-9]+)?\s*({'|'.join(_UNITS)}))+\s*|\s*[0-9]+(\.[0-9]+)?\s*"
"""Duration as text, for other programs."""
MAX_SECONDS: Final = 100 * 365 * 86400.0
"""A hundred years: beyond it timestamps overflow."""
_MAX_DURATION_CHARACTERS: Final = 100
"""Characters of a text that can be a time."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def seconds(value: object) -> float:
    """Return a duration in seconds. A number, or text without a unit, is seconds already.

    Raises `InputError` for anything else, for a negative value and for more than a hundred years.
    """
    parsed = _parse(value)
    if parsed is None or not math.isfinite(parsed):
        raise InputError(f"{brief(value)} is not a duration: write seconds (10) or text like '250ms', '10s', '1h30m'")
    if parsed < 0:
        raise InputError(f"{brief(value)} is negative: a duration is zero or more")
    if parsed > MAX_SECONDS:
        raise InputError(f"{brief(value)} is more than a hundred years: write a shorter duration")
    return parsed


def moment(value: object) -> int:
    """Return a timestamp as microseconds since 1970; without a zone it is UTC. Raises `InputError`."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            time = datetime.fromtimestamp(value, UTC)
        elif isinstance(value, str) and len(value) <= _MAX_DURATION_CHARACTERS:
            time = datetime.fromisoformat(value)
        else:
            raise ValueError
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)  # may be before the year 1
        return (time - EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError, OSError):
        message = f"{brief(value)} is no timestamp: write one like 2026-01-31T08:00:00+01:00"
        raise InputError(message) from None


def _parse(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if not isinstance(value, str) or len(value) > _MAX_DURATION_CHARACTERS:
        return None
    if _NUMBER.fullmatch(value):
        return float(value)
    total, at, text = 0.0, 0, value.rstrip()
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            return None
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    return total if at else None

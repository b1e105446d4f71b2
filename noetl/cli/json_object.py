"""The type of a JSON object, as servers answer with it and commands print it."""

from typing import Any

JsonObject = dict[str, Any]

"""The values that fields with a choice can have, where a tool checks them again: a template may have given one."""

from typing import Final

HTTP_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
ISOLATIONS: Final = ("read committed", "repeatable read", "serializable")
BIG_NUMBERS: Final = ("error", "text")
SHELLS: Final = ("bash", "sh")
SECRET_PROVIDERS: Final = ("env", "credential", "file", "google", "aws")

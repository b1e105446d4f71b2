"""The account that gives the commands, for the log."""

import getpass
import socket


def account_name() -> str:
    """Return user@host of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in a container
        import os

        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"

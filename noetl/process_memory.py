"""Keep what a long-lived process was given (passwords, keys) from the other processes of its account.

Linux shows the environment that a process was started with in `/proc/PID/environ`, for as long as it lives, to every
process of the same account and to root: to each python or shell step. It shows memory and descriptors likewise.
"""

import ctypes
import os
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_ENV_START: Final = 50 - 3  # places in /proc/PID/stat, counted from the one behind the name
_ENV_END: Final = 51 - 3


def hide_environment() -> None:
    """Overwrite the environment that this process was started with, and close its memory to others of its account.

    The process keeps its variables, and its children get them. Root still sees the memory. Linux only.
    """
    if sys.platform != "linux":
        return
    for name, value in os.environb.items():
        os.unsetenv(name)
        os.putenv(name, value)  # the C library holds a copy now, and does not look at the original any more
    with open("/proc/self/stat", "rb") as file:
        places = file.read().rpartition(b")")[2].split()
    start, end = int(places[_ENV_START]), int(places[_ENV_END])
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)

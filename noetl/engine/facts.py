"""The outcomes of a job's attempts, as plain values.

Results travel as raw JSON text (`bytes`): most are stored without ever being looked at.
"""

from noetl.words import fact


@fact
class Collected:
    """A loop has been told what it runs over. `chunks` are JSON lists of `CHUNK` items each."""

    count: int
    concurrency: int
    chunks: tuple[bytes, ...]

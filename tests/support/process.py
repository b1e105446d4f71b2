"""Processes that tests start: none outlives a test that fails."""

import subprocess
from types import TracebackType


class Process(subprocess.Popen[str]):
    """A process with text on its pipes, which is killed where its block ends with an error."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the end of the process; where the block failed, nobody else would end it."""
        if kind is not None:
            self.kill()
        super().__exit__(kind, error, traceback)

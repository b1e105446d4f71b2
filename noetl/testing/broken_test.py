"""The error of a test that cannot go on: the test has to be changed, whatever the playbook does."""


class BrokenTest(Exception):
    """A test that cannot go on. `line` and `file`: where it has to be changed (0: where the test begins)."""

    def __init__(self, message: str, *, line: int = 0, advice: str = "") -> None:
        self.message = message
        self.line = line
        self.advice = advice
        super().__init__(message)

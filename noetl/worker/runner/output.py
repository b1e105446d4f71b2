"""The prints of calls: the tail of each, cut at the marks that a runner child puts behind its calls' output."""

from typing import Final

MAX_OUTPUT_BYTES: Final = 64 * 1024
"""How many bytes of a call's output are kept: the last ones."""

_NUMBER_BYTES: Final = 8
_LEFT_OUT_LINE: Final = b"... %d bytes left out ...\n"
_LEFT_OUT_BYTES: Final = 48  # what that may take of the tail


class RunnerOutput:
    """The output of one runner. Memory is bounded by `MAX_OUTPUT_BYTES` per call, however much is printed."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._tail = bytearray()
        self._dropped = 0
        self._ended: dict[int, str] = {}

    def feed(self, data: bytes) -> None:
        """Take bytes that came out of the pipe."""
        mark, tail = self._mark, self._tail
        at = max(0, len(tail) - len(mark) - _NUMBER_BYTES)
        tail += data
        while (mark_at := tail.find(mark, at)) >= 0:
            end = mark_at + len(mark) + _NUMBER_BYTES
            if len(tail) < end:
                break
            number = int.from_bytes(tail[mark_at + len(mark) : end], "little")
            self._ended[number] = self._text(bytes(tail[:mark_at]))
            del tail[:end]
            at = 0
        if len(tail) > 2 * MAX_OUTPUT_BYTES:
            self._dropped += len(tail) - MAX_OUTPUT_BYTES
            del tail[:-MAX_OUTPUT_BYTES]

    def has(self, number: int) -> bool:
        """Whether the mark of a call has come."""
        return number in self._ended

    def take(self, number: int) -> str:
        """Return the output of a call whose mark has come."""
        return self._ended.pop(number, "")

    def take_rest(self) -> str:
        """Return the output since the last mark: that of a call which ended without one."""
        text = self._text(bytes(self._tail))
        self._tail.clear()
        return text

    def __bool__(self) -> bool:
        return bool(self._tail)

    def _text(self, data: bytes) -> str:
        dropped, self._dropped = self._dropped, 0
        if dropped or len(data) > MAX_OUTPUT_BYTES:
            kept = data[_LEFT_OUT_BYTES - MAX_OUTPUT_BYTES :]
            data = _LEFT_OUT_LINE % (dropped + len(data) - len(kept)) + kept
        return data.decode("utf-8", "replace").replace("\x00", "\ufffd")

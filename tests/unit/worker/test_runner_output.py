"""What calls printed is cut at the marks, wherever the reads fall, and bounded."""

import pytest

from noetl.worker.runner.output import MAX_OUTPUT_BYTES, RunnerOutput

MARK = b"\x00noetl0123456789"


def mark(number: int) -> bytes:
    return MARK + number.to_bytes(8, "little")


@pytest.mark.parametrize("size", [1, 2, 7, 23, 1000])
def test_output_belongs_to_the_call_whose_mark_follows(size: int) -> None:
    output = RunnerOutput(MARK)
    data = b"one\n" + mark(1) + b"two\x00noetl\n" + mark(2) + mark(3) + b"rest"
    for at in range(0, len(data), size):
        output.feed(data[at : at + size])
    assert output.take(1) == "one\n"
    assert output.take(2) == "two\ufffdnoetl\n"
    assert output.take(3) == ""
    assert output.take_rest() == "rest"
    assert not output


def test_only_the_tail_is_kept_and_the_loss_is_told() -> None:
    output = RunnerOutput(MARK)
    for number in range(20_000):
        output.feed(b"line %09d\n" % number)
    output.feed(mark(1))
    text = output.take(1)
    assert len(text.encode()) <= MAX_OUTPUT_BYTES
    assert text.endswith("line 000019999\n")
    first = text.splitlines()[0]
    assert first.startswith("... ")
    assert first.endswith(" bytes left out ...")
    kept = len(text.encode()) - len(first) - 1
    assert int(first.split()[1]) == 20_000 * 15 - kept


def test_memory_is_bounded() -> None:
    output = RunnerOutput(MARK)
    for _ in range(1000):
        output.feed(b"x" * 65536)
        assert len(output._tail) <= 2 * MAX_OUTPUT_BYTES
    assert MAX_OUTPUT_BYTES - 64 < len(output.take_rest()) <= MAX_OUTPUT_BYTES


def test_what_is_not_text_is_shown_as_such() -> None:
    output = RunnerOutput(MARK)
    output.feed(b"\xff\x00a")
    assert output.take_rest() == "\ufffd\ufffda"

"""Bodies of the http tool: what is sent, and how an answer is decompressed and read. Hostile answers end at a limit."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.stub import Stub, serving
from tests.unit.tools.test_http import failure, result

ROWS = "".join(f"{number},name of {number}\n" for number in range(5000)).encode()


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    """A service that answers `/body` with what a test gives it."""
    with serving() as service:
        yield service


def packed(data: bytes) -> bytes:
    """Return data as gzip writes it, without the time: pytest names cases by their bytes."""
    return gzip.compress(data, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def bomb(layers: int) -> bytes:
    """Return a few kilobytes that are 200 MB once they have been decompressed."""
    packer = zlib.compressobj(9, wbits=31)
    data = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(200)), packer.flush()])
    for _ in range(layers - 1):
        data = packed(data)
    return data


# ---- compression -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", packed(ROWS)),
        ("x-gzip", packed(ROWS)),
        ("GZIP", packed(ROWS)),
        ("identity, gzip", packed(ROWS)),
        ("deflate", zlib.compress(ROWS)),
        ("deflate", raw_deflate(ROWS)),
        ("identity", ROWS),
        ("", ROWS),
        ("gzip", packed(ROWS[:7]) + packed(b"") + packed(ROWS[7:])),
        ("gzip", packed(ROWS) + bytes(512)),
    ],
)
def test_one_layer_of_a_known_compression_is_read_to_its_end(stub: Stub, encoding: str, body: bytes) -> None:
    stub.raw["/body"] = ({"Content-Type": "text/csv", "Content-Encoding": encoding}, body)
    assert result(f"{stub.url}/body")["data"] == ROWS.decode()


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("data", [zlib.compress(ROWS), raw_deflate(ROWS)])
def test_a_body_that_comes_in_small_pieces_is_read(stub: Stub, data: bytes, size: int) -> None:
    stub.raw["/body"] = ({"Content-Type": "text/csv", "Content-Encoding": "deflate"}, data)
    stub.pieces = size
    try:
        assert result(f"{stub.url}/body")["data"] == ROWS.decode()
    finally:
        stub.pieces = 0


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", packed(ROWS)[:-40]),
        ("gzip", packed(ROWS)[:-4]),
        ("gzip", packed(ROWS)[:5]),
        ("deflate", zlib.compress(ROWS)[:-9]),
        ("deflate", zlib.compress(ROWS)[:1]),
        ("gzip", packed(ROWS[:99]) + packed(ROWS[99:])[:-30]),
    ],
)
def test_a_body_that_was_cut_off_is_an_error_to_retry(stub: Stub, encoding: str, body: bytes) -> None:
    """The first rows of a table pass for all of it else."""
    stub.raw["/body"] = ({"Content-Type": "text/csv", "Content-Encoding": encoding}, body)
    error = failure(f"{stub.url}/body")
    assert error["type"] == "http"
    assert error["retryable"] is True
    assert f"ends in the middle of its {encoding} data" in error["message"]


@pytest.mark.parametrize(
    ("encoding", "body", "word"),
    [
        ("gzip, gzip", bomb(2), "compressed 2 times"),
        ("gzip,deflate,gzip", b"x", "compressed 3 times"),
        ("br", b"x", "compressed as 'br'"),
        ("punycode", b"x", "compressed as 'punycode'"),
        ("gzip", b"no gzip at all", "cannot be decompressed"),
        ("gzip", packed(ROWS) + b"<html>", "something behind"),
        ("deflate", zlib.compress(ROWS) + b"\0\0x", "something behind"),
    ],
)
def test_what_cannot_be_decompressed_is_an_error_that_says_why(
    stub: Stub, encoding: str, body: bytes, word: str
) -> None:
    stub.raw["/body"] = ({"Content-Encoding": encoding}, body)
    error = failure(f"{stub.url}/body")
    assert error["type"] == "http"
    assert error["retryable"] is False
    assert word in error["message"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_ends_at_the_limit(stub: Stub, encoding: str) -> None:
    data = bomb(1) if encoding == "gzip" else zlib.compress(bytes(200 << 20))
    stub.raw["/body"] = ({"Content-Encoding": encoding}, data)
    tracemalloc.start()
    try:
        error = failure(f"{stub.url}/body")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error["type"] == "too_large"
    assert peak < 100 << 20


def test_members_without_content_end_at_the_limit(stub: Stub) -> None:
    """What is sent counts too: a body may be large and give nothing."""
    stub.raw["/body"] = ({"Content-Encoding": "gzip"}, packed(b"") * 10_000)
    assert failure(f"{stub.url}/body", limit=100_000)["type"] == "too_large"


def test_a_head_of_something_compressed_has_no_body(stub: Stub) -> None:
    stub.raw["/body"] = ({"Content-Encoding": "gzip"}, packed(ROWS))
    assert result(f"{stub.url}/body", method="HEAD")["data"] is None


# ---- charsets and JSON -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "data"),
    [
        ("text/plain; charset=latin-1", "grüße".encode("latin-1"), "grüße"),
        ('text/plain; charset="ISO-8859-15"', "10 €".encode("iso-8859-15"), "10 €"),
        ("text/plain; Charset=windows-1252", "„ja“".encode("cp1252"), "„ja“"),
        ("text/plain; charset=utf-16", "grüße".encode("utf-16"), "grüße"),
        ("text/plain; charset=Shift_JIS", "日本".encode("shift_jis"), "日本"),
        ("text/csv", b"\xef\xbb\xbfid,name", "id,name"),
        ("text/csv; charset=utf-8", b"\xef\xbb\xbfid,name", "id,name"),
        ("text/plain; charset=punycode", b"a" * 200_000, None),
        ("text/plain; charset=undefined", b"abc", None),
        ("text/plain; charset=idna", b"abc", None),
        ("text/plain; charset=unicode_escape", b"abc", None),
        ("text/plain; charset=zlib", b"abc", None),
        ("text/plain; charset=nonsense", b"abc", None),
        ("text/plain; charset=\xe4", b"abc", None),
    ],
)
def test_text_is_read_in_the_charsets_that_are_known(stub: Stub, kind: str, body: bytes, data: str | None) -> None:
    """A body in another charset comes as base64, as any that is no text."""
    stub.raw["/body"] = ({"Content-Type": kind}, body)
    got = result(f"{stub.url}/body")["data"]
    assert set(got) == {"base64"} if data is None else got == data


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'\xef\xbb\xbf{"n": "gr\xc3\xbc\xc3\x9fe"}'),
        ("application/json; charset=iso-8859-1", '{"n": "grüße"}'.encode("latin-1")),
        ("application/json; charset=UTF-16", '{"n": "grüße"}'.encode("utf-16")),
        ("application/json", '{"n": "grüße"}'.encode("utf-16-le")),
        ("APPLICATION/JSON; charset=utf-8", '{"n": "grüße"}'.encode()),
        ("application/problem+json", '{"n": "grüße"}'.encode()),
    ],
)
def test_json_is_read_with_a_byte_order_mark_and_in_its_charset(stub: Stub, kind: str, body: bytes) -> None:
    stub.raw["/body"] = ({"Content-Type": kind}, body)
    assert result(f"{stub.url}/body")["data"] == {"n": "grüße"}


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n", b"\xef\xbb\xbf\n"])
def test_a_blank_body_is_no_json_and_no_error(stub: Stub, body: bytes) -> None:
    stub.raw["/body"] = ({"Content-Type": "application/json"}, body)
    assert result(f"{stub.url}/body")["data"] is None


@pytest.mark.parametrize(
    "body", [b"{", b"[NaN]", b"[Infinity]", b"\xff\xfe{", b'{"a": "\xff"}', b"[" * 100_000, b'["1234567890123456789",]']
)
def test_what_says_it_is_json_and_is_not_is_an_error(stub: Stub, body: bytes) -> None:
    stub.raw["/body"] = ({"Content-Type": "application/json"}, body)
    error = failure(f"{stub.url}/body")
    assert error["type"] == "http"
    assert "says it is JSON and is not" in error["message"]


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("12345678901234567890123", "12345678901234567890123"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("18446744073709551616", "18446744073709551616"),
        ("1e400", "1e400"),
        ("9" * 5000, "999..."),
    ],
)
def test_a_number_that_does_not_fit_is_an_error_or_text(stub: Stub, number: str, shown: str) -> None:
    """A float would lose its digits, and another order would be paid."""
    stub.raw["/body"] = ({"Content-Type": "application/json"}, f'{{"rows": [{{"id": {number}}}]}}'.encode())
    error = failure(f"{stub.url}/body")
    assert error["type"] == "not_json"
    assert error["retryable"] is False
    assert shown in error["message"]
    assert "big_numbers: text" in error["message"]
    assert result(f"{stub.url}/body", big_numbers="text")["data"] == {"rows": [{"id": number}]}


@pytest.mark.parametrize("number", ["9223372036854775807", "18446744073709551615", "-9223372036854775808", "1e300"])
def test_a_number_that_fits_is_one(stub: Stub, number: str) -> None:
    stub.raw["/body"] = ({"Content-Type": "application/json"}, f'["1234567890123456789012", {number}]'.encode())
    assert result(f"{stub.url}/body")["data"] == ["1234567890123456789012", json.loads(number)]


# ---- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "payload", "body"),
    [
        ("application/json", '{"id": 7}', '{"id": 7}'),
        ("Application/JSON", '{"id": 7}', '{"id": 7}'),
        ("application/vnd.api+json", ' [1, "ä"]', ' [1, "ä"]'),
        ("application/json", '"s"', '"s"'),
        ("application/json", "s", '"s"'),
        ("application/json", "7", '"7"'),
        ("application/json", "true", '"true"'),
        ("application/json", "{not json", '"{not json"'),
        ("application/json", {"id": 7}, '{"id":7}'),
        ("APPLICATION/X-WWW-FORM-URLENCODED; charset=utf-8", {"a": "x y", "b": [1, 2]}, "a=x+y&b=1&b=2"),
        ("text/plain", '{"id": 7}', '{"id": 7}'),
    ],
)
def test_a_body_is_written_as_its_content_type_says(stub: Stub, kind: str, payload: Any, body: str) -> None:
    """JSON that a template has written is not put into quotes once more."""
    got = result(f"{stub.url}/echo", method="POST", payload=payload, headers={"Content-Type": kind})["data"]
    assert got["body"] == body
    assert got["headers"]["content-type"] == kind


def test_text_is_sent_in_the_charset_that_its_content_type_names(stub: Stub) -> None:
    headers = {"Content-Type": "text/plain; charset=utf-16-le"}
    got = result(f"{stub.url}/echo", method="POST", payload="ab", headers=headers)["data"]
    assert got["body"] == "a\ufffdb\ufffd", "the service shows a NUL so"


@pytest.mark.parametrize(("charset", "word"), [("klingon", "not known"), ("latin-1", "'€'")])
def test_text_that_its_charset_cannot_say_is_a_validation_error(stub: Stub, charset: str, word: str) -> None:
    headers = {"Content-Type": f"text/plain; charset={charset}"}
    error = failure(f"{stub.url}/echo", method="POST", payload="10 €", headers=headers)
    assert error["type"] == "validation"
    assert word in error["message"]


def test_the_scheme_of_an_address_may_be_in_capitals(stub: Stub) -> None:
    assert result(f"{stub.url.replace('http', 'HTTP')}/echo")["status_code"] == 200


@pytest.mark.parametrize("port", ["99999", "65536", "0", "-1", "http"])
def test_a_port_that_there_is_not_is_a_validation_error(port: str) -> None:
    """Nothing listens there, and nothing ever will: another try is no use."""
    error = failure(f"http://ada:hidden@127.0.0.1:{port}/x")
    assert error["type"] == "validation"
    assert error["retryable"] is False
    assert f"127.0.0.1:{port}" in error["message"]
    assert "hidden" not in error["message"]

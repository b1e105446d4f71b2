"""Bodies of HTTP answers: decompressed piece by piece within a limit, and read as JSON or text.

A body may have one layer of a known compression. Python's codecs for text are an allow-list: some of the others take
time that grows with the square of the text, or are no encodings of text at all.
"""

import base64
import codecs
import json
import re
import time
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from noetl.errors import TooLarge
from noetl.tools.exact_json import exact_json

if TYPE_CHECKING:  # imported by the first call
    import httpx

ACCEPT_ENCODING: Final = "gzip, deflate"
"""The compressions that requests accept."""

_GZIP_WINDOW: Final = zlib.MAX_WBITS | 16
_RAW_WINDOW: Final = -zlib.MAX_WBITS
_WINDOW_BITS: Final = {"gzip": _GZIP_WINDOW, "x-gzip": _GZIP_WINDOW, "deflate": zlib.MAX_WBITS}
_PIECE_BYTES: Final = 1 << 18
_ZLIB_HEADER_BYTES: Final = 2
"""Bytes of zlib's header."""

_CHARSET_NAME: Final = re.compile(r"[A-Za-z0-9_:.+-]{1,40}")
_KNOWN_CHARSETS: Final = frozenset(
    codecs.lookup(name).name
    for name in (
        *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "ascii"),
        *(f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))),
        *(f"cp{page}" for page in (437, 850, 852, 855, 857, 858, 862, 866, 874, 932, 949, 950, *range(1250, 1259))),
        *("koi8-r", "koi8-u", "mac-roman", "mac-cyrillic", "shift_jis", "euc-jp", "iso2022-jp", "euc-kr"),
        *("gb2312", "gbk", "gb18030", "big5", "big5-hkscs", "tis-620"),
    )
)


class WrongBody(Exception):
    """A body is not what its headers say. `retryable`: it was cut off on the way, another attempt may help."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


def read_body(response: "httpx.Response", limit: int, deadline: float) -> bytes:
    """Return the body of an answer that is being streamed, decompressed.

    `limit` holds for its bytes as sent and as decompressed, `deadline` is a moment of the monotonic clock. Raises
    `TooLarge`, `WrongBody`, and `httpx.ReadTimeout` past the deadline.
    """
    import httpx

    layers = [name for name in _words(response.headers.get("content-encoding", "")) if name != "identity"]
    if len(layers) > 1:
        raise WrongBody(f"the body is compressed {len(layers)} times ({', '.join(layers)[:80]}): one layer is read")
    if layers and layers[0] not in _WINDOW_BITS:
        raise WrongBody(f"the body is compressed as {layers[0][:40]!r}, which is not one of {ACCEPT_ENCODING}")
    decompress = _Decompressor(layers[0]) if layers else None
    sent, body = 0, bytearray()
    for chunk in response.iter_raw():
        sent += len(chunk)
        for piece in (chunk,) if decompress is None else decompress.pieces(chunk):
            body += piece
            if max(len(body), sent) > limit:
                raise TooLarge(
                    f"the response is larger than {limit:,} bytes (NOETL_RESULT_LIMIT): ask for less, or in pages"
                )
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout("the time is over", request=response.request)
    if decompress is not None and sent:
        decompress.end()
    return bytes(body)


def _words(header: str) -> list[str]:
    return [word for each in header.split(",") if (word := each.strip().lower())]


class _Decompressor:
    """A decompressor of one layer: of gzip all members, of deflate with and without zlib's header."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inner = zlib.decompressobj(_WINDOW_BITS[name])
        self._first = b""  # of deflate: bytes until there are enough to tell whether zlib's header stands in front
        self._begun = False
        self._padding = False  # behind the last member: only zeros may follow

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield the decompressed bytes of some more data, at most 256 KiB at a time. Raises `WrongBody`."""
        if not self._begun:
            data = self._first = self._first + data
            if len(data) < _ZLIB_HEADER_BYTES:
                return
        while data:
            if self._inner.eof and not self._next(data):
                return
            piece = self._decompress(data)
            self._begun = True
            data = self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail
            yield piece
        while not self._inner.eof and (piece := self._decompress(b"")):
            yield piece

    def _next(self, data: bytes) -> bool:
        """Begin the next member where one follows; only zeros may stand behind the last one."""
        if not data.strip(b"\0"):
            self._padding = True
            return False
        if self._padding or _WINDOW_BITS[self._name] != _GZIP_WINDOW or not data.startswith(b"\x1f"):
            raise WrongBody(f"the body has something behind its {self._name} data")
        self._inner = zlib.decompressobj(_GZIP_WINDOW)
        return True

    def _decompress(self, data: bytes) -> bytes:
        try:
            return self._inner.decompress(data, _PIECE_BYTES)
        except zlib.error as failure:
            if not self._begun and self._name == "deflate":  # some servers send it without zlib's header
                self._begun = True
                self._inner = zlib.decompressobj(_RAW_WINDOW)
                return self._decompress(data)
            raise WrongBody(f"the body cannot be decompressed ({self._name}: {failure})") from None

    def end(self) -> None:
        """Check that the compressed data came to its end. Raises `WrongBody`."""
        if not self._inner.eof:
            raise WrongBody(f"the body ends in the middle of its {self._name} data", retryable=True)


# ---- JSON and text -----------------------------------------------------------------------------------------------


def is_json(content_type: str) -> bool:
    """Tell whether a Content-Type says JSON, in letters of any case."""
    kind = media_type(content_type)
    return kind == "application/json" or kind.endswith("+json")


def media_type(content_type: str) -> str:
    """Return a Content-Type without its parameters, in small letters."""
    return content_type.split(";")[0].strip().lower()


def charset_of(content_type: str) -> str | None:
    """Return the charset of a Content-Type by Python's name; None without one, "" for one that is not read here."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return _known(value.strip().strip("\"'"))
    return None


def _known(name: str) -> str:
    try:
        codec_name = codecs.lookup(name).name if _CHARSET_NAME.fullmatch(name) else ""
    except LookupError:
        return ""
    return codec_name if codec_name in _KNOWN_CHARSETS else ""


def read_json(body: bytes, content_type: str, *, big_as_text: bool) -> Any:
    """Return the value of a JSON body, None of a blank one. Raises ValueError, of which `NumberTooBig` is one."""
    declared = charset_of(content_type)
    encoding: str = json.detect_encoding(body)  # by its first bytes: RFC 8259 has UTF-8, others send what they have
    if encoding == "utf-8" and declared not in (None, ""):
        encoding = str(declared)
    if encoding not in ("utf-8", "ascii"):
        body = body.decode(encoding).encode()
    return None if not body.strip() else exact_json(body, big_as_text=big_as_text)


def read_text(body: bytes, content_type: str) -> Any:
    """Return a body as text without a byte order mark, as `{base64: ...}` where it is no text in its charset.

    The default charset is UTF-8.
    """
    charset = charset_of(content_type)
    try:
        text = body.decode("utf-8-sig" if charset in (None, "utf-8") else charset) if charset != "" else "\0"
    except UnicodeError:
        text = "\0"
    return {"base64": base64.b64encode(body).decode()} if "\0" in text else text

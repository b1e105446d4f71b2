"""A small HTTP service on loopback that answers as its path says."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Answers = Mapping[str, Callable[[dict[str, Any]], Any]]
"""What a path answers, from what it was asked (method, path, query, headers, body): a value, or (status, value)."""


class Stub(ThreadingHTTPServer):
    """Remembers what it was asked. `url` is its address."""

    daemon_threads = True

    def __init__(self, answers: Answers | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: Answers = answers or {}
        self.redirects: Mapping[str, tuple[int, str]] = {}  # of paths of the test's own: status and Location
        self.raw: dict[str, tuple[dict[str, str], bytes]] = {}  # of paths of the test's own: headers and bytes
        self.pieces = 0  # bytes of `raw` that are sent at a time
        self.asked: list[dict[str, Any]] = []
        self.connections = 0
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients hang up on purpose."""


@contextmanager
def serving(answers: Answers | None = None) -> Iterator[Stub]:
    """Serve until the end of the block. `answers` gives paths of the test's own what they say."""
    stub = Stub(answers)
    thread = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        stub.ended.set()
        stub.shutdown()
        thread.join()
        stub.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 20  # an answer leaves in one piece
    server: Stub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle_any(self) -> None:
        address = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = {
            "method": self.command,
            "path": address.path,
            "query": parse_qsl(address.query, keep_blank_values=True),
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body.decode("utf-8", "replace").replace("\0", "\ufffd"),
        }
        self.server.asked.append(asked)
        act = getattr(self, f"do{address.path.replace('/', '_').replace('-', '_')}", None)
        if address.path in self.server.redirects:
            status, location = self.server.redirects[address.path]
            self.answer(status, {}, Location=location)
        elif address.path in self.server.raw:
            self.answer_raw(*self.server.raw[address.path])
        elif address.path in self.server.answers:
            given = self.server.answers[address.path](asked)
            self.answer(*(given if isinstance(given, tuple) else (200, given)))
        elif act is not None:
            act()
        elif address.path.startswith("/status/"):
            self.answer(int(address.path[8:]), {"why": "as asked"})
        else:
            self.answer(200, asked)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = handle_any  # noqa: N815

    def answer(self, status: int, value: Any, kind: str = "application/json", **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def answer_raw(self, headers: dict[str, str], body: bytes) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        step = self.server.pieces or len(body) or 1
        for at in range(0, len(body), step):
            self.wfile.write(body[at : at + step])
            if self.server.pieces:
                self.wfile.flush()

    def do_text(self) -> None:
        self.answer(200, "grüße".encode("latin-1"), "text/plain; charset=latin-1")

    def do_binary(self) -> None:
        self.answer(200, b"\x00\xff\x01", "application/octet-stream")

    def do_nothing(self) -> None:
        self.send_response(204)
        self.end_headers()

    def do_malformed(self) -> None:
        self.answer(200, b'{"a": ')

    def do_malformed_error(self) -> None:
        self.answer(502, b"<html>bad gateway</html>")

    def do_nul(self) -> None:
        self.answer(200, {"a": ["x\x00"]})

    def do_long_error(self) -> None:
        self.answer(500, b"e" * 1_000_000, "text/plain")

    def do_cookie(self) -> None:
        self.answer(200, {}, Set_Cookie="session=1; Path=/")

    def do_redirect(self) -> None:
        self.answer(302, {}, Location="/target")

    def do_redirect_away(self) -> None:
        self.answer(302, {}, Location="http://169.254.169.254/latest/meta-data/")

    def do_redirect_forever(self) -> None:
        self.answer(302, {}, Location="/redirect-forever")

    def do_hang_up(self) -> None:
        self.close_connection = True

    def do_slow(self) -> None:
        self.server.ended.wait(10)

    def do_endless(self) -> None:
        self.drip(b"x" * 65536, 0.0)

    def do_dripping(self) -> None:
        self.drip(b"x", 0.02)

    def do_dripping_headers(self) -> None:
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(1000):
            if self.server.ended.wait(0.02):
                return
            self.wfile.write(b"X-%d: y\r\n" % number)
            self.wfile.flush()

    def drip(self, piece: bytes, pause: float) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        limit = time.monotonic() + 20
        while time.monotonic() < limit and not self.server.ended.wait(pause):
            self.wfile.write(piece)
            self.wfile.flush()

"""A secret that a service or a program repeats is masked, in whatever form it comes back."""

import base64
import html
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from noetl.calls import Call
from noetl.outcomes import Done
from noetl.tools.masking import mask_of
from noetl.tools.registry import TOOLS
from tests.support.stub import Stub, serving

SECRET = "k3y:with@signs!$'()*,;=&<ü>"


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with serving({"/forms": lambda asked: forms()}) as service:
        yield service


def forms() -> dict[str, Any]:
    """Return the secret as services show it: in HTML, in JSON that is safe in HTML, in Base64 with line ends."""
    mime = base64.encodebytes(f"header: {SECRET * 9}".encode()).decode()
    safe = json.dumps(SECRET).replace("&", "\\u0026").replace("<", "\\u003C").replace(">", "\\u003e")
    return {
        "html": f"<p>{html.escape(SECRET)}</p>",
        "safe": safe,
        "in": {SECRET: safe.replace("/", "\\/")},
        "mime": [mime, mime.replace("\n", "\r\n")],
    }


def masked(url: str, **fields: Any) -> str:
    """Return the result of a GET, as the worker masks it before it is stored."""
    answer = TOOLS["http"].run(Call("http", "k", "p#s", {"endpoint": url, **fields}, {}, 20.0, 1 << 25, {}))
    assert isinstance(answer, Done)
    stored = mask_of((SECRET,)).answer(answer)
    assert isinstance(stored, Done)
    return stored.result.decode()


def shows(text: str) -> bool:
    """Whether a text has a part of the secret in it."""
    return any(part in text for part in ("k3y", "with", "signs", "%24%27", "$'()", "\\u003"))


def test_the_address_of_a_result_shows_none(stub: Stub) -> None:
    """httpx quotes some characters and leaves others, as no other library does."""
    for url in (f"{stub.url}/echo", str(httpx.URL(f"{stub.url}/echo", params={"a": SECRET}))):
        text = masked(url, params={"token": SECRET})
        assert not shows(text)
        assert "***" in json.loads(text)["url"]


def test_forms_of_services_show_none(stub: Stub) -> None:
    text = masked(f"{stub.url}/forms")
    assert not shows(text)
    data = json.loads(text)["data"]
    assert data["html"] == "<p>***</p>"
    for lines in data["mime"]:
        joined = "".join(lines.split())
        for offset in range(3):
            part = base64.b64encode(b"\0" * offset + SECRET.encode()).decode()[4:-4]
            assert part not in joined

"""Masking: what of a secret is found again, and what is left alone."""

import base64
import json
import math
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noetl.tools.base import Done, Failed, storable
from noetl.tools.masking import Mask
from noetl.worker.runner_output import TAIL, Output

SECRET = 'p4ss "wörd"\\ /?&=+7'
MASK = Mask([SECRET])


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps({"a": json.dumps(SECRET)}),
        repr(SECRET),
        repr({"k": [SECRET]}),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        quote_plus(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
        *(base64.b64encode(("u" * before + SECRET + "more").encode()).decode() for before in range(5)),
    ],
)
def test_a_secret_is_found_in_the_forms_in_which_programs_show_it(shown: str) -> None:
    masked = MASK.text(f"before {shown} after")
    assert "***" in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    for piece in ("p4ss", "wörd", "w\\u00f6rd", "%C3%B6", quote(SECRET, safe="")[:12]):
        assert piece not in masked
    core = base64.b64encode(SECRET.encode()).decode()[4:16]
    assert core not in masked


def test_what_is_no_secret_is_left_as_it_is() -> None:
    """Byte by byte: also numbers that JSON can write in more than one way."""
    text = b'{"a":1.0,"b":[1e5,"p4ss","w\xc3\xb6rd"],"c":null}'
    done = Done(text, "printed")
    assert MASK.answer(done) == done


def test_values_that_look_like_json_do_not_break_it() -> None:
    """A secret made of digits, of quotes or of brackets is found in texts and numbers, and the rest stays JSON."""
    mask = Mask(["1234", "true", '":":', "null"])
    result = {"pin": 1234, "long": 9912349, "x": 1.1234, "ok": True, "none": None, "text": "a1234b", "1234": '":":'}
    got = orjson.loads(mask.json(orjson.dumps(result)))
    assert got == {
        "pin": "***", "long": "***", "x": "***", "ok": True, "none": None, "text": "a***b", "***": "***",
    }  # fmt: skip


def test_short_values_are_not_looked_for() -> None:
    """They would stand everywhere."""
    assert Mask(["abc", ""]).text("abc is in abcd") == "abc is in abcd"


def test_a_secret_within_another_does_not_leave_the_rest_of_it() -> None:
    assert Mask(["pass", "password-of-ada"]).text("password-of-ada pass") == "*** ***"


def test_the_parts_of_a_secret_of_several_lines_or_of_json_are_secrets_too() -> None:
    """A private key is printed line by line, a program reads the password out of a JSON text."""
    account = json.dumps({"user": "ada", "private_key": "-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----", "n": 5})
    mask = Mask([account, "first line of it\nsecond line of it\n"])
    assert mask.text("MIIEvQIBADANBg") == "***"
    assert mask.text("> second line of it <") == "> *** <"
    assert mask.text("ada") == "ada", "short texts inside are too common"


def test_errors_are_masked_in_every_part() -> None:
    error: dict[str, Any] = {
        "type": "python",
        "message": f"bad {SECRET}",
        "retryable": True,
        "detail": {SECRET: [SECRET]},
    }
    masked = MASK.answer(Failed(error, f"out {SECRET}"))
    assert masked == Failed(
        {"type": "python", "message": "bad ***", "retryable": True, "detail": {"***": ["***"]}}, "out ***"
    )


def test_where_text_was_cut_the_pieces_are_masked() -> None:
    long = "abcdefghij" * 3
    mask = Mask([long])
    for cut in range(6, len(long)):
        text = "x" * (8192 - cut) + long + "y" * 20_000 + long + "x" * (8192 - cut)
        masked = mask.text(storable(text))
        assert long[:6] not in masked
        assert long[-6:] not in masked
        assert "characters left out" in masked


def test_output_that_begins_in_the_midst_of_a_secret_is_masked() -> None:
    """The tail of what was printed, as runners keep it."""
    secret = "s3cret-of-many-characters"
    for shift in range(0, len(secret), 4):
        output = Output(b"mark")
        output.feed(("z" * 70_000 + (secret + "\n") * 3000 + "z" * shift).encode())
        masked = Mask([secret]).text(output.take_rest())
        assert len(masked) < TAIL
        assert "characters" not in masked.split("\n", 1)[1]


def test_a_long_text_may_have_been_cut_without_a_sign() -> None:
    masked = Mask(["0123456789abcdef"]).text("89abcdef" + "-" * 9000 + "01234567")
    assert masked == "***" + "-" * 9000 + "***"


@given(st.text(min_size=4, max_size=40), st.text(max_size=30), st.text(max_size=30))
def test_a_value_never_comes_through_as_it_is(secret: str, before: str, after: str) -> None:
    """Any secret, in any surroundings: in a text, in a result's JSON, as a key."""
    mask = Mask([secret])
    assert secret not in mask.text(before + secret + after).replace("***", "")
    try:
        text = orjson.dumps({"a": [before + secret + after], secret: 1})
    except (TypeError, ValueError):
        return  # a lone surrogate: nothing of that kind comes back from a call
    got = orjson.loads(mask.json(text))
    assert secret not in got
    assert "***" in got["a"][0]


def test_numbers_keep_their_value() -> None:
    mask = Mask(["secret-value"])
    text = orjson.dumps({"f": math.pi, "big": 2**63, "neg": -0.0, "s": "secret-value"})
    assert orjson.loads(mask.json(text)) == {"f": math.pi, "big": 2**63, "neg": -0.0, "s": "***"}

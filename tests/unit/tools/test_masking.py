"""Masking: what of a secret is found again, and what is left alone."""

import base64
import html
import json
import math
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noetl.outcomes import Done, Failed
from noetl.rules.text import storable
from noetl.tools.masking import Mask
from noetl.worker.runner.output import MAX_OUTPUT_BYTES, RunnerOutput

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
    pin = 1234567890123456
    mask = Mask([str(pin), "true" * 4, '":":":":', "null" * 4])
    result = {
        "pin": pin,
        "long": pin * 1000 + 999,
        "ok": True,
        "none": None,
        "text": f"a{pin}b",
        str(pin): '":":":":',
        "more": "nullnullnullnull",
    }
    got = orjson.loads(mask.json(orjson.dumps(result)))
    assert got == {
        "pin": "***", "long": "***", "ok": True, "none": None, "text": "a***b", "***": "***", "more": "***",
    }  # fmt: skip


@pytest.mark.parametrize("secret", ["demo", "1234", "true", "postgres", "p@ss", "correcthorse", "1234567"])
def test_a_common_secret_is_masked_as_a_word_where_people_read_and_stays_in_data(secret: str) -> None:
    """`SELECT 'a demonstration'` by a login whose password is `demo` gives what it says."""
    mask = Mask([secret])
    result = orjson.dumps({"text": f"a {secret} and a {secret}nstration", "n": 1234, secret: [secret]})
    assert mask.answer(Done(result, f"password={secret}; a {secret}nstration x{secret}")) == Done(
        result, f"password=***; a {secret}nstration x{secret}"
    )
    failed = mask.answer(Failed({"message": f"login of '{secret}' failed", "detail": {"data": f"re{secret}"}}))
    assert failed == Failed({"message": "login of '***' failed", "detail": {"data": f"re{secret}"}})


@pytest.mark.parametrize("wrap", [16, 20, 57, 64, 76])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_base64_in_lines_is_masked_whole(wrap: int, end: str) -> None:
    """As e-mail, PEM and `base64` write it: the value stands across the ends of lines."""
    text = base64.b64encode(f"user:some-name;{SECRET};{'rest ' * 20}".encode()).decode()
    lines = end.join(text[at : at + wrap] for at in range(0, len(text), wrap))
    masked = MASK.text(f"body:{end}{lines}{end}behind")
    assert masked == f"body:{end}***{end}behind"
    result = orjson.loads(MASK.json(orjson.dumps({"sent": lines, "json": json.dumps({"sent": lines})})))
    assert result == {"sent": "***", "json": '{"sent": "***"}'}
    other = base64.b64encode(b"nothing to hide in here, however long this text may be made").decode()
    wrapped = end.join(other[at : at + wrap] for at in range(0, len(other), wrap))
    assert MASK.text(wrapped) == wrapped


@pytest.mark.parametrize(
    "shown",
    [
        html.escape(SECRET),
        SECRET.replace("&", "&#038;").replace("?", "&#x3F;").replace('"', "&#34;"),
        json.dumps(SECRET).replace("&", "\\u0026").replace("/", "\\/"),
        json.dumps({"a": json.dumps(SECRET).replace("&", "\\u0026")}),
        json.dumps(json.dumps(json.dumps(SECRET))),
        ascii(SECRET),
        str(httpx.URL("http://h/x", params={"key": SECRET})),
        str(httpx.URL("http://h/x?b=1").copy_merge_params({"a": SECRET})),
        quote(SECRET, safe="/&").replace("%20", "+"),
    ],
)
def test_mixtures_of_forms_are_found(shown: str) -> None:
    """Each character may be written in another way than its neighbour."""
    for masked in (MASK.text(shown), MASK.json(orjson.dumps({"a": shown})).decode()):
        assert "***" in masked
        assert "p4ss" not in masked
        assert "+7" not in masked
        assert "%2B7" not in masked


def test_a_secret_of_backslashes_takes_no_time() -> None:
    mask = Mask(["\\" * 40, '\\"' * 20, "a\\\\b\\c d"])
    text = ("\\" * 39 + "x" + "\\" * 2000 + '"') * 20
    assert "***" in mask.text(text + "a\\\\\\\\b\\\\c d")


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
        output = RunnerOutput(b"mark")
        output.feed(("z" * 70_000 + (secret + "\n") * 3000 + "z" * shift).encode())
        masked = Mask([secret]).text(output.take_rest())
        assert len(masked) < MAX_OUTPUT_BYTES
        assert "characters" not in masked.split("\n", 1)[1]


def test_a_long_text_may_have_been_cut_without_a_sign() -> None:
    masked = Mask(["0123456789abcdef"]).text("89abcdef" + "-" * 9000 + "01234567")
    assert masked == "***" + "-" * 9000 + "***"


@settings(deadline=None)
@given(st.text(min_size=16, max_size=60), st.text(max_size=30), st.text(max_size=30))
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

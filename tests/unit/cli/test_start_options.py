"""What an execution is started with: --payload, --input, --set, --label."""

import io
from pathlib import Path

import pytest

from noetl.cli.catalog import split_version
from noetl.cli.execute.start_options import read_labels, read_payload, read_sets
from noetl.errors import InputError


def test_a_payload_comes_from_the_command_line_a_file_or_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "payload.json"
    file.write_text('{"a": "ä"}', encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO('{"b": 2}'))
    assert read_payload(None, None) == {}
    assert read_payload('{"a": 1}', None) == {"a": 1}
    assert read_payload(None, str(file)) == {"a": "ä"}
    assert read_payload(None, "-") == {"b": 2}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "--payload is an array; it must be a JSON object"),
        ('"x"', "--payload is a text"),
        ("1.5", "--payload is a number"),
        ("true", "--payload is a boolean"),
        ("null", "--payload is null"),
        ("{", "--payload is not JSON"),
        ('{"a": NaN}', "NaN is no number in JSON"),
        ("[" * 100_000, "--payload is n"),
    ],
)
def test_a_payload_that_is_no_object_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        read_payload(text, None)
    assert says in str(caught.value)


def test_a_payload_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.json cannot be read: No such file"):
        read_payload(None, str(tmp_path / "nothing.json"))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="bytes is not UTF-8"):
        read_payload(None, str(tmp_path / "bytes"))
    with pytest.raises(InputError, match="exclude each other"):
        read_payload("{}", "x")


def test_set_is_json_if_it_parses_else_text() -> None:
    given = ["a=1", "b=true", 'c="1"', "d=text", "e=", "f=a=b", "g=[1,2]", "h=007", "i=NaN", "j=null"]
    assert read_sets(given) == {
        "a": 1,
        "b": True,
        "c": "1",
        "d": "text",
        "e": "",
        "f": "a=b",
        "g": [1, 2],
        "h": "007",
        "i": "NaN",
        "j": None,
    }


def test_set_reaches_deep_and_the_last_one_wins() -> None:
    assert read_sets(["a.b.c=1", "a.b.d=2", "a.b.c=3"]) == {"a": {"b": {"c": 3, "d": 2}}}
    assert read_sets(["a=1", "a.b=2"]) == {"a": {"b": 2}}
    assert read_sets(["a.b=1", 'a={"c": 2}']) == {"a": {"b": 1, "c": 2}}
    assert read_sets(["a.b=1", "a=2"]) == {"a": 2}


@pytest.mark.parametrize("text", ["a", "=1", "a..b=1", ".a=1", "a.=1", ""])
def test_a_set_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--set"):
        read_sets([text])


def test_labels_are_names_and_values() -> None:
    assert read_labels(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for wrong in ("a", "=1"):
        with pytest.raises(InputError, match="--label"):
            read_labels([wrong])


def test_a_version_stands_behind_the_last_at() -> None:
    assert split_version("a/b") == ("a/b", None)
    assert split_version("a/b@12") == ("a/b", 12)
    for wrong in ("a@", "a@x", "a@0", "a@-1", "a@²"):
        with pytest.raises(InputError, match="must be a whole number"):
            split_version(wrong)


def test_set_string_is_text_whatever_it_looks_like_and_over_set() -> None:
    texts = ["a=1e3", "b=1.10", "c.d=true", "e=null", "f=[1]", "g="]
    assert read_sets(["c.x=1", "a=5"], texts) == {
        "a": "1e3",
        "b": "1.10",
        "c": {"x": 1, "d": "true"},
        "e": "null",
        "f": "[1]",
        "g": "",
    }
    with pytest.raises(InputError, match="--set-string 'a' is not of the form"):
        read_sets([], ["a"])


@pytest.mark.parametrize(("text", "number"), [("1e3", "1000.0"), ("1.10", "1.1"), ("-0", "0"), ("12", ""), ("1.5", "")])
def test_set_tells_of_a_number_that_reads_back_otherwise(
    text: str, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    read_sets([f"v={text}"])
    told = capsys.readouterr().err
    assert told == (
        f"--set v={text} gives the number {number}: --set-string v={text} gives the text\n" if number else ""
    )

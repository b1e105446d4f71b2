"""YAML with places: core schema, duplicate keys, aliases, hostile documents."""

from typing import Any

import pytest

from noetl.playbook.yaml.tree import MAX_DEPTH, Node, read


def plain(text: str) -> Any:
    root, problems = read(text, "f.yaml")
    assert problems == []
    assert root is not None
    return root.plain()


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in read(text, "f.yaml")[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("12", 12),
        ("-12", -12),
        ("0o17", 15),
        ("0xff", 255),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-01-31", "2026-01-31"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("1.2.3", "1.2.3"),
        ("'007'", "007"),
        ('"12"', "12"),
        ("!!str 12", "12"),
        ("!!int 12", 12),
        ("!!float 12", 12.0),
        ("+", "+"),
        ("-", None),
        (".", "."),
        ("18446744073709551615", 2**64 - 1),
        ("|\n    two\n    lines\n", "two\nlines\n"),
        (">-\n    two\n    lines\n", "two lines"),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    """What YAML 1.1 would turn into booleans, dates and base 60 stays text."""
    found = plain(f"k: {text}\n") if text != "-" else [plain("- \n")[0]][0]
    found = found["k"] if isinstance(found, dict) else found
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("key", ["on", "yes", "true", "404", "1.5", "null", "~"])
def test_keys_are_text_as_they_are_written(key: str) -> None:
    """JSON has no other keys, and `on:` is a usual word."""
    assert plain(f"{key}: x\n") == {key: "x"}


def test_duplicate_keys_are_problems_at_their_place() -> None:
    """Also deep inside, and each of them."""
    text = "a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 2\n"
    assert problems_of(text) == [
        "f.yaml:5:3: error: duplicate-key: the key 'c' is defined twice (first in line 3): remove one of them",
        "f.yaml:6:1: error: duplicate-key: the key 'a' is defined twice (first in line 1): remove one of them",
    ]


def test_anchors_aliases_and_merge_keys() -> None:
    """The mapping's own keys win, then the first of a list."""
    assert plain("a: &x {k: [1]}\nb: *x\n") == {"a": {"k": [1]}, "b": {"k": [1]}}
    assert plain("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  l: 3\n")["b"] == {"k": 1, "l": 3}
    text = "a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc:\n  <<: [*x, *y]\n"
    assert plain(text)["c"] == {"k": 1, "m": 3}
    assert "'<<' takes a mapping" in problems_of("a:\n  <<: 5\n")[0]


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3\n", "invalid YAML"),
        ("a: 'x\n", "invalid YAML"),
        ("a:\n\t- b\n", "invalid YAML"),
        ("a: b: c\n", "1:4: error: yaml: invalid YAML: a text with ': ' in it stands"),
        ("- a\nb: c\n", "invalid YAML"),
        ("a: *nope\n", "the alias *nope names no anchor"),
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("a: 1\n---\nb: 2\n", "2:1: error: yaml: a second document begins here"),
        ("? [a]\n: 1\n", "a key of a mapping is a list"),
        ("? {a: b}\n: 1\n", "a key of a mapping is a mapping"),
        ("a: &x [*x]\n", "inside its own anchor"),
        ("[" * 100_000, f"nested more than {MAX_DEPTH} levels"),
        ("- " * 100_000, f"nested more than {MAX_DEPTH} levels"),
        ("{a: " * 5000 + "1" + "}" * 5000, f"nested more than {MAX_DEPTH} levels"),
        (bomb(9), "aliases repeat more than 1,000,000 characters, unfolded"),
        ("a: .nan\n", ".nan is not JSON"),
        ("a: -.inf\n", "-.inf is not JSON"),
        ("a: 1e999\n", "too large"),
        ("a: 99999999999999999999\n", "beyond 64 bits"),
        ("a: " + "9" * 10_000 + "\n", "beyond 64 bits"),
        ('a: "x\\0y"\n', "NUL"),
        ('a: "\\ud800"\n', "invalid Unicode"),
        ("a: x\x01y\n", "not allowed"),
        ("a: !!binary aGk=\n", "the tag !!binary is not available"),
        ("a: !!python/object/apply:os.system ['id']\n", "is not available"),
        ("a: !mine {}\n", "the tag !mine is not available"),
        ("a: !!int x\n", "'x' is no int"),
        ("a: \udcff\n", "Unicode"),
    ],
)
def test_what_cannot_be_read_is_one_clear_problem(text: str, message: str) -> None:
    """Hostile documents too: no crash, no exponential work."""
    found = problems_of(text)
    assert len(found) == 1
    assert found[0].startswith("f.yaml:")
    assert message in found[0]


def test_places_are_those_in_the_file() -> None:
    """Lines and columns count from 1; a key has a place of its own."""
    root, _ = read("a:\n  - b: |\n      text\n    c: 'q'\n", "f.yaml")
    assert isinstance(root, Node)
    item = root.value["a"].value[0]
    assert (item.line, item.column) == (2, 5)
    assert (item.keys["c"].line, item.keys["c"].column) == (4, 5)
    assert (item.value["c"].line, item.value["c"].column) == (4, 8)
    assert item.value["b"].block


def test_byte_order_mark_and_line_ends() -> None:
    """Files from other systems read the same, with the same lines."""
    assert plain("\ufeffa: 1\n") == {"a": 1}
    assert plain("a: 1\r\nb: |\r\n  x\r\n  y\r\n") == {"a": 1, "b": "x\ny\n"}
    assert problems_of("a: 1\r\na: 2\r\n")[0].startswith("f.yaml:2:1: ")

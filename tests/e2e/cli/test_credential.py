"""`noetl credential` as a person gives it: values come from anywhere but the command line."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.home import Home, a_home
from tests.support.postgres import TestServer
from tests.support.vault import a_key, key_text

KEY = a_key()
VALUE = "canary-value-5678"


@pytest.fixture(scope="module")
def home(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    extra = {"NOETL_ENCRYPTION_KEY": key_text(KEY), "MY_TOKEN": VALUE}
    with a_home(server, tmp_path_factory.mktemp("cli"), extra) as home:
        home.run("server", "start")
        yield home


def test_a_value_can_come_from_a_variable_a_file_or_stdin(home: Home, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{VALUE}\n")
    (tmp_path / "fields").write_text(json.dumps({"username": "ada", "password": VALUE}))
    home.run("credential", "add", "by-env", "--type", "bearer", "--set", "token=env:MY_TOKEN")
    home.run("credential", "add", "by-file", "--type", "bearer", "--set", f"token=@{tmp_path}/token")
    home.run("credential", "add", "by-stdin", "--type", "bearer", "--set", "token=-", stdin=f"{VALUE}\n")
    home.run("credential", "add", "by-input", "--type", "basic", "--input", f"{tmp_path}/fields")
    home.run("credential", "add", "piped", "--type", "basic", "--input", "-", stdin=(tmp_path / "fields").read_text())
    rows = home.json("credential", "list")
    assert [row["name"] for row in rows] == ["by-env", "by-file", "by-input", "by-stdin", "piped"]
    for row in rows:
        shown = home.json("credential", "show", row["name"])
        assert set(shown["fields"].values()) == {"***"}


def test_what_is_given_arrives_whole(home: Home) -> None:
    """Seen by asking for it, where the server allows that."""
    secret = 'wörd "quoted" \\ $x `y` '
    with_reveal = {"NOETL_CREDENTIAL_REVEAL": "true"}
    home.run("server", "stop")
    home.run("server", "start", env=with_reveal)
    home.run("credential", "add", "whole", "--type", "basic", "--set", "user=ada", "--set", "password=-", stdin=secret)
    assert home.json("credential", "show", "whole", "--reveal")["fields"] == {"username": "ada", "password": secret}
    home.run("server", "stop")
    home.run("server", "start")
    refused = home.run("credential", "show", "whole", "--reveal", expect=2)
    assert "values of credentials are not shown" in refused.stderr


def test_a_secret_on_the_command_line_is_taken_with_a_warning(home: Home) -> None:
    given = home.run(
        "credential", "add", "loud", "--type", "basic", "--set", "username=ada", "--set", f"password={VALUE}"
    )
    assert "warning: the value of password stands in the list of processes" in given.stderr
    assert given.stderr.count("warning") == 1, "the name is no secret"
    assert VALUE not in given.stdout + given.stderr


def test_replace_remove_rotate_and_their_json(home: Home) -> None:
    add = ("credential", "add", "turn", "--type", "bearer", "--set", "token=env:MY_TOKEN")
    assert home.json(*add) == {"name": "turn", "type": "bearer", "created": True}
    taken = home.run(*add, expect=2)
    assert "there is a credential 'turn' already: replace it (--replace), or choose another name" in taken.stderr
    assert home.json(*add, "--replace")["created"] is False
    assert home.json("credential", "rotate")["rotated"] == len(home.json("credential", "list"))
    assert "encrypted with the key" in home.run("credential", "rotate").stderr
    assert home.json("credential", "remove", "turn") == {"name": "turn"}
    assert "there is no credential 'turn'" in home.run("credential", "show", "turn", expect=2).stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--type", "baerer"), "unknown type of credential 'baerer' (did you mean 'bearer'?)"),
        (("--type", "bearer"), "a credential of type bearer needs token"),
        (("--type", "bearer", "--set", "token"), "--set 'token' is not of the form name=value"),
        (("--type", "bearer", "--set", "token=env:ABSENT"), "the environment variable ABSENT is not set"),
        (("--type", "bearer", "--set", "token=@/no/file"), "the file cannot be read: No such file or directory"),
        (("--type", "bearer", "--set", "token=-"), "--set token=-: stdin has no line with the value"),
        (("--type", "bearer", "--set", "token=-", "--input", "-"), "both read stdin"),
        (("--type", "bearer", "--input", "/no/file"), "--input /no/file cannot be read"),
    ],
)
def test_wrong_usage_is_one_sentence(home: Home, arguments: tuple[str, ...], told: str) -> None:
    """Exit code 2, and no value shown."""
    stdin = "{}" if arguments[-1] == "-" else ""
    shown = home.run("credential", "add", "wrong", *arguments, expect=2, stdin=stdin)
    assert told in shown.stderr
    assert shown.stdout == ""


def test_a_key_that_is_printed_can_be_used(home: Home) -> None:
    key = home.run("credential", "key").stdout.strip()
    assert key != home.run("credential", "key").stdout.strip()
    started = home.run("server", "stop")
    started = home.run("server", "start", env={"NOETL_ENCRYPTION_KEY": f"{key}, {key_text(KEY)}"})
    assert started.returncode == 0
    assert home.json("credential", "rotate")["key_id"] not in {None, ""}


def test_a_malformed_key_is_named_and_not_shown(home: Home) -> None:
    """The server starts without it: it is needed by those who use credentials only."""
    home.run("server", "stop")
    home.run("server", "start", env={"NOETL_ENCRYPTION_KEY": f"{key_text(KEY)},half-a-key"})
    shown = home.run("credential", "add", "x", "--type", "bearer", "--set", "token=env:MY_TOKEN", expect=2)
    assert "key 2 of NOETL_ENCRYPTION_KEY is no key: it must be 32 bytes in Base64" in shown.stderr
    assert "half-a-key" not in shown.stderr
    assert "half-a-key" not in home.logs()


def test_no_process_shows_a_value_in_the_list_of_processes(home: Home) -> None:
    """Looked at while the command waits for the value, and after it has it."""
    with home.start("credential", "add", "unseen", "--type", "bearer", "--set", "token=-", "--replace") as process:
        assert process.stdin is not None
        process.stdin.write(f"{VALUE}\n")
        process.stdin.flush()
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        process.communicate(timeout=60)
    assert "credential add unseen" in listed
    assert VALUE not in listed

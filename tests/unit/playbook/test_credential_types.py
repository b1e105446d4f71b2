"""Credentials by type: spellings, what is secret of them, and whether the table of types is whole."""

import pytest

from noetl.errors import InputError
from noetl.playbook.credential_types import CREDENTIAL_TYPES, MAIN_FIELDS, check_fields, secret_values
from noetl.playbook.step_types import STEP_TYPES


def test_the_tables_speak_of_the_same_types_and_tools() -> None:
    assert MAIN_FIELDS.keys() == CREDENTIAL_TYPES.keys()
    takes = {name: type_.credentials for name, type_ in STEP_TYPES.items() if type_.credentials}
    assert takes.keys() == {"http", "postgres", "duckdb", "container", "save", "secrets"}
    assert {credential for credentials in takes.values() for credential in credentials} <= CREDENTIAL_TYPES.keys()
    assert takes.keys() >= {name for name, type_ in STEP_TYPES.items() if type_.aliases}
    for type_, fields in CREDENTIAL_TYPES.items():
        spellings = [spelling for name, spec in fields.items() for spelling in (name, *spec.also)]
        assert len(spellings) == len(set(spellings)), type_
        assert type_ == "generic" or MAIN_FIELDS[type_] in fields


def test_older_spellings_become_the_canonical_names() -> None:
    given = {
        "db_host": "h",
        "db_port": "5433",
        "db_name": "d",
        "db_user": "u",
        "db_password": 12345,
        "ssl_mode": "require",
    }
    assert check_fields("postgres", given) == {
        "host": "h",
        "port": 5433,
        "database": "d",
        "user": "u",
        "password": "12345",
        "sslmode": "require",
    }
    by_address = {"hostaddr": "127.0.0.1", "database": "d", "user": "u"}
    assert check_fields("postgres", by_address) == by_address
    s3 = check_fields("s3", {"key_id": "k", "secret": "s", "use_ssl": False, "region": None})
    assert s3 == {"access_key": "k", "secret_key": "s", "use_ssl": "false"}


def test_a_generic_credential_keeps_whatever_it_is_given() -> None:
    given = {"type": "service_account", "n": 5, "deep": {"a": [None, True]}}
    assert check_fields("generic", given) == given
    with pytest.raises(InputError, match="not plain JSON"):
        check_fields("generic", {"a": float("nan")})


def test_what_is_secret_of_a_credential() -> None:
    assert secret_values("basic", {"username": "ada", "password": "p"}) == ["p"]
    assert secret_values("generic", {"a": "x", "b": {"c": 1}}) == ["x", {"c": 1}]
    assert secret_values("s3", {"access_key": "AK", "secret_key": "S", "session_token": "T", "region": "r"}) == [
        "S",
        "T",
    ]


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://ada:p%40ss@db.example:5432/d?sslmode=require", "p@ss"),
        ("postgresql://db.example/d?user=ada&password=p%40ss", "p@ss"),
        ("host=db.example user=ada password='it\\'s here' dbname=d", "it's here"),
        ("host=db.example password = plain dbname=d", "plain"),
    ],
)
def test_the_password_in_a_connection_string_is_a_secret_of_its_own(url: str, password: str) -> None:
    """As it is meant, for a message shows it that way."""
    assert check_fields("postgres", {"dsn": url}) == {"url": url}
    assert {url, password} <= set(secret_values("postgres", {"url": url}))

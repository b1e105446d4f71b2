"""References: who can make one, what they stand for, and that everything else is text."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from noetl.database.keys import Keys
from noetl.errors import SettingsError
from noetl.playbook.templates.secret_references import REFERENCE, REFERENCE_MARK, in_json, read_source, refer, source_of
from noetl.settings import Settings
from noetl.worker.secrets.seals import Fetch, Seals, holds_reference
from tests.support.vault import a_key

KEY = a_key()
FETCH = Fetch("google", "name", version="3", project="p")


RUN = "the-key-of-a-step-run"


def seals(*keys: bytes) -> Seals:
    return Seals(Keys(Settings(home=Path("/nowhere"), embedded=False, encryption_key=keys)))


def body(reference: str) -> str:
    found = REFERENCE.fullmatch(reference)
    assert found, reference
    return found[1]


def test_a_reference_of_secret_says_its_source_to_this_process_only() -> None:
    reference = refer(read_source("credential:name.field"), RUN)
    source = source_of(body(reference), RUN)
    assert source is not None
    assert (source.kind, source.name, source.field) == ("credential", "name", "field")
    kind, name, code = body(reference).split(".")
    other = body(refer(read_source("other"), RUN)).split(".")[1]
    assert source_of(f"{kind}.{other}.{code}", RUN) is None, "the code of one source is no other's"
    assert source_of(f"{kind}.{name}.{code[:-1]}0" if code[-1] != "0" else f"{kind}.{name}.{code[:-1]}1", RUN) is None
    assert source_of(f"s.{name}.{code}", RUN) is None
    assert source_of(body(reference), "another-run") is None, "it is good for the step run that made it alone"


def test_a_sealed_reference_opens_in_its_tree_with_its_key_and_nowhere_else() -> None:
    mine = seals(KEY)
    sealed = body(mine.seal(FETCH, 7, RUN))
    assert mine.open(sealed, 7, RUN) == FETCH
    assert seals(a_key(), KEY).open(sealed, 7, RUN) == FETCH, "an older key still opens"
    assert mine.open(sealed, 8, RUN) is None
    assert seals(a_key()).open(sealed, 7, RUN) is None
    assert seals().open(sealed, 7, RUN) is None


def test_every_change_of_a_sealed_reference_makes_it_text() -> None:
    """Each single character, and what is cut off."""
    mine = seals(KEY)
    sealed = body(mine.seal(FETCH, 7, RUN))
    for place in range(len(sealed)):
        other = "A" if sealed[place] != "A" else "B"
        changed = f"{sealed[:place]}{other}{sealed[place + 1 :]}"
        if REFERENCE.fullmatch(f"{REFERENCE_MARK}{changed}:") and changed.count(".") == 2:
            opened = mine.open(changed, 7, RUN)
            assert opened is None or place == len(sealed) - 1, "the last character has bits that mean nothing"
    assert mine.open(sealed[:-8], 7, RUN) is None


def test_what_is_sealed_shows_nothing() -> None:
    sealed = seals(KEY).seal(replace(FETCH, name="the-name", auth="a-credential"), 7, RUN)
    assert "name" not in sealed
    assert sealed != seals(KEY).seal(replace(FETCH, name="the-name", auth="a-credential"), 7, RUN)


def test_references_in_the_auth_of_a_secrets_step_are_good_in_another_process() -> None:
    """`secret()` in it is kept as its source: the code is this process's only."""
    auth = {
        "type": "generic",
        "a": f"x{refer(read_source('env:X'), RUN)}y",
        "b": [refer(read_source("n"), RUN)],
        "c": "\0" + "0\0",
    }
    mine = seals(KEY)
    opened = mine.open(body(mine.seal(replace(FETCH, auth=auth), 7, RUN)), 7, RUN)
    assert opened is not None
    assert opened.auth == {**auth, "c": "0"}


def test_without_a_key_nothing_can_be_sealed() -> None:
    with pytest.raises(SettingsError, match="NOETL_ENCRYPTION_KEY is not set"):
        seals().seal(FETCH, 7, RUN)


def test_a_reference_in_a_json_text_says_so_as_often_as_it_was_escaped() -> None:
    reference = refer(read_source("n"), RUN)
    once = in_json(f'{{"a": "{reference}"}}')
    found = REFERENCE.search(in_json(once))
    assert found is not None
    assert (found[1], found[2]) == (body(reference), "+json+json")
    assert in_json('{"a": 1}') == '{"a": 1}'


def test_references_are_looked_for_at_any_depth() -> None:
    assert holds_reference({"a": [{"b": f"x{REFERENCE_MARK}"}]})
    assert not holds_reference({"a": [1, None, {"b": "noetl secret"}], REFERENCE_MARK: 2})


def test_a_reference_survives_urls_json_and_yaml_as_it_is() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.:+-]+", refer(read_source("file:/run/secrets/Ünï x"), RUN))

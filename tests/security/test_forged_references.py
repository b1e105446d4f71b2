"""References to secrets: no data and no template makes one, and one that is known is good for its step run alone."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from noetl.database.connection.connect import Database
from noetl.errors import TemplateError
from noetl.playbook.templates.sandbox import ENVIRONMENT, EXPRESSION_ENVIRONMENT
from noetl.playbook.templates.secret_references import REFERENCE, REFERENCE_CALL, REFERENCE_MARK, read_source, refer
from noetl.playbook.templates.template import compile_template
from noetl.settings import Settings
from tests.support.playbooks import Lab
from tests.support.stub import Stub, serving
from tests.support.working import working

SECRET = "canary-value-3d7a"
OWN = ("$secret", "$iterate", "$truth", "refer", "iterate", "take", "decide", "compare_eq", "hashable")


@pytest.fixture
def lab(database: Database, settings: Settings) -> Iterator[Lab]:
    known = replace(settings, environment={"CANARY": SECRET})
    with working(known, slots=4):
        yield Lab(database, known)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as stub:
        yield stub


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize(
    "text",
    [
        "{{ ['env:CANARY'] | map(fn) | list }}",
        "{{ ['env:CANARY'] | map(fn, 'x') | list }}",
        "{{ ['env:CANARY'] | select(fn) | list }}",
        "{{ [{'a': 'env:CANARY'}] | selectattr('a', fn) | list }}",
        "{{ ['env:CANARY'] | reject(fn) | list }}",
        "{{ [['env:CANARY']] | map('map', fn) | map('list') | list }}",
    ],
)
def test_no_name_in_data_reaches_what_templates_call_by_themselves(text: str, name: str) -> None:
    """Jinja looks the names of filters and tests up while it renders; what makes references has no name."""
    with pytest.raises(TemplateError, match=r"[Nn]o (filter|test) named"):
        compile_template(text, playbook="p", step="s", field="f").render({"fn": name, REFERENCE_CALL: "run"})


@pytest.mark.parametrize("name", OWN)
def test_no_template_can_spell_it(name: str) -> None:
    for text in (f"{{{{ 'env:CANARY' | {name} }}}}", f"{{{{ environment.{name}('env:CANARY') }}}}"):
        try:
            found = compile_template(text, playbook="p", step="s", field="f").render({REFERENCE_CALL: "run"})
        except TemplateError as error:
            found = error.reason
        assert REFERENCE_MARK not in str(found)
    listed = compile_template(f"{{{{ '{name}' is filter or '{name}' is test }}}}", playbook="p", step="s", field="f")
    assert listed.render({}) is False


def test_the_tables_hold_words_only() -> None:
    for environment in (ENVIRONMENT, EXPRESSION_ENVIRONMENT):
        assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in environment.filters)
        assert all(re.fullmatch(r"[a-z0-9_]+|[=<>!]{1,2}", name) for name in environment.tests)


def test_where_no_call_is_made_no_reference_is_made() -> None:
    with pytest.raises(TemplateError, match=r"secret\(\) is for fields, args and auth of a tool"):
        compile_template("{{ secret('env:CANARY') }}", playbook="p", step="s", field="f").render({})


SEND = """
- step: start
  type: http
  endpoint: "{{ workload.url }}/"
  method: POST
  headers: {X-Own: "{{ secret('env:CANARY') }}"}
  payload: {given: "{{ workload.given }}"}
"""


def test_a_reference_of_another_run_is_text(lab: Lab, stub: Stub) -> None:
    """Its process knows it, yet it was made for another execution: it arrives as the text that it is."""
    forged = refer(read_source("env:CANARY"), "the-key-of-another-run")
    ended = lab.run(SEND, payload={"url": stub.url, "given": forged})
    assert ended.status == "completed", ended.error
    asked = stub.asked[-1]
    assert asked["headers"]["x-own"] == SECRET
    assert SECRET not in str(asked["body"])
    assert "noetl-secret:c." in str(asked["body"])


def test_a_reference_is_good_in_the_fields_that_its_own_args_reach(lab: Lab, stub: Stub) -> None:
    ended = lab.run(
        """
        - step: start
          type: http
          args: {token: "{{ secret('env:CANARY') }}"}
          endpoint: "{{ workload.url }}/"
          headers: {Authorization: "Bearer {{ token }}"}
        """,
        payload={"url": stub.url},
    )
    assert ended.status == "completed", ended.error
    assert stub.asked[-1]["headers"]["authorization"] == f"Bearer {SECRET}"


def test_references_of_two_runs_differ() -> None:
    template = compile_template("{{ secret('env:CANARY') }}", playbook="p", step="s", field="f")
    one, other = str(template.render({REFERENCE_CALL: "run 1"})), template.render({REFERENCE_CALL: "run 2"})
    assert one != other
    assert REFERENCE.fullmatch(one)

"""`secret()` and `auth` in a playbook's file: where they may stand, and what is said where they may not."""

from textwrap import dedent, indent

import pytest

from noetl.errors import TemplateError
from noetl.playbook.load import lint, load_playbook
from noetl.playbook.templates.secret_references import REFERENCE, source_of
from noetl.playbook.templates.template import REFERENCE_CALL, compile_template


def steps(body: str) -> str:
    return f"apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {{path: a/b}}\n{dedent(body)}"


def problems(body: str) -> list[str]:
    return [f"{each.severity} {each.code} {each.message}" for each in lint(steps(body), "f")]


def step(fields: str) -> str:
    return f"workflow:\n  - step: start\n{indent(dedent(fields).strip(), '    ')}\n    next: end\n  - step: end\n"


CALL = "\"{{ secret('x') }}\""


@pytest.mark.parametrize(
    "fields",
    [
        f"type: http\nendpoint: http://h/\nheaders: {{A: {CALL}}}",
        f"type: http\nendpoint: http://h/\npayload: [{{a: {CALL}}}]",
        f"type: http\nendpoint: http://h/\nauth: {{type: bearer, token: {CALL}}}",
        f"type: python\nargs: {{a: {CALL}}}\ncode: 'def main(a): return 1'",
        f"type: postgres\ncommand: SELECT 1\nparams: {{a: {CALL}}}",
        f"type: shell\ncommand: env\nenv: {{A: {CALL}}}",
        f"type: duckdb\ncommand: SELECT 1\nsave: {{storage: postgres, table: t, auth: {{type: postgres, key: k}},"
        f" data: {{a: {CALL}}}}}",
    ],
)
def test_secret_may_stand_where_a_tool_gets_it(fields: str) -> None:
    assert problems(step(fields)) == []
    assert load_playbook(steps(step(fields)), "f").secrets


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (f"workload: {{a: {CALL}}}\n" + step("type: wait\nfor: 1s"), "workload.a"),
        (step(f"type: wait\nfor: {CALL}"), "for"),
        (step(f"type: playbook\npath: a\nargs: {{a: {CALL}}}"), "args.a"),
        (step(f"args: {{a: {CALL}}}"), "args.a"),
        (step(f"type: shell\ncommand: env\ntimeout: {CALL}"), "timeout"),
        (step(f"type: shell\ncommand: env\nretry: {{when: {CALL}}}"), "retry.when"),
        (step(f"type: shell\ncommand: env\nloop: {{in: [{CALL}]}}"), "loop.in[0]"),
        (f"workflow: [{{step: start, next: {{step: end, args: {{a: {CALL}}}}}}}, {{step: end}}]", "next.end.args.a"),
        (f"workflow: [{{step: start, next: [{{when: {CALL}, step: end}}]}}, {{step: end}}]", "next.when"),
        (f"workflow: [{{step: start, next: end}}, {{step: end, result: {CALL}}}]", "result"),
        (f"workflow: [{{step: start, type: fail, message: {CALL}}}]", "message"),
    ],
)
def test_elsewhere_it_is_an_error_at_its_place(body: str, place: str) -> None:
    """Everything else is kept in the log."""
    told = f"error secret {place}: secret() can stand in the fields, args and auth of a step with a tool only"
    assert [each for each in problems(body) if each.startswith(told)], problems(body)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ secret('x') | b64encode }}", "no filter, test or key can see its value"),
        ("{{ ('u:' ~ secret('x')) | b64encode }}", "no filter, test or key can see its value"),
        ("{{ secret('x') == 'a' }}", "no filter, test or key can see its value"),
        ("{{ secret('x') is string }}", "no filter, test or key can see its value"),
        ("{{ secret('x').field }}", "no filter, test or key can see its value"),
        ("{{ {secret('x'): 1} }}", "no filter, test or key can see its value"),
        ("{{ 1 if secret('x') else 2 }}", "no filter, test or key can see its value"),
        ("{% for c in secret('x') %}{{ c }}{% endfor %}", "no filter, test or key can see its value"),
        ("{% set s = secret('x') %}{{ s }}", "no filter, test or key can see its value"),
        ("{{ secret(secret('x')) }}", "no filter, test or key can see its value"),
        ("{{ secret() }}", "secret() takes one text"),
        ("{{ secret('a', 'b') }}", "secret() takes one text"),
        ("{{ secret('env:') }}", "'' is no name of an environment variable"),
        ("{{ secret('env:NOETL_ENCRYPTION_KEY') }}", "NOETL_ENCRYPTION_KEY is the engine's own variable"),
        ("{{ secret('env:PGPASSWORD') }}", "PGPASSWORD is the engine's own variable"),
        ("{{ secret('file:here') }}", "needs its whole path"),
        ("{{ secret('vault:x') }}", "there is no source 'vault'"),
        ("{{ secret('a b') }}", "cannot be the name of a credential"),
    ],
)
def test_a_use_that_could_never_work_is_told_when_the_file_is_read(template: str, told: str) -> None:
    with pytest.raises(TemplateError, match=r"secret|env") as raised:
        compile_template(template, playbook="p", step="s", field="f")
    assert told in str(raised.value)


RUN = {REFERENCE_CALL: "run"}
"""The scope of a step run: its key stands beside the names that a template reads."""


@pytest.mark.parametrize(
    "template",
    [
        "{{ secret('n') }}",
        "Bearer {{ secret('n') }}",
        "{{ 'a' ~ secret('n') ~ 'b' }}",
        "{{ 'a' + secret('n') }}",
        "{{ {'k': [secret('n')]} }}",
        "{{ {'k': secret('n')} | tojson }}",
        "{{ secret('n') if yes else 'none' }}",
        "{% if yes %}{{ secret('n') }}{% endif %}",
        "{{ secret('credential:' ~ name) }}",
    ],
)
def test_it_renders_to_a_reference_whatever_stands_around_it(template: str) -> None:
    """Whole, whatever the workload says `secret` is."""
    compiled = compile_template(template, playbook="p", step="s", field="f")
    assert REFERENCE_CALL in compiled.names
    found = REFERENCE.search(str(compiled.render({"yes": True, "name": "n", "secret": "hidden", **RUN})))
    assert found is not None
    assert str(source_of(found[1], "run")) == "credential:n"


def test_a_name_that_comes_from_data_is_checked_when_it_is_rendered() -> None:
    compiled = compile_template("{{ secret(name) }}", playbook="p", step="s", field="f")
    for name in ("env:NOETL_PASSWORD", "a b", "", 7, None):
        with pytest.raises(TemplateError):
            compiled.render({"name": name, **RUN})


def test_no_filter_changes_a_reference_that_came_by_another_name() -> None:
    """Through args or a secrets step's result: an encoded reference would never be found again."""
    reference = compile_template("{{ secret('n') }}", playbook="p", step="s", field="f").render(RUN)
    for template in ("{{ x | b64encode }}", "{{ x | upper }}", "{{ [x] | map('lower') | list }}", "{{ x | length }}"):
        with pytest.raises(TemplateError, match="a secret is put in when the call is made"):
            compile_template(template, playbook="p", step="s", field="f").render({"x": reference})
    assert (
        compile_template("{{ x | default('') }}", playbook="p", step="s", field="f").render({"x": reference})
        == reference
    )


def test_a_workload_key_called_secret_is_data() -> None:
    assert compile_template("{{ secret }}", playbook="p", step="s", field="f").render({"secret": 1}) == 1


@pytest.mark.parametrize(
    ("type_", "auth", "told"),
    [
        ("http", "7", "auth of step 'start' is 7: it must be the name of a credential, or a mapping"),
        ("http", "a b", "'a b' cannot be the name of a credential"),
        ("http", "{type: baerer, token: x}", "unknown type of credential 'baerer' (did you mean 'bearer'?)"),
        ("http", "{type: bearer, tokn: x}", "a credential of type bearer has no field 'tokn' (did you mean 'token'?)"),
        ("http", "{type: basic, username: a}", "a credential of type basic needs password"),
        ("http", "{type: postgres, key: db}", "a step of type http does not take a credential of type postgres"),
        ("http", "{key: a, token: x}", "has a key, so all else comes from that credential: 'token'"),
        ("http", "{a: b, c: d}", "auth of step 'start' has no type"),
        ("duckdb", "{a: {type: bearer, key: k}}", "a step of type duckdb does not take a credential of type bearer"),
        ("duckdb", "{a: [1]}", "a of auth of step 'start' is a list"),
        ("duckdb", "{a: {type: postgres, host: h, database: d, user: u, port: x}}", "a number from 1 to 65535"),
    ],
)
def test_a_wrong_auth_is_told_when_the_file_is_read(type_: str, auth: str, told: str) -> None:
    needs = {"http": "endpoint: http://h/", "duckdb": "command: SELECT 1"}[type_]
    found = problems(step(f"type: {type_}\n{needs}\nauth: {auth}"))
    assert [each for each in found if each.startswith("error ") and told in each], found


def test_a_secret_in_clear_in_the_file_is_a_warning() -> None:
    found = problems(step("type: http\nendpoint: http://h/\nauth: {type: bearer, token: hush-hush}"))
    assert len(found) == 1
    assert found[0].startswith("warning clear-text token of auth of step 'start' stands in the file for all to read")
    assert "hush-hush" not in found[0]
    assert "stands in other texts by chance" not in found[0]
    [common] = problems(step("type: http\nendpoint: http://h/\nauth: {type: bearer, token: demo}"))
    assert "it is masked as a whole word, and only in errors and output" in common


def test_only_playbooks_that_may_have_secrets_are_looked_through() -> None:
    plain = step("type: python\nargs: {a: 1}\ncode: 'def main(a): return a'")
    assert not load_playbook(steps(plain), "f").secrets
    assert load_playbook(steps(step("type: secrets\nprovider: env\nname: X")), "f").secrets
    assert load_playbook(steps(step("type: playbook\npath: child")), "f").secrets, "its child may give one back"

"""What older playbooks count on in templates: envelopes, apostrophes in JSON, defaults for variables."""

import json
from typing import Any

import pytest

from noetl.errors import TemplateError
from noetl.playbook.load import lint
from noetl.playbook.templates.env import Env
from noetl.playbook.templates.result_views import result_view
from noetl.playbook.templates.template import compile_template


def render(template: str, **scope: Any) -> Any:
    return compile_template(template, playbook="p", step="s", field="args.x").render(scope)


def told(text: str) -> list[str]:
    return [f"{one.line}:{one.column}: {one.severity}: {one.code}: {one.message}" for one in lint(text, "f.yaml")]


# ---- envelopes -------------------------------------------------------------------------------------------------------

ENVELOPE = {"status": "success", "data": {"n": 3, "items": [1], "status": "inner", "deep": {"m": 4}}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("n", 3),
        ("items", [1]),
        ("deep.m", 4),
        ("data.n", 3),
        ("result.n", 3),
        ("data.deep.m", 4),
        ("status", "success"),
        ("data.status", "inner"),
        ("n | default(7)", 3),
        ("gone | default(7)", 7),
        ("n is defined", True),
        ("data", ENVELOPE["data"]),
    ],
)
def test_an_envelope_answers_to_the_fields_of_its_data(path: str, value: Any) -> None:
    """A real key wins."""
    assert render(f"{{{{ start.{path} }}}}", start=result_view(ENVELOPE)) == value


@pytest.mark.parametrize(
    "result", [{"status": 1, "data": {"n": 3}, "rows": 1}, {"data": {"n": 3}}, {"status": 1, "data": [{"n": 3}]}]
)
def test_other_results_do_not(result: dict[str, Any]) -> None:
    with pytest.raises(TemplateError, match="no key 'n'"):
        render("{{ start.n }}", start=result_view(result))


def test_nor_does_a_mapping_that_is_no_result() -> None:
    with pytest.raises(TemplateError, match="no key 'n'"):
        render("{{ start.n }}", start=ENVELOPE)


def test_lint_hints_at_the_longer_path_of_an_envelope() -> None:
    code = "def main(): return {'status': 'ok', 'data': {'n': 3}}"
    step = f'metadata: {{path: p}}\nworkflow:\n- {{step: start, type: python, code: "{code}", next: end}}\n'
    assert told(step + "- {step: end, result: '{{ start.data.n }}'}\n") == []
    assert told(step + "- {step: end, result: '{{ start.n }}'}\n") == [
        "4:33: hint: spelling: write 'start.data.n' instead of 'start.n'"
    ]
    (found,) = told(step + "- {step: end, result: '{{ start.m }}'}\n")
    assert "4:33: error: unknown-field:" in found
    (found,) = told(step.replace("{'n': 3}", "dict(n=3)") + "- {step: end, result: '{{ start.staus }}'}\n")
    assert "error: unknown-field:" in found


# ---- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [["O'Hara"], {"it's": "'"}, "''", "a\\u0027b", "\\'"])
def test_tojson_has_no_apostrophes(value: Any) -> None:
    """It may stand within those of SQL, as Jinja's own may, and means the same."""
    written = render("'{{ x | tojson }}'", x=value)
    assert written.count("'") == 2
    assert json.loads(written[1:-1]) == value


def test_tojson_writes_the_apostrophe_as_jinja_does() -> None:
    assert render("{{ ['O\\'Hara'] | tojson }}") == '["O\\u0027Hara"]'


# ---- variables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template", ["{{ env.POSTGRES_PASSWORD | default('demo') }}", "{{ env['API_TOKEN'] | d('demo') }}"]
)
def test_a_variable_named_like_a_secret_is_its_default(template: str) -> None:
    """Whatever the environment has, which lint says."""
    env = Env(("POSTGRES_PASSWORD", "API_TOKEN"), {"POSTGRES_PASSWORD": "x", "API_TOKEN": "x"})
    assert render(template, env=env) == "demo"
    (found,) = told(f'metadata: {{path: p}}\nworkload: {{a: "{template}"}}\nworkflow: [{{step: start}}]\n')
    assert "warning: secret: env." in found
    assert "here it is always the default" in found


def test_without_a_default_it_stays_an_error() -> None:
    env = Env(("POSTGRES_PASSWORD",), {"POSTGRES_PASSWORD": "x"})
    for template in (
        "{{ env.POSTGRES_PASSWORD }}",
        "{{ env['POSTGRES_' ~ 'PASSWORD'] }}",
        "x{{ env.POSTGRES_PASSWORD }}",
    ):
        with pytest.raises(TemplateError, match=r"named like a secret: use secret\('env:POSTGRES_PASSWORD'\)"):
            render(template, env=env)
    (found,) = told("metadata: {path: p}\nworkload: {a: '{{ env.POSTGRES_PASSWORD }}'}\nworkflow: [{step: start}]\n")
    assert "error: secret:" in found

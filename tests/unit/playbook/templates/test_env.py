"""`env` in templates: what is listed, and nothing that is named like a secret."""

import pytest

from noetl.playbook.templates.env import Env
from tests.unit.playbook.templates.rendering import fails, render


def test_env_gives_only_what_is_listed() -> None:
    """The error says how to list a variable."""
    env = Env(("REGION", "UNSET"), {"REGION": "eu", "HOME": "/home/x"})
    assert render("{{ env.REGION }}", env=env) == "eu"
    assert render("in {{ env['REGION'] }}", env=env) == "in eu"
    assert render("{{ env.UNSET | default('d') }}", env=env) == "d"
    assert render("{{ env.HOME | default('d') }}", env=env) == "d"
    assert "list HOME in NOETL_TEMPLATE_ENV" in fails("{{ env.HOME }}", env=env)
    assert "UNSET is not set" in fails("{{ env.UNSET }}", env=env)


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD",
        "API_KEY",
        "GITHUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "PGPASSWORD",
        "my_secret",
        "APIKEY",
        "PRIVATE_KEY",
        "SMTP_PASS",
        "ADMIN_PWD",
        "CREDENTIALS",
        "BASIC_AUTH",
        "SENTRY_DSN",
    ],
)
def test_env_never_gives_what_is_named_like_a_secret(name: str) -> None:
    """Not even when it is listed, nor as a whole; the error points to secret()."""
    env = Env((name,), {name: "canary"})
    assert render("{{ env." + name + " | default('d') }}", env=env) == "d"
    for text in ("{{ env." + name + " }}", "{{ env." + name + " | upper }}", "{{ env['" + name + "'] }}"):
        message = fails(text, env=env)
        assert f"secret('env:{name}')" in message
        assert "canary" not in message
    assert render("{{ env }}", env=env) == {}
    assert render("{{ env.values() | list }}", env=env) == []


@pytest.mark.parametrize("name", ["REGION", "KEYBOARD", "PATHS", "COMPASS_URL", "AUTHOR", "BYPASS"])
def test_env_takes_no_innocent_name_for_a_secret(name: str) -> None:
    """Parts of words do not count."""
    assert render("{{ env." + name + " }}", env=Env((name,), {name: "v"})) == "v"

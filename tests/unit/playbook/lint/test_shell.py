"""What lint says of shell steps."""

import pytest

from noetl.playbook.load import lint

HEAD = "metadata: {path: p}\nworkflow:\n- step: start\n  type: shell\n"

WITH_DATA = "metadata: {path: p}\nworkload: {url: a/b, names: [a], n: 1}\nworkflow:\n"


def messages(steps: str) -> list[str]:
    found = lint(WITH_DATA + steps, "f.yaml")
    return [f"{one.line}:{one.column}: {one.severity}: {one.message}" for one in found]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("command: [curl, '-u', \"{{ secret('pw') }}\", x]", ["warning: shell-secret", "'env' or 'stdin'"]),
        ("command: [cat]\n  stdin: \"{{ secret('pw') }}\"", []),
        ("command: cat\n  env: {PW: \"{{ secret('pw') }}\"}\n  shell: sh", []),
        ("command: cat\n  shell: zsh", ["error: value", "zsh", "did you mean 'sh'"]),
        ("command: [echo, 'secret(x)']", []),
    ],
)
def test_lint_of_a_shell_step(fields: str, told: list[str]) -> None:
    found = [str(problem) for problem in lint(f"{HEAD}  {fields}\n", "f.yaml")]
    assert len(found) == bool(told), found
    assert all(word in found[0] for word in told), found


@pytest.mark.parametrize(
    "command",
    [
        "docker ps --format '{% raw %}{{ .Names }}{% endraw %}'",
        "echo {{ 5 }}",
        "echo {{ 'a' | upper }}",
        "mkdir run-{{ execution_id }}",
        "echo {{ now() }}",
        "{% raw %}echo '{{ workload.url }}'{% endraw %}",
    ],
)
def test_constants_in_a_shell_text_are_no_finding(command: str) -> None:
    assert messages(f'- {{step: start, type: shell, command: "{command}"}}\n') == []


@pytest.mark.parametrize(
    ("command", "column"),
    [
        ("{% raw %}{{ .A }}{% endraw %} {{ workload.url }}", 70),
        ("echo {{ 5 }} {{ url }}", 53),
        ("echo {{ url }} {{ 5 }}", 45),
        ("{% for a in names %}{{ a }}{% endfor %}", 60),
    ],
)
def test_data_in_a_shell_text_is_a_warning_at_its_place(command: str, column: int) -> None:
    (found,) = messages(f'- {{step: start, type: shell, command: "{command}"}}\n')
    assert found.startswith(f"4:{column}: warning: command of step 'start': a template is written into the text")

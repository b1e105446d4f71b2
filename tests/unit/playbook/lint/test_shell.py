"""What lint says of shell steps."""

import pytest

from noetl.playbook.load import lint

HEAD = "metadata: {path: p}\nworkflow:\n- step: start\n  type: shell\n"


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

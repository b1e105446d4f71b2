"""What lint says of the names in a block `save`, and of a save that has nothing to save."""

import pytest

from noetl.playbook.load import lint


def findings(steps: str, head: str = "") -> list[str]:
    text = f"metadata: {{path: p}}\n{head}workflow:\n{steps}"
    return [f"{problem.severity}: {problem.code}: {problem.message}" for problem in lint(text, "f.yaml")]


def saving(template: str, loop: str = "") -> str:
    return (
        f"- step: start\n  type: http\n  endpoint: x\n  params: {{day: 1}}\n{loop}"
        f'  save: {{storage: file, path: /x.json, data: {{v: "{template}"}}}}\n'
    )


@pytest.mark.parametrize("template", ["{{ data.x }}", "{{ this.url }}", "{{ result.data.x }}", "{{ this.data.x }}"])
def test_what_is_there_in_a_save_has_no_finding(template: str) -> None:
    assert findings(saving(template)) == findings(saving(template), "workload: {a: 1}\n") == []


@pytest.mark.parametrize("head", ["", "workload: {a: 1}\n"])
def test_a_field_of_the_step_is_no_name(head: str) -> None:
    """Also where a playbook has no workload, and any other name could come with the run."""
    (found,) = findings(saving("{{ params.day }}"), head)
    assert found.startswith("warning: unknown-name: save of step 'start' reads 'params'")


@pytest.mark.parametrize("field", ["url", "status_code", "headers"])
def test_what_a_call_tells_is_not_in_the_body(field: str) -> None:
    (found,) = findings(saving(f"{{{{ this.data.{field} }}}}"))
    assert found == (
        f"hint: unknown-field: save of step 'start': this.data.{field} is {field!r} of the answer's body;"
        f" of the call it is this.{field}"
    )


@pytest.mark.parametrize("name", ["results.count", "results[0]", "count", "items", "errors | length", "data"])
def test_the_save_of_a_loop_has_the_names_of_the_loop(name: str) -> None:
    head = "workload: {a: 1}\n"
    assert findings(saving(f"{{{{ {name} }}}}", "  loop: {in: [1]}\n"), head) == []


@pytest.mark.parametrize("name", ["count", "items"])
def test_other_saves_have_not(name: str) -> None:
    (found,) = findings(saving(f"{{{{ {name} }}}}"), "workload: {a: 1}\n")
    assert "unknown-name" in found


def test_a_save_step_without_data_is_an_error() -> None:
    assert findings("- {step: start, type: save}\n") == [
        "error: missing: step 'start' of type save has nothing to save: add 'data'"
    ]
    block = "save: {storage: file, path: /x.json, data: {a: 1}}"
    assert findings(f"- {{step: start, type: save, {block}}}\n") == [
        "error: missing: step 'start' of type save has nothing to save: write the fields of its block 'save' into"
        " the step itself"
    ]
    assert findings(f"- {{step: start, type: save, data: {{a: 1}}, {block}}}\n") == []

"""Values that are not what they seem: numbers with another text, texts as conditions, names in a block `save`, secrets
in SQL, files that each page writes anew."""

import re
from collections.abc import Callable, Iterator

import yaml

from tests.lint.source import Base, Mistake, Node, place


def _added(base: Base, step: Node, key: str, value: str, sign: str, code: str) -> Mistake:
    """Return the mistake of one more key of a step; it stands where `sign` is in the value."""
    text = base.with_key(step, key, value)
    start = step.start_mark.index + (1 if step.flow_style else 0)
    return Mistake(text, *place(text, start + len(f"{key}: ") + value.index(sign)), code)


def _calls(base: Base, *types: str) -> Iterator[Node]:
    """Yield the steps of some types that are neither loops nor blocks with a save."""
    for step in base.steps:
        names = [key.value for key, _ in step.value]
        if base.type(step) in types and not {"loop", "save", "task"} & set(names):
            yield step


def number_with_another_text(base: Base) -> Iterator[Mistake]:
    """Write a version, a code with zeros or a number in digits and an `e` without quotes into the workload."""
    for _, node in base.walk(base.get(base.root, "workload")):
        if not node.style and node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:str"):
            for number in ("1.10", "2.50", "12e3"):
                yield base.replaced(node, number, "number-text")


def retry_by_a_text(base: Base) -> Iterator[Mistake]:
    """Give `retry` a condition that is plain text, or text around a template."""
    for step in _calls(base, "http", "python", "postgres", "shell"):
        if base.get(step, "retry") is None:
            for key, condition in (
                ("when", "error.retryable"),
                ("until", "{{ result }} is there"),
                ("when", "{{ error.retryable }} == true"),
            ):
                yield _added(base, step, "retry", f'{{max_attempts: 3, {key}: "{condition}"}}', '"', "condition")


def condition_that_is_a_number(base: Base) -> Iterator[Mistake]:
    """Write a number or a list for a condition."""
    for step in base.steps:
        for clause in base.items(base.get(step, "next")):
            found = base.get(clause, "when")
            if found is not None:
                yield base.replaced(found, "1", "condition")
                yield base.replaced(found, "[]", "condition")


def field_of_the_step_in_its_save(base: Base) -> Iterator[Mistake]:
    """Read a field of the step in its block `save`, as if it were a name."""
    for step in _calls(base, "http", "postgres"):
        for field in ("params", "command", "endpoint"):
            if base.get(step, field) is not None:
                save = f'{{storage: file, path: kept.json, data: {{kept: "{{{{ {field} }}}}"}}}}'
                yield _added(base, step, "save", save, f"{field} }}}}", "unknown-name")


def field_of_the_call_in_the_body(base: Base) -> Iterator[Mistake]:
    """Look for a field of an HTTP result in the answer's body."""
    for step in _calls(base, "http"):
        for field in ("status_code", "headers", "url"):
            save = f'{{storage: file, path: kept.json, data: {{kept: "{{{{ this.data.{field} }}}}"}}}}'
            yield _added(base, step, "save", save, f"{field} }}}}", "unknown-field")


def save_without_data(base: Base) -> Iterator[Mistake]:
    """Leave out the data of a save step."""
    for step in base.steps:
        if base.type(step) == "save" and base.get(step, "data") is not None:
            yield Mistake(base.without(step, "data"), *base.place(step.start_mark.index), "missing")


def secret_in_sql(base: Base) -> Iterator[Mistake]:
    """Write a secret into the text of SQL."""
    for step in base.steps:
        for path, node in base.walk(step):
            if path[0] not in ("command", "commands", "statement") or base.type(step) == "shell" or node.style == "'":
                continue
            for found in re.finditer(r"(?<=[ (])(?:[$:]\w+|%\(\w+\)s)", base.raw(node)):
                index = node.start_mark.index + found.start()
                text = base.splice(index, index + len(found[0]), "'{{ secret('api_key') }}'")
                yield Mistake(text, *place(text, index + 1), "sql-secret")


def file_of_each_page(base: Base) -> Iterator[Mistake]:
    """Have a step behind a pager write the same file with each page."""
    for step in base.steps:
        name = base.step_name(step)
        for clause in base.items(base.get(step, "next")):
            then = [base.get(one, "step") for one in base.items(base.get(clause, "then"))]
            names = [one.value for one in then if isinstance(one, yaml.ScalarNode)]
            if any(name in base.after(one) | {one} for one in names):
                for other in (base.named(one) for one in names if name not in base.after(one) | {one}):
                    for path in ("page.json", "{{ workload.base_url }}.csv", "pages/{{ execution_id }}.parquet"):
                        save = f'{{storage: file, path: "{path}"}}'
                        yield _added(base, other, "save", save, '"', "each-page")


OPERATORS: list[Callable[[Base], Iterator[Mistake]]] = [
    number_with_another_text,
    retry_by_a_text,
    condition_that_is_a_number,
    field_of_the_step_in_its_save,
    field_of_the_call_in_the_body,
    save_without_data,
    secret_in_sql,
    file_of_each_page,
]

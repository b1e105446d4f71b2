"""Mistakes in the names that templates read."""

import re
from collections.abc import Callable, Iterator

import yaml

from tests.lint.source import TEMPLATE, Base, Mistake, Node, misspelt, place

SOMETIMES = {
    "weather": {"warn"},
    "parent": {"mourn"},
    "items": {"complain", "batches"},
    "routing": {"cold", "count", "note"},
    "nightly": {"full_load", "small_load", "index_"},
    "retries": {"first", "spare", "second"},
    "templates": {"send"},
    "saga": {"mourn"},
    "rulings": {"aggregate", "query"},
    "flow": {"big"},
}
"""By base, steps that have run on some of the ways to the end and not on others: known by reading, not by program."""

OPEN = {"templates", "signatures"}
"""Bases in which a name may come from where nobody can see it."""


def _roots(base: Base, step: Node) -> Iterator[tuple[str, int]]:
    """Yield the names right after `{{` in those of a step's templates that do not ask whether something is there."""
    for _, node in base.templates(step):
        if "default" not in base.raw(node) and "defined" not in base.raw(node):
            yield from base.names_in(node)


def misspell_a_name(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in the name of a step, an argument or the workload in a template."""
    for step in base.steps:
        for name, index in _roots(base, step):
            if len(name) > 4 and name not in ("results", "range", "namespace"):
                yield base.edited(index, len(name), misspelt(name), "unknown-name")


def name_of_nothing(base: Base) -> Iterator[Mistake]:
    """Read a name that stands nowhere."""
    for step in base.steps:
        for name, index in _roots(base, step):
            yield base.edited(index, len(name), "zzz_unheard_of", "unknown-name")


def name_in_a_task(base: Base) -> Iterator[Mistake]:
    """Read a name that stands nowhere, in a task of the workbook."""
    for task in base.items(base.get(base.root, "workbook")):
        for name, index in _roots(base, task):
            yield base.edited(index, len(name), "zzz_unheard_of", "unknown-name")


def name_in_the_workload(base: Base) -> Iterator[Mistake]:
    """Read a step's result in the workload, which is rendered before any step."""
    for path, node in base.walk(base.get(base.root, "workload")):
        if path and isinstance(node, yaml.ScalarNode) and not base.raw(node).startswith(("|", ">", "&")):
            name = base.step_name(base.steps[-1])
            text = base.put(node, f'"{{{{ {name}.x }}}}"')
            yield Mistake(text, *place(text, node.start_mark.index + 4), "unknown-name")


def name_of_a_later_step(base: Base) -> Iterator[Mistake]:
    """Read the result of a step that only comes later."""
    for step in base.items(base.get(base.root, "workflow")):
        name = base.step_name(step)
        for later in base.after(name):
            if name not in base.after(later):
                for found, index in _roots(base, step):
                    yield base.edited(index, len(found), later, "unknown-name")


def own_result_too_early(base: Base) -> Iterator[Mistake]:
    """Read a step's own result in its args, where there is none yet."""
    for step in base.steps:
        name = base.step_name(step)
        if name in base.after(name) or base.get(step, "loop") is not None:
            continue
        for path, node in base.templates(step):
            if path[0] in ("args", "params", "payload", "endpoint", "command") and "default" not in node.value:
                for found, index in base.names_in(node):
                    yield base.edited(index, len(found), name, "unknown-name")


def name_of_the_other_workflow(base: Base) -> Iterator[Mistake]:
    """Read in the workflow what a step of finally gives back."""
    after = base.items(base.get(base.root, "finally"))
    for step in base.items(base.get(base.root, "workflow")) if after else []:
        for name, index in _roots(base, step):
            yield base.edited(index, len(name), base.step_name(after[0]), "unknown-name")


def drop_the_default(base: Base) -> Iterator[Mistake]:
    """Take the default away from the result of a step that has not always run."""
    for step in base.items(base.get(base.root, "workflow")):
        for _, node in base.templates(step):
            for found in re.finditer(r"\{\{ (\w+)\.[\w.]+ \| default\([^)]*\) \}\}", base.raw(node)):
                if found[1] in SOMETIMES.get(base.name, ()) and found[1] != "whole":
                    start = node.start_mark.index + found.start()
                    text = re.sub(r" \| default\([^)]*\)", "", found[0])
                    new = base.splice(start, start + len(found[0]), text)
                    yield Mistake(new, *base.place(start + 3), "uncertain-name")


def name_of_one_branch(base: Base) -> Iterator[Mistake]:
    """Let the end read the result of a step that has not always run."""
    end = next((step for step in base.steps if base.step_name(step) == "end"), None)
    for path, node in base.templates(end) if end is not None else ():
        for name in sorted(SOMETIMES.get(base.name, set()) & base_names(base)):
            if path[0] == "result" and base.raw(node)[0] in "'\"":
                text = base.put(node, f'"{{{{ {name}.data }}}}"')
                yield Mistake(text, *place(text, node.start_mark.index + 4), "uncertain-name")


def base_names(base: Base) -> set[str]:
    return {base.step_name(step) for step in base.items(base.get(base.root, "workflow"))}


def forget_an_argument(base: Base) -> Iterator[Mistake]:
    """Rename an argument of the only way to a step that reads it; no key of the workload stands in for it."""
    workload = base.get(base.root, "workload")
    for step in base.steps:
        for clause in base.items(base.get(step, "next")):
            for target in _targets_with_args(base, clause):
                name = base.get(target, "step").value
                if len(re.findall(rf"(?:step|next|then|else): {name}\b", base.text)) > 2 or base.name in OPEN:
                    continue  # it has another way; the first is the step's own name
                for key, _ in base.get(target, "args").value:
                    used = [index for found, index in _roots(base, base.named(name)) if found == key.value]
                    if used and base.get(workload, key.value) is None:
                        index = key.start_mark.index
                        text = base.splice(index, index + len(key.value), "other")
                        moved = used[0] - (len(key.value) - len("other") if used[0] > index else 0)
                        yield Mistake(text, *Base("", text).place(moved), "unknown-name")


def _targets_with_args(base: Base, clause: Node) -> Iterator[Node]:
    given = [clause, *base.items(base.get(clause, "then")), *base.items(base.get(clause, "else"))]
    for target in [*given, base.get(clause, "then"), base.get(clause, "else")]:
        if base.get(target, "step") is not None and isinstance(base.get(target, "args"), yaml.MappingNode):
            yield target


def iterator_outside_its_loop(base: Base) -> Iterator[Mistake]:
    """Read a loop's iterator in another step."""
    for step in base.steps:
        iterator = base.get(base.get(step, "loop"), "iterator")
        for other in base.steps if iterator is not None else []:
            if other is not step:
                for name, index in _roots(base, other):
                    yield base.edited(index, len(name), iterator.value, "unknown-name")


def result_outside_its_place(base: Base) -> Iterator[Mistake]:
    """Read `this` in a step's args, which has a meaning in `next` and `save` only."""
    for step in base.steps:
        for _, node in base.templates(step):
            if base.get(step, "args") is not None and _is_in(node, base.get(step, "args")) and "def" not in node.value:
                for name, index in base.names_in(node):
                    yield base.edited(index, len(name), "this", "unknown-name")


def _is_in(node: Node, outer: Node) -> bool:
    return bool(outer.start_mark.index <= node.start_mark.index < outer.end_mark.index)


def error_without_a_failure(base: Base) -> Iterator[Mistake]:
    """Read `error` where nothing has failed."""
    handled = {
        name
        for step in base.steps
        for _, node in base.walk(base.get(step, "on_error"))
        for name in [node.value]
        if name in base_names(base)
    }
    behind = handled.union(*(base.after(name) for name in handled)) if handled else set()
    for step in base.items(base.get(base.root, "workflow")):
        if base.step_name(step) not in behind and not any(
            base.get(other, "on_error") is not None and base.get(other, "on_error").value == "continue"
            for other in base.steps
        ):
            for path, node in base.templates(step):
                if path[0] in ("args", "params", "payload", "endpoint", "result") and "def" not in node.value:
                    for name, index in base.names_in(node):
                        yield base.edited(index, len(name), "error", "unknown-name")


def step_of_results(base: Base) -> Iterator[Mistake]:
    """Ask `results` for a step that there is not."""
    for step in base.steps:
        for name, index in _roots(base, step):
            if name in base_names(base):
                text = base.splice(index, index + len(name), "results.zzz_nobody")
                yield Mistake(text, *place(text, index + len("results.")), "unknown-name")


def secret_outside_a_tool(base: Base) -> Iterator[Mistake]:
    """Read a secret where it would be stored: in a result, a condition, a transition's args."""
    for step in base.steps:
        for path, node in base.templates(step):
            raw = base.raw(node)
            if path[0] in ("next", "result") and raw[0] in "'\"" and TEMPLATE.fullmatch(raw[1:-1]):
                quote = "'" if raw[0] == '"' else '"'
                text = base.put(node, f"{raw[0]}{{{{ secret({quote}k{quote}) }}}}{raw[0]}")
                yield Mistake(text, *place(text, node.start_mark.index + 4), "secret")


def secret_of_the_environment(base: Base) -> Iterator[Mistake]:
    """Read an environment variable that is named like a secret."""
    for step in base.steps:
        for _, node in base.templates(step):
            raw = base.raw(node)
            if raw[0] in "'\"" and TEMPLATE.fullmatch(raw[1:-1]):
                text = base.put(node, f"{raw[0]}{{{{ env.DB_PASSWORD }}}}{raw[0]}")
                yield Mistake(text, *place(text, node.start_mark.index + 4 + len("env.")), "secret")


OPERATORS: list[Callable[[Base], Iterator[Mistake]]] = [
    misspell_a_name,
    name_of_nothing,
    name_in_a_task,
    name_in_the_workload,
    name_of_a_later_step,
    own_result_too_early,
    name_of_the_other_workflow,
    drop_the_default,
    name_of_one_branch,
    forget_an_argument,
    iterator_outside_its_loop,
    result_outside_its_place,
    error_without_a_failure,
    step_of_results,
    secret_outside_a_tool,
    secret_of_the_environment,
]

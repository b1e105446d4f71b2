"""Mistakes in what other languages stand in a playbook: Python, SQL, shell; and in credentials."""

import ast
import re
from collections.abc import Callable, Iterator

import yaml

from tests.lint.source import Base, Mistake, Node, misspelt, place


def _code(base: Base) -> Iterator[Node]:
    """Yield the code of python steps that stands in a block."""
    for owner in base.owners():
        found = base.get(owner, "code")
        if found is not None and found.style == "|":
            yield found


def _python(base: Base, index: int, length: int, text: str) -> Iterator[Mistake]:
    """Yield the mistake of an edit in a block of code, at the place where Python itself sees it."""
    new = Base("", base.splice(index, index + length, text))
    for node in _code(new):
        if node.start_mark.index < index < node.end_mark.index:
            try:
                ast.parse(node.value)
            except SyntaxError as error:
                lines = node.value.splitlines()
                line = node.start_mark.line + (error.lineno or 1)
                indent = len(new.text.splitlines()[line]) - len(lines[(error.lineno or 1) - 1])
                yield Mistake(new.text, line + 1, (error.offset or 1) + indent, "python")


def python_without_a_colon(base: Base) -> Iterator[Mistake]:
    """Leave out the colon behind `def main(...)`."""
    for node in _code(base):
        for found in re.finditer(r"\):\n", base.raw(node)):
            yield from _python(base, node.start_mark.index + found.start() + 1, 1, "")


def python_open_bracket(base: Base) -> Iterator[Mistake]:
    """Leave out a brace or bracket that closes what is returned."""
    for node in _code(base):
        for found in re.finditer(r"[\])}](?=\n)", base.raw(node)):
            yield from _python(base, node.start_mark.index + found.start(), 1, "")


def python_indentation(base: Base) -> Iterator[Mistake]:
    """Indent a line too far."""
    for node in _code(base):
        for found in re.finditer(r"(?<=\n) +(?=return)", base.raw(node)):
            yield from _python(base, node.start_mark.index + found.end(), 0, "  return\n" + found[0])


def python_without_main(base: Base) -> Iterator[Mistake]:
    """Give the function another name than the step calls."""
    for owner in base.owners():
        code = base.get(owner, "code")
        if code is not None:
            index = base.text.index("def main", code.start_mark.index) + len("def ")
            yield Mistake(base.splice(index, index + len("main"), "run"), *base.place(code.start_mark.index), "python")


def python_parameter_that_nobody_gives(base: Base) -> Iterator[Mistake]:
    """Give `main` one more parameter, which no args have."""
    for step in base.steps:
        code = base.get(step, "code")
        if code is None or code.style != "|":
            continue
        found = re.search(r"def main\((\w+(?:, \w+)*)\)", base.raw(code))
        if found is not None and found[1] != "input_data":
            index = code.start_mark.index + found.end(1)
            text = base.splice(index, index, ", unheard_of")
            yield Mistake(text, *place(text, index + len(", ")), "missing-argument")


def python_argument_under_another_name(base: Base) -> Iterator[Mistake]:
    """Rename an argument of a python step that its `main` takes by name."""
    for step in base.steps:
        code, args = base.get(step, "code"), base.get(step, "args")
        found = re.search(r"def main\(([\w, ]*)\)", base.raw(code)) if code is not None and code.style == "|" else None
        if found is None or args is None or args.start_mark.index > code.start_mark.index:
            continue
        for key, _ in args.value:
            at = re.search(rf"\b{key.value}\b", found[1])
            if at is not None:
                text = base.splice(key.start_mark.index, key.end_mark.index, "renamed")
                index = code.start_mark.index + found.start(1) + at.start() + len("renamed") - len(key.value)
                yield Mistake(text, *place(text, index), "missing-argument")


# ---- SQL -------------------------------------------------------------------------------------------------------------


def _sql(base: Base) -> Iterator[Node]:
    """Yield the SQL texts of a base that stand in a block or in quotes."""
    for owner in base.owners():
        if base.type(owner) in ("postgres", "duckdb"):
            for key in ("command", "commands"):
                for _, node in base.walk(base.get(owner, key)):
                    yield node


def _appended(base: Base, node: Node, text: str, mark: str) -> Mistake:
    """Return the mistake of more SQL at the end of a text, at the first `mark` in what was added."""
    end = node.end_mark.index
    if node.style == "|":
        last = base.text[: node.end_mark.index].rstrip()
        indent = re.search(r"\n( +)\S[^\n]*$", last)
        assert indent is not None
        at = len(last) + 1 + len(indent[1])
        return Mistake(
            base.splice(len(last), len(last), "\n" + indent[1] + text),
            *Base("", base.splice(len(last), len(last), "\n" + indent[1] + text)).place(at + text.index(mark)),
            "sql",
        )
    at = end - 1 if node.style in ("'", '"') else end
    new = base.splice(at, at, " " + text)
    return Mistake(new, *Base("", new).place(at + 1 + text.index(mark)), "sql")


def _double_quoted(base: Base) -> Iterator[Node]:
    return (node for node in _sql(base) if node.style in ("|", '"'))


def sql_open_quote(base: Base) -> Iterator[Mistake]:
    """Leave a text in SQL without its closing quote."""
    for node in _double_quoted(base):
        yield _appended(base, node, "UNION SELECT 'never closed", "'")


def sql_open_parenthesis(base: Base) -> Iterator[Mistake]:
    """Leave a parenthesis in SQL open."""
    for node in _double_quoted(base):
        yield _appended(base, node, "UNION SELECT count(*, 1", "(")


def sql_closed_too_often(base: Base) -> Iterator[Mistake]:
    """Close a parenthesis in SQL that was not opened."""
    for node in _double_quoted(base):
        yield _appended(base, node, "AND a = 1)", ")")


def sql_open_dollar_quote(base: Base) -> Iterator[Mistake]:
    """Leave a dollar quote open."""
    for node in _double_quoted(base):
        yield _appended(base, node, "UNION SELECT $text$ never closed $$", "$text$")


def sql_open_comment(base: Base) -> Iterator[Mistake]:
    """Leave a comment in SQL open."""
    for node in _double_quoted(base):
        yield _appended(base, node, "/* never closed", "/*")


def sql_misspelt_command(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in the first word of a SQL command."""
    for node in _sql(base):
        found = re.search(r"(?m)(?:^[|\"']?\s*|; *\n? *)(SELECT|INSERT|CREATE|DELETE|COPY)\b", base.raw(node))
        if found is not None:
            index = node.start_mark.index + found.start(1)
            new = base.splice(index, index + len(found[1]), misspelt(found[1]))
            yield Mistake(new, *base.place(index), "sql")


def sql_without_a_command(base: Base) -> Iterator[Mistake]:
    """Leave nothing of a SQL text, or a comment only."""
    for node in _sql(base):
        if node.style != "|":
            yield base.replaced(node, '""', "sql")
            yield base.replaced(node, '"-- later"', "sql")


def value_in_sql(base: Base) -> Iterator[Mistake]:
    """Write a value into the SQL by a template."""
    for node in _sql(base):
        for found in re.finditer(r"[%$:]\(?([a-z]+)(?:\)s)?", base.raw(node)):
            if found[0].endswith(")s"):
                index = node.start_mark.index + found.start()
                new = base.splice(index, index + len(found[0]), "'{{ workload }}'")
                yield Mistake(new, *base.place(index + 1), "sql-template")
                new = base.splice(index, index + len(found[0]), "{{ workload }}")
                yield Mistake(new, *base.place(index), "sql-template")


def template_in_a_shell_text(base: Base) -> Iterator[Mistake]:
    """Write a value into a shell's text by a template."""
    for step in base.steps:
        if base.type(step) == "shell":
            node = base.get(step, "command")
            if isinstance(node, yaml.SequenceNode):
                new = base.put(node, '"du -s {{ workload.directory }}"')
                yield Mistake(new, *place(new, node.start_mark.index + len('"du -s ')), "shell-template")
            else:
                index = base.text.index('"$', node.start_mark.index)
                new = base.splice(index, index, "{{ workload }} ")
                yield Mistake(new, *base.place(index), "shell-template")


# ---- credentials -----------------------------------------------------------------------------------------------------


def unknown_credential(base: Base) -> Iterator[Mistake]:
    """Exchange two letters in the name of a credential."""
    for owner in base.owners():
        for holder in (owner, base.get(owner, "save")):
            auth = base.get(holder, "auth")
            for path, node in base.walk(auth):
                if (not path or path[-1] != "type") and "{{" not in node.value:
                    yield base.replaced(node, misspelt(node.value), "unknown-credential")


def unknown_secret(base: Base) -> Iterator[Mistake]:
    """Ask for the secret of a name that there is not."""
    for owner in base.owners():
        for _, node in base.templates(owner):
            raw = base.raw(node)
            if (
                "secret(" not in raw
                and raw[0] == '"'
                and base.type(owner) == "http"
                and "headers" in _path(base, owner, node)
            ):
                text = base.put(node, "\"{{ secret('warehose') }}\"")
                yield Mistake(text, *place(text, node.start_mark.index + 4), "unknown-credential")


def _path(base: Base, owner: Node, node: Node) -> tuple[str, ...]:
    return next(path for path, found in base.walk(owner) if found is node)


OPERATORS: list[Callable[[Base], Iterator[Mistake]]] = [
    python_without_a_colon,
    python_open_bracket,
    python_indentation,
    python_without_main,
    python_parameter_that_nobody_gives,
    python_argument_under_another_name,
    sql_open_quote,
    sql_open_parenthesis,
    sql_closed_too_often,
    sql_open_dollar_quote,
    sql_open_comment,
    sql_misspelt_command,
    sql_without_a_command,
    value_in_sql,
    template_in_a_shell_text,
    unknown_credential,
    unknown_secret,
]

"""The reader of typed values in the YAML tree, which gathers every problem with its place."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from noetl.errors import InputError, Problem
from noetl.playbook import durations
from noetl.playbook.lint.codes import Code
from noetl.playbook.read.foreign_words import meant
from noetl.playbook.templates import template as templates
from noetl.playbook.templates.template import AnyTemplate, Constant
from noetl.playbook.values import plain
from noetl.playbook.yaml.positions import place_in
from noetl.playbook.yaml.scalars import TRUTH_WORDS
from noetl.playbook.yaml.tree import Node

_SECRET_CALL = re.compile(r"\bsecret\s*\(")

MAX_NAME_BYTES = 2000
"""Bytes of a name: the database looks names up in indexes, whose entries are bounded."""

MAX_DATA_BYTES = 32 * 1024 * 1024
"""Bytes of data in a file, as JSON: what a result can have."""


class Reader:
    """One file being read. Each method reports its problems and goes on; None stands for an unusable value."""

    def __init__(self, filename: str, text: str) -> None:
        self.filename = filename
        self.lines = text.splitlines()
        self.problems: list[Problem] = []
        self.playbook = filename  # what template errors call it: the path, once it is known
        self._secrets = False  # whether what is read goes to a tool and nowhere else

    def error(self, node: Node, code: Code, message: str) -> None:
        self.report(node.line, node.column, "error", code, message)

    def warning(self, node: Node, code: Code, message: str) -> None:
        self.report(node.line, node.column, "warning", code, message)

    def report(self, line: int, column: int, severity: str, code: Code, message: str) -> None:
        self.problems.append(Problem(self.filename, line, column, severity, code, message))

    def report_token(self, node: Node, index: int, token: str, severity: str, code: Code, message: str) -> None:
        """Report a problem of a token, which begins at an index of a text, where it stands in the file."""
        self.report(*place_in(self.lines, node, index, token), severity, code, message)

    @property
    def errors(self) -> int:
        """The number of errors reported; warnings and hints do not count."""
        return sum(problem.severity == "error" for problem in self.problems)

    def has_error(self, node: Node) -> bool:
        """Whether an error is reported at the place of a value."""
        place = node.line, node.column
        return any((problem.line, problem.column) == place and problem.severity == "error" for problem in self.problems)

    # -- shapes

    def mapping(self, node: Node, label: str) -> dict[str, Node] | None:
        if node.kind == "mapping":
            keys: dict[str, Node] = node.value
            return keys
        self.error(node, Code.WRONG_TYPE, f"{label} is {node.describe()}: it must be a mapping")
        return None

    def items(self, node: Node, label: str) -> list[Node]:
        if node.kind == "list":
            values: list[Node] = node.value
            return values
        self.error(node, Code.WRONG_TYPE, f"{label} is {node.describe()}: it must be a list")
        return []

    def unknown(self, node: Node, allowed: Iterable[str], label: str, place: str = "") -> None:
        """Report the keys of a mapping that mean nothing there. `place`: whose words of other systems they may be."""
        known = set(allowed)
        for name, key in node.keys.items():
            if name not in known:
                self.error(key, Code.UNKNOWN_KEY, f"unknown key {name!r} in {label}{meant(name, known, place)}")

    # -- scalars

    def text(self, node: Node, label: str) -> str | None:
        if isinstance(node.value, str):
            return node.value
        advice = "it must be text"
        if node.kind == "mapping":
            advice += ": write '|' behind the ':', and the text below it, indented"
        if node.kind == "scalar" and not node.null:
            advice += f", in quotes if you mean it: {node.text!r}"
        self.error(node, Code.WRONG_TYPE, f"{label} is {node.describe()}: {advice}")
        return None

    def name(self, node: Node, label: str) -> str | None:
        """Read text that has no template in it and is not empty."""
        text = self.text(node, label)
        if text is None:
            return None
        if templates.is_template(text):
            self.error(node, Code.WRONG_TYPE, f"{label} is a template: it must be plain text")
            return None
        if not text.strip():
            self.error(node, Code.WRONG_TYPE, f"{label} is empty: write a name")
            return None
        if len(text.encode(errors="replace")) > MAX_NAME_BYTES:
            self.error(node, Code.TOO_LONG, f"{label} is longer than {MAX_NAME_BYTES:,} bytes: shorten it")
            return None
        return text

    def integer(self, node: Node, label: str, least: int | None = None) -> int | None:
        value = node.value
        if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
            bound = "" if least is None else f" of at least {least}"
            self.error(node, Code.WRONG_TYPE, f"{label} is {node.describe()}: it must be a whole number{bound}")
            return None
        return value

    def number(self, node: Node, label: str, least: float) -> float | None:
        value = node.value
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value < least:
            self.error(
                node, Code.WRONG_TYPE, f"{label} is {node.describe()}: it must be a number of at least {least:g}"
            )
            return None
        return float(value)

    def boolean(self, node: Node, label: str) -> bool | None:
        if isinstance(node.value, bool):
            return node.value
        meant = TRUTH_WORDS.get(node.text.lower(), "")
        advice = f": write {meant}" if meant and node.kind == "scalar" else ": it must be true or false"
        self.error(node, Code.WRONG_TYPE, f"{label} is {node.describe()}{advice}")
        return None

    def duration(self, node: Node, label: str) -> float | None:
        """Read a duration without a template, in seconds."""
        try:
            if node.kind == "scalar":
                return durations.seconds(node.value)
            raise InputError(f"{node.describe()} is not a duration: write '10s' or '1h30m'")
        except InputError as error:
            self.error(node, Code.WRONG_TYPE, f"{label}: {error}")
            return None

    def data(self, node: Node, label: str) -> Any:
        """Read a value that is data, never a template: plain JSON."""
        value = node.plain()
        try:
            plain(value, MAX_DATA_BYTES, label)
        except InputError as error:
            self.error(node, Code.VALUE, str(error))
        return value

    # -- templates

    @contextmanager
    def with_secrets(self, allowed: bool = True) -> Iterator[None]:
        """Let templates call `secret` that are read inside the block: the values of those go to a tool only."""
        before, self._secrets = self._secrets, allowed
        try:
            yield
        finally:
            self._secrets = before

    def template(self, node: Node, step: str, field: str) -> AnyTemplate:
        """Return the template of a value of any nesting; what cannot be read is reported at its own place."""
        if node.kind == "scalar":
            return self._text_template(node, step, field) if isinstance(node.value, str) else Constant(node.value)
        if node.kind == "list":
            return templates.list_template(
                [self.template(item, step, f"{field}[{index}]") for index, item in enumerate(node.value)]
            )
        for name, key in node.keys.items():
            if "{{" in name:
                self.error(key, Code.TEMPLATE, f"the key {name!r} of {field} is a template: only values can be")
        return templates.mapping_template(
            {name: self.template(item, step, f"{field}.{name}" if field else name) for name, item in node.value.items()}
        )

    def _text_template(self, node: Node, step: str, field: str, is_condition: bool = False) -> AnyTemplate:
        try:
            template = templates.compile_text(node.value, (self.playbook, step, field), is_condition)
            if templates.REFERENCE_CALL in template.names and not self._secrets:
                match = _SECRET_CALL.search(node.value)
                message = (
                    f"{field}: secret() can stand in the fields, args and auth of a step with a tool only: everything"
                    " else is kept in the log"
                )
                self.report_token(node, match.start() if match else 0, "secret", "error", Code.SECRET, message)
            return template
        except templates.UnreadableTemplate as error:
            line, column = node.line, node.column
            if node.block:
                line, column = line + error.line, 1
            elif error.line > 1 and not node.apart:
                line, column = line + error.line - 1, 1
            text = node.value.strip()
            short = text if len(text) <= 80 else text[:77] + "..."
            self.report(line, column, "error", Code.TEMPLATE, f"{field or 'template'}: {error.reason} in {short!r}")
            return Constant(None)

    def mapping_template(self, node: Node, step: str, field: str, label: str) -> AnyTemplate | None:
        """Return the template of a mapping, or of one expression that gives one."""
        if node.kind == "mapping" or (isinstance(node.value, str) and templates.is_template(node.value)):
            return self.template(node, step, field)
        self.error(node, Code.WRONG_TYPE, f"{label} is {node.describe()}: it must be a mapping")
        return None

    def condition(self, node: Node, step: str, field: str) -> AnyTemplate:
        """Return the template of a condition: true, false or exactly one expression; None where it is none of these."""
        value: Any = node.value
        if isinstance(value, bool):
            return Constant(value)
        if isinstance(value, str) and templates.is_template(value):
            stripped = Node("scalar", node.line, node.column, value=value.strip(), block=node.block)
            template = self._text_template(stripped, step, field, is_condition=True)
            if isinstance(template, (templates.Expression, templates.Path)) and template.is_expression:
                return templates.Condition(template)
            if template.constant:
                return template  # it cannot be read, which has been reported
            self.error(node, Code.CONDITION, f"{field} is mixed text, always true: write all of it in one {{{{ }}}}")
            return Constant(None)
        hint = f": write '{{{{ {value} }}}}'" if isinstance(value, str) and value.strip() else ""
        self.error(node, Code.CONDITION, f"{field} is {node.describe()}: it must be true, false or {{{{ ... }}}}{hint}")
        return Constant(None)

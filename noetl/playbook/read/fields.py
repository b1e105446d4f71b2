"""The reader of a step type's own fields, and of the keys that steps and tasks share."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.model import Retry
from noetl.playbook.read import python_code as pycode
from noetl.playbook.read.auth import check_auth
from noetl.playbook.read.number_texts import as_texts
from noetl.playbook.read.reader import Reader
from noetl.playbook.step_types import STEP_TYPES, Field, fields_of
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.templates import template as templates
from noetl.playbook.templates.template import AnyTemplate, Constant
from noetl.playbook.yaml.tree import Node

RETRY_TRUE: Final = Retry(max_attempts=3)
"""What `retry: true` means, and where a mapping begins."""

RETRY_KEYS: Final = frozenset({"max_attempts", "initial_delay", "backoff", "max_delay", "jitter", "when", "until"})


@dataclass(frozen=True, slots=True)
class KeyReader:
    """A step or a task whose keys are read. `place` names it in template errors, `label` in
    problems."""

    reader: Reader
    node: Node
    place: str
    label: str

    @property
    def keys(self) -> Mapping[str, Node]:
        mapping: Mapping[str, Node] = self.node.value
        return mapping

    def given(self, key: str) -> Node | None:
        """Return the value of a key; None where it is absent or empty."""
        node = self.keys.get(key)
        return None if node is None or node.null else node

    def error(self, key: str, code: Code, message: str) -> None:
        """Report a problem at a key."""
        self.reader.error(self.node.keys[key], code, message)

    # -- fields of a type

    def fields(self, type_: str, prefix: str = "") -> dict[str, AnyTemplate]:
        """Return the templates of a type's own fields. `prefix`: of what template errors call the fields."""
        fields: dict[str, AnyTemplate] = {}
        descriptor = STEP_TYPES[type_]
        for name, spec in descriptor.fields.items():
            node = self.keys.get(name)
            if node is None or (node.null and spec.kind != "any"):
                continue
            with self.reader.with_secrets(descriptor.has_effects):
                template = self._field(node, spec, prefix + name)
            if template is not None:
                fields[name] = template
        for code in map(self.given, descriptor.fields_in("python")):
            if code is not None and isinstance(code.value, str):
                pycode.check(self.reader, code, self.label)
        both = descriptor.one_of
        if both and all(name in fields for name in both):
            self.error(both[1], Code.UNKNOWN_KEY, f"{self.label} has both {both[0]!r} and {both[1]!r}: leave one out")
        return fields

    def _field(self, node: Node, spec: Field, name: str) -> AnyTemplate | None:
        reader, value, label = self.reader, node.value, f"{name} of {self.label}"
        if spec.raw:
            text = reader.text(node, label)
            return None if text is None else Constant(text)
        if isinstance(value, str) and templates.is_template(value):
            return reader.template(node, self.place, name)
        if spec.kind == "mapping":
            return reader.mapping_template(as_texts(node) if spec.texts else node, self.place, name, label)
        if spec.kind == "integer" and reader.integer(node, label, 1) is None:
            return None
        if spec.kind == "boolean" and reader.boolean(node, label) is None:
            return None
        if spec.kind == "duration" and reader.duration(node, label) is None:
            return None
        if spec.kind == "text":
            text = reader.name(node, label)
            if text is None:
                return None
            if spec.choices and text.casefold() not in map(str.casefold, spec.choices):
                hint = did_you_mean(text, spec.choices) or f": it is one of {', '.join(spec.choices)}"
                reader.error(node, Code.VALUE, f"{label} is {text!r}{hint}")
        return reader.template(node, self.place, name)

    def require(self, type_: str, fields: Mapping[str, AnyTemplate]) -> None:
        """Report required fields of a type that are missing."""
        for name, spec in STEP_TYPES[type_].fields.items():
            if spec.required and name not in fields and self.given(name) is None:
                self.reader.error(self.node, Code.MISSING, f"{self.label} of type {type_} has no {name!r}: add it")
        either = STEP_TYPES[type_].one_of
        if either and not any(key in fields or self.given(key) for key in either):
            message = f"{self.label} of type {type_} has no {either[0]!r} and no {either[1]!r}: add one of them"
            self.reader.error(self.node, Code.MISSING, message)

    # -- keys of any step

    def auth(self, type_: str | None) -> AnyTemplate | None:
        """Return the template of a step's login: a credential's name, a mapping, or a template.

        `type_` is the step's type.
        """
        node = self.given("auth")
        if node is None:
            return None
        if node.kind != "mapping" and not isinstance(node.value, str):
            message = f"auth of {self.label} is {node.describe()}: it must be the name of a credential, or a mapping"
            self.error("auth", Code.WRONG_TYPE, message)
        else:
            check_auth(self.reader, node, type_, f"auth of {self.label}")
        with self.reader.with_secrets():
            return self.reader.template(node, self.place, "auth")

    def save(self) -> AnyTemplate | None:
        """Return the fields of the save that runs when the step is done."""
        node = self.given("save")
        return None if node is None else self.save_block(node, f"save of {self.label}", "save")

    def save_block(self, node: Node, label: str, field: str) -> AnyTemplate | None:
        """Return the fields of a block `save`, its `auth` among them."""
        if self.reader.mapping(node, label) is None:
            return None
        self.reader.unknown(node, {*fields_of("save"), "auth"}, label, "save")
        inner = KeyReader(self.reader, node, self.place, label)
        fields, auth = inner.fields("save", prefix=f"{field}."), inner.auth("save")
        return templates.mapping_template({**fields, **({"auth": auth} if auth is not None else {})})

    def args(self, type_: str | None) -> AnyTemplate | None:
        """Return the template of `args` of a step or task of a type."""
        node = self.given("args")
        if node is None:
            return None
        with self.reader.with_secrets(type_ is None or STEP_TYPES[type_].has_effects):
            return self.reader.mapping_template(node, self.place, "args", f"args of {self.label}")

    def text(self, key: str) -> str:
        """Return text such as `desc`, empty where there is none."""
        node = self.given(key)
        return "" if node is None else self.reader.text(node, f"{key} of {self.label}") or ""

    def timeout(self) -> AnyTemplate | None:
        """Return the timeout of an attempt: a template, or constant seconds."""
        node = self.given("timeout")
        if node is None:
            return None
        if isinstance(node.value, str) and templates.is_template(node.value):
            return self.reader.template(node, self.place, "timeout")
        seconds = self.reader.duration(node, f"timeout of {self.label}")
        if seconds == 0:
            self.reader.error(node, Code.VALUE, f"timeout of {self.label} is 0: it must be more")
        return None if seconds is None else Constant(seconds)

    def retry(self) -> Retry | None:
        """Return the retry policy, None where the key is absent."""
        node = self.given("retry")
        if node is None:
            return None
        if isinstance(node.value, bool):
            return RETRY_TRUE if node.value else Retry()
        if node.kind == "scalar":
            attempts = self.reader.integer(node, f"retry of {self.label} (true, a number of attempts or a mapping)", 1)
            return None if attempts is None else replace(RETRY_TRUE, max_attempts=attempts)
        keys = self.reader.mapping(node, f"retry of {self.label}")
        if keys is None:
            return None
        self.reader.unknown(node, RETRY_KEYS, f"retry of {self.label}", "retry")
        retry = RETRY_TRUE
        for key, value in keys.items():
            retry = self._retry_key(retry, key, value)
        return retry

    def _retry_key(self, retry: Retry, key: str, node: Node) -> Retry:
        reader, label = self.reader, f"retry.{key} of {self.label}"
        match key:
            case "max_attempts":
                return replace(retry, max_attempts=reader.integer(node, label, 1) or 1)
            case "initial_delay":
                return replace(retry, initial_delay=reader.duration(node, label) or 0.0)
            case "max_delay":
                return replace(retry, max_delay=reader.duration(node, label) or 0.0)
            case "backoff":
                return replace(retry, backoff=reader.number(node, label, 1) or 1.0)
            case "jitter":
                return replace(retry, jitter=reader.boolean(node, label) or False)
            case "when":
                return replace(retry, when=reader.condition(node, self.place, "retry.when"))
            case "until":
                return replace(retry, until=reader.condition(node, self.place, "retry.until"))
            case _:
                return retry  # reported as unknown

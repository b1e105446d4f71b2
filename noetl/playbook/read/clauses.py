"""The reader of `next` and `on_error`: every form of them gives the same clauses and edges."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from noetl.playbook.lint.codes import Code
from noetl.playbook.model import Clause, Edge
from noetl.playbook.read.reader import Reader
from noetl.playbook.yaml.tree import Node


@dataclass(slots=True)
class Target:
    """An edge's target as it stands in the file, to be checked when all steps are known.

    `key` is `next` or `on_error`; `args` and `when` are what stands in the file with it.
    """

    step: str
    name: str
    node: Node
    key: str
    args: Node | None
    when: Node | None


@dataclass(slots=True)
class Clauses:
    """Numbers the edges through one whole playbook."""

    reader: Reader
    edges: int = 0
    targets: list[Target] = field(default_factory=list)

    def read(self, step: str, key: str, node: Node | None) -> tuple[Clause, ...]:
        """Return the clauses of a step's `next` or `on_error`."""
        if node is None or node.null:
            return ()
        items = node.value if node.kind == "list" else [node]
        return tuple(clause for item in items for clause in self._clause(step, key, item))

    def _clause(self, step: str, key: str, node: Node) -> Iterator[Clause]:
        """Yield the clauses that one item of `next` or `on_error` stands for."""
        reader = self.reader
        if node.kind != "mapping":
            yield Clause(None, tuple(self._targets(step, key, node)))
            return
        keys: dict[str, Node] = node.value
        condition = keys.get("when")
        when = reader.condition(condition, step, f"{key}.when") if condition is not None else None
        if "then" in keys or "else" in keys:
            reader.unknown(node, {"when", "then", "else", "args"}, f"{key} of step {step!r}", "clause")
            if when is not None and "then" not in keys:
                reader.error(node, Code.MISSING, f"{key} of step {step!r} has a condition but no 'then': add it")
            if "then" in keys:
                yield Clause(when, tuple(self._targets(step, key, keys["then"], keys.get("args"), condition)))
            if "else" in keys:
                yield Clause(None, tuple(self._targets(step, key, keys["else"], keys.get("args"))))
            return
        reader.unknown(node, {"when", "step", "args", "then", "else"}, f"{key} of step {step!r}", "clause")
        if "step" not in keys:
            reader.error(node, Code.MISSING, f"{key} of step {step!r} leads nowhere: add 'step: name', or 'then'")
            return
        yield Clause(when, tuple(self._targets(step, key, keys["step"], keys.get("args"), condition)))

    def _targets(
        self, step: str, key: str, node: Node, args: Node | None = None, when: Node | None = None
    ) -> Iterator[Edge]:
        """Yield the edges that `then`, `else` or a plain name stands for."""
        for item in node.value if node.kind == "list" else [node]:
            target, own = item, args
            if item.kind == "mapping":
                self.reader.unknown(item, {"step", "args"}, f"a target in {key} of step {step!r}", "clause")
                if "step" not in item.value:
                    if not item.keys.keys() - {"step", "args"}:
                        self.reader.error(item, Code.MISSING, f"a target in {key} of step {step!r} has no 'step'")
                    continue
                target, own = item.value["step"], item.value.get("args", args)
            name = self.reader.name(target, f"a target in {key} of step {step!r}")
            if name is None:
                continue
            rendered = None
            if own is not None and not own.null:
                rendered = self.reader.mapping_template(
                    own, step, f"{key}.{name}.args", f"args of {name!r} in {key} of step {step!r}"
                )
            self.edges += 1
            self.targets.append(Target(step, name, target, key, own, when))
            yield Edge(self.edges, step, name, rendered)

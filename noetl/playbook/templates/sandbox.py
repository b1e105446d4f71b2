"""The Jinja environment of playbooks: keys first and only, strict, immutable, bounded.

No Python attribute of a value is reachable: `a.b` is the key `b` of `a`. The exceptions are the mapping methods
`items() keys() values() get()`, when called and no such key exists, and what Jinja's own `loop`, `namespace` and
`groupby` offer.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from noetl.playbook.suggest import did_you_mean
from noetl.playbook.templates import budget as bounds
from noetl.playbook.templates import functions, operators
from noetl.playbook.templates.budget import BUDGET, STEPS_PER_CALL
from noetl.playbook.templates.conditions import check_condition
from noetl.playbook.templates.filter_table import FILTERS
from noetl.playbook.templates.result_views import (
    LOOP_NAMES,
    SELF_NAMES,
    VIEW_TYPES,
    Absent,
    LoopResult,
    ResultDict,
    is_envelope,
)
from noetl.playbook.templates.secret_references import REFERENCE_CALL
from noetl.playbook.templates.value_text import name_of
from noetl.playbook.values import brief

MAPPING_METHODS: Final = frozenset({"items", "keys", "values", "get"})
"""The methods of mappings that templates may call, where no key has the name."""

_LOOP_NAMES: Final = frozenset(
    [
        "index",
        "index0",
        "revindex",
        "revindex0",
        "first",
        "last",
        "length",
        "previtem",
        "nextitem",
        "cycle",
        "changed",
        "depth",
        "depth0",
    ]
)
_MOST_KEYS: Final = 1000
"""So many keys of a mapping are looked at to tell which was meant."""


class Missing(StrictUndefined):
    """An undefined value: `default` and `is defined` work on any depth of path, any other use is an error."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        name = self._undefined_name
        if isinstance(self._undefined_obj, type(_MISSING_OBJ)) and self._undefined_obj is _MISSING_OBJ:
            return f"{name!r} is not defined{did_you_mean(str(name), islice(BUDGET.scope, _MOST_KEYS))}"
        return missing_key(self._undefined_obj, name)


class Method(Missing):
    """A mapping method: undefined, unless it is called."""

    __slots__ = ()

    def call(self, *args: Any, **kwargs: Any) -> Any:
        obj, name = self._undefined_obj, self._undefined_name
        if name == "get" and args:
            operators.hashable(args[0])
        result = getattr(obj, str(name))(*args, **kwargs)
        return result if name == "get" else list(bounds.iterate(result))


_MISSING_OBJ: Final[Any] = Undefined()._undefined_obj


def missing_key(obj: object, name: object) -> str:
    """Return the sentence for a missing key of a value."""
    shown = brief(name, 80)
    if obj is None:
        return f"None has no key {shown}"
    if isinstance(obj, Mapping):
        keys = [str.__str__(key[:100]) for key in islice(obj, _MOST_KEYS) if isinstance(key, str)]
        near = did_you_mean(name[:100], keys) if isinstance(name, str) else ""
        if not near and keys:
            near = f" (it has {', '.join(sorted(keys)[:8])}{', ...' if len(keys) > 8 else ''})"
        return f"no key {shown}{near}"
    if isinstance(obj, (list, tuple)):
        if isinstance(name, int):
            return f"the list has {len(obj)} items, no item {shown}"
        return f"a list has no key {shown}: use [0], or a filter"
    advice = f": use the filter '| {name}'" if isinstance(name, str) and name in ENVIRONMENT.filters else ""
    kind = {"str": "text", "ResultText": "text"}.get(type(obj).__name__, type(obj).__name__)
    return f"{kind} has no key {shown}{advice}"


class _Generator(CodeGenerator):
    """Jinja's code generator, with all that works on values in the hands of the environment."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write(f"), {tuple(map(name_of, node.nodes))!r})")

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: object) -> None:
        self.write("environment.placed(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: object) -> None:
        self.write(f", {name_of(node)!r})")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        """Each comparison of a chain is a call; what stands between two is evaluated once."""
        self.write("(")
        left: nodes.Expr | str = node.expr
        for number, operand in enumerate(node.ops):
            self.write(" and " if number else "")
            self.write(f"environment.compare_{operand.op}(")
            if isinstance(left, str):
                self.write(left)
            else:
                self.visit(left, frame)
            self.write(", ")
            kept = self.temporary_identifier() if number + 1 < len(node.ops) else ""
            self.write(f"({kept} := " if kept else "")
            self.visit(operand.expr, frame)
            self.write("))" if kept else ")")
            left = kept
        self.write(")")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        self.write("environment.getitem(")
        self.visit(node.node, frame)
        self.write(", ")
        if isinstance(node.arg, nodes.Slice):
            self.write("slice(")
            for part in (node.arg.start, node.arg.stop, node.arg.step):
                if part is None:
                    self.write("None")
                else:
                    self.visit(part, frame)
                self.write(", ")
            self.write(")")
        else:
            self.visit(node.arg, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self.write("{")
        for pair in node.items:
            plain = isinstance(pair.key, nodes.Const)
            self.write("" if plain else "environment.hashable(")
            self.visit(pair.key, frame)
            self.write(": " if plain else "): ")
            self.visit(pair.value, frame)
            self.write(", ")
        self.write("}")

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:
        if not isinstance(node.node, nodes.EnvironmentAttribute):
            super().visit_Call(node, frame, forward_caller=forward_caller)
            return
        self.write(f"environment.{node.node.name}(")
        for part in node.args:
            self.visit(part, frame)
            self.write(", ")
        self.write(")")


class _ExpressionGenerator(_Generator):
    """For a template that is one expression: yield its value instead of text."""

    def visit_Output(self, node: nodes.Output, frame: Frame) -> None:
        self.writeline("yield ", node)
        self.visit(node.nodes[0], frame)


class PlaybookEnvironment(ImmutableSandboxedEnvironment):
    """Jinja as playbooks see it. One for all playbooks; it holds nothing of any."""

    code_generator_class = _Generator
    intercepted_binops = frozenset(operators.BINARY)
    concat = staticmethod(bounds.join_text)
    joined = staticmethod(bounds.joined)
    placed = staticmethod(bounds.placed)
    hashable = staticmethod(operators.hashable)
    iterate = staticmethod(bounds.iterate)
    check_condition = staticmethod(check_condition)
    compare_eq = staticmethod(operators.COMPARISONS["eq"])
    compare_ne = staticmethod(operators.COMPARISONS["ne"])
    compare_lt = staticmethod(operators.COMPARISONS["lt"])
    compare_lteq = staticmethod(operators.COMPARISONS["lteq"])
    compare_gt = staticmethod(operators.COMPARISONS["gt"])
    compare_gteq = staticmethod(operators.COMPARISONS["gteq"])
    compare_in = staticmethod(operators.COMPARISONS["in"])
    compare_notin = staticmethod(operators.COMPARISONS["notin"])

    def __init__(self) -> None:
        super().__init__(
            undefined=Missing,
            keep_trailing_newline=True,
            finalize=bounds.text,  # of constants; everything else is `placed`
            autoescape=False,
            optimized=False,  # folding writes nan and inf as names
            cache_size=0,
        )
        self.globals = dict(functions.FUNCTIONS)
        self.filters = {name: functions.bounded(spec) for name, spec in FILTERS.items()}
        self.tests = dict(functions.TESTS)
        self.binop_table.update(operators.BINARY)

    @staticmethod
    def take(steps: int) -> str:
        """Charge the steps of a round or a call."""
        BUDGET.charge_steps(steps)
        return ""

    @staticmethod
    def refer(value: object) -> str:
        """Return the reference to a secret, good for the step run whose scope is read."""
        bound = BUDGET.scope.get(REFERENCE_CALL)
        if not isinstance(bound, str):
            raise SecurityError("secret() is for fields, args and auth of a tool: here is no call to put it into")
        return functions.secret(value, bound)

    def getattr(self, obj: object, attribute: str) -> Any:
        return self._look(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, str):
            return self._look(obj, str.__str__(argument))
        if isinstance(obj, (list, tuple, str, range)) and isinstance(argument, (int, slice)):
            try:
                return operators.cut(obj, argument) if isinstance(argument, slice) else obj[argument]
            except IndexError:
                return Missing(obj=obj, name=argument)  # type: ignore[arg-type]
        if isinstance(obj, (Undefined, Absent)):
            return obj
        if isinstance(argument, Undefined):
            str(argument)  # raises, with the name
        return Missing(obj=obj, name=argument)

    def _look(self, obj: object, name: str) -> Any:
        """Return the key `name` of `obj`, or something undefined."""
        if isinstance(obj, Mapping):
            return self._look_in_mapping(obj, name)
        if isinstance(obj, (Undefined, Absent)):
            return obj
        if name in SELF_NAMES and type(obj) in VIEW_TYPES:
            return obj
        if name in LOOP_NAMES and isinstance(obj, LoopResult):
            return obj.look(name)
        if isinstance(obj, LoopResult) and name in obj.steps:
            return obj.steps[name]
        if isinstance(obj, LoopContext) and name in _LOOP_NAMES:
            return getattr(obj, name)
        if isinstance(obj, Namespace) and not name.startswith("_"):
            return getattr(obj, name, Missing(obj={}, name=name))
        if isinstance(obj, tuple) and name in getattr(obj, "_fields", ()):  # of groupby
            return getattr(obj, name)
        return Missing(obj=obj, name=name)

    def _look_in_mapping(self, obj: Mapping[str, object], name: str) -> Any:
        try:
            return obj[name]
        except KeyError:
            pass
        if name in SELF_NAMES and type(obj) in VIEW_TYPES:
            return obj
        if type(obj) is ResultDict and is_envelope(obj.keys()):
            inner = obj["data"]
            if isinstance(inner, dict) and name in inner:
                return inner[name]
        if name in MAPPING_METHODS:
            return Method(obj=obj, name=name)
        hint = getattr(obj, "missing", None)
        return Missing(obj=obj, name=name, hint=hint(name) if hint else None)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        BUDGET.charge_steps(STEPS_PER_CALL + len(args) + len(kwargs))
        if isinstance(obj, Method):
            return obj.call(*args, **kwargs)
        if isinstance(obj, Absent):
            return obj
        if isinstance(obj, Undefined):
            str(obj)  # raises, with the name
        if not callable(obj):
            raise SecurityError(f"a {type(obj).__name__} cannot be called")
        if not _may_be_called(obj):
            raise SecurityError(f"{getattr(obj, '__name__', type(obj).__name__)} cannot be called here")
        if getattr(obj, "__func__", None) is LoopContext.changed:
            return _changed(obj.__self__, args)
        if not isinstance(obj, Macro):
            return super().call(context, obj, *args, **kwargs)
        BUDGET.descend()
        try:
            return super().call(context, obj, *args, **kwargs)
        finally:
            BUDGET.ascend()


def _changed(loop: Any, values: tuple[Any, ...]) -> bool:
    """Jinja's `loop.changed`, bounded."""
    if operators.equal(loop._last_changed_value, values):
        return False
    loop._last_changed_value = values
    return True


def _may_be_called(obj: object) -> bool:
    if isinstance(obj, (Macro, LoopContext)):
        return True
    owner = getattr(obj, "__self__", None)
    if isinstance(owner, LoopContext):
        return True
    return any(obj is known for known in ENVIRONMENT.globals.values())


ENVIRONMENT: Final = PlaybookEnvironment()
"""For templates that are text."""

EXPRESSION_ENVIRONMENT: Final = ENVIRONMENT.overlay()
"""For templates that are exactly one expression."""
EXPRESSION_ENVIRONMENT.code_generator_class = _ExpressionGenerator

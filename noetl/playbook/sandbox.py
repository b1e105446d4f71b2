"""The Jinja environment of playbooks: keys first and only, strict, immutable, bounded.

No Python attribute of a value is reachable: `a.b` is the key `b` of `a`. The exceptions are the mapping methods
`items() keys() values() get()`, when called and no such key exists, and what Jinja's own `loop`, `namespace` and
`groupby` offer.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, cast

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from noetl.playbook import bounds, functions
from noetl.playbook.bounds import BUDGET, CALL
from noetl.playbook.names import did_you_mean
from noetl.playbook.results import LOOP_NAMES, SELF_NAMES, VIEW_TYPES, Absent, LoopResult, ResultDict, is_envelope
from noetl.playbook.truth import TRUTH, decide
from noetl.playbook.written import name_of, of_text

_MAPPING_METHODS: Final = frozenset({"items", "keys", "values", "get"})
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
ITERATE: Final = "$iterate"
"""The filter that every `for` runs its items through; no template can name it."""
SECRET: Final = "$secret"  # noqa: S105 - a name
"""The filter that every call of `secret` becomes; no template can name it, and no value can hide it."""

_DROPPED: Final = ("cycler", "joiner", "lipsum")
_TYPED_TESTS: Final = ("none", "boolean", "true", "false", "integer", "float", "number", "sameas", "string")


class Missing(StrictUndefined):
    """An undefined value: `default` and `is defined` work on any depth of path, any other use is an error."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        name = self._undefined_name
        if isinstance(self._undefined_obj, type(_MISSING_OBJ)) and self._undefined_obj is _MISSING_OBJ:
            return f"{name!r} is not defined{did_you_mean(str(name), BUDGET.scope)}"
        return missing_key(self._undefined_obj, name)


class Method(Missing):
    """A mapping method: undefined, unless it is called."""

    __slots__ = ()

    def call(self, *args: Any, **kwargs: Any) -> Any:
        obj, name = self._undefined_obj, self._undefined_name
        found = getattr(obj, str(name))(*args, **kwargs)
        return found if name == "get" else list(found)


_MISSING_OBJ: Final[Any] = Undefined()._undefined_obj


def missing_key(obj: Any, name: Any) -> str:
    """Return the sentence that says which key is missing in what."""
    if obj is None:
        return f"None has no key {name!r}"
    if isinstance(obj, Mapping):
        keys = [str(key) for key in obj]
        near = did_you_mean(str(name), keys)
        if not near and keys:
            near = f" (it has {', '.join(sorted(keys)[:8])}{', ...' if len(keys) > 8 else ''})"
        return f"no key {name!r}{near}"
    if isinstance(obj, (list, tuple)):
        if isinstance(name, int):
            return f"the list has {len(obj)} items, no item {name}"
        return f"a list has no key {name!r}: use [0], or a filter"
    advice = f": use the filter '| {name}'" if name in ENVIRONMENT.filters else ""
    kind = {"str": "text", "ResultText": "text"}.get(type(obj).__name__, type(obj).__name__)
    return f"{kind} has no key {name!r}{advice}"


class _Generator(CodeGenerator):
    """Jinja's code generator, with `~` within the budget."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write(f"), {tuple(map(name_of, node.nodes))!r})")

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write("environment.placed(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write(f", {name_of(node)!r})")


class _SoleGenerator(_Generator):
    """For a template that is one expression: yield its value instead of text."""

    def visit_Output(self, node: nodes.Output, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        self.writeline("yield ", node)
        self.visit(node.nodes[0], frame)


class PlaybookEnvironment(ImmutableSandboxedEnvironment):
    """Jinja as playbooks see it. One for all playbooks; it holds nothing of any."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"*", "**", "+", "%"})
    concat = staticmethod(bounds.join_text)
    joined = staticmethod(bounds.joined)
    placed = staticmethod(bounds.placed)
    _binary: ClassVar[dict[str, Callable[[Any, Any], Any]]] = {
        "*": bounds.multiply,
        "**": bounds.power,
        "+": bounds.add,
        "%": bounds.modulo,
    }

    def __init__(self) -> None:
        super().__init__(
            undefined=Missing,
            keep_trailing_newline=True,
            finalize=bounds.text,  # of constants; everything else is `placed`
            autoescape=False,
            optimized=False,  # folding writes nan and inf as names
            cache_size=0,
        )
        for name in _DROPPED:
            del self.globals[name]
        for name in functions.TEXT_FILTERS:
            self.filters[name] = of_text(name, self.filters[name], bounds.text)
        self.globals["range"] = bounds.limited_range
        self.globals.update(functions.FUNCTIONS)
        self.filters.update(functions.FILTERS)
        del self.filters["xmlattr"]
        for name, function in list(self.filters.items()):
            self.filters[name] = functions.bounded(name, function)
        self.filters[ITERATE] = bounds.iterate
        self.filters[SECRET] = functions.secret
        self.filters[TRUTH] = decide
        for name in _TYPED_TESTS:
            self.tests[name] = functions.with_raw(cast(Callable[..., Any], self.tests[name]))
        self.binop_table.update(self._binary)

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self._look(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, str):
            return self._look(obj, str.__str__(argument))
        if isinstance(obj, (list, tuple, str, range)) and isinstance(argument, (int, slice)):
            try:
                return obj[argument]
            except IndexError:
                return Missing(obj=obj, name=argument)  # type: ignore[arg-type]
        if isinstance(obj, (Undefined, Absent)):
            return obj
        if isinstance(argument, Undefined):
            str(argument)  # raises, with the name
        return Missing(obj=obj, name=argument)

    def _look(self, obj: Any, name: str) -> Any:
        """Return the key `name` of `obj`, or something undefined."""
        if isinstance(obj, Mapping):
            return self._look_in_mapping(obj, name)
        if isinstance(obj, (Undefined, Absent)):
            return obj
        if name in SELF_NAMES and type(obj) in VIEW_TYPES:
            return obj
        if name in LOOP_NAMES and isinstance(obj, LoopResult):
            return obj.look(name)
        if isinstance(obj, LoopContext) and name in _LOOP_NAMES:
            return getattr(obj, name)
        if isinstance(obj, Namespace) and not name.startswith("_"):
            return getattr(obj, name, Missing(obj={}, name=name))
        if isinstance(obj, tuple) and name in getattr(obj, "_fields", ()):  # of groupby
            return getattr(obj, name)
        return Missing(obj=obj, name=name)

    def _look_in_mapping(self, obj: Mapping[str, Any], name: str) -> Any:
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
        if name in _MAPPING_METHODS:
            return Method(obj=obj, name=name)
        hint = getattr(obj, "missing", None)
        return Missing(obj=obj, name=name, hint=hint(name) if hint else None)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        BUDGET.spend(CALL + sum(len(arg) for arg in args if isinstance(arg, (list, tuple, dict))))
        if isinstance(__obj, Method):
            return __obj.call(*args, **kwargs)
        if isinstance(__obj, Absent):
            return __obj
        if isinstance(__obj, Undefined):
            str(__obj)  # raises, with the name
        if not callable(__obj):
            raise SecurityError(f"a {type(__obj).__name__} cannot be called")
        if not _may_be_called(__obj):
            raise SecurityError(f"{getattr(__obj, '__name__', type(__obj).__name__)} cannot be called here")
        return super().call(__context, __obj, *args, **kwargs)


def _may_be_called(obj: Any) -> bool:
    if isinstance(obj, (Macro, LoopContext)):
        return True
    owner = getattr(obj, "__self__", None)
    if isinstance(owner, LoopContext):
        return True
    return any(obj is known for known in ENVIRONMENT.globals.values())


ENVIRONMENT: Final = PlaybookEnvironment()
"""For templates that are text."""

SOLE: Final = ENVIRONMENT.overlay()
"""For templates that are exactly one expression."""
SOLE.code_generator_class = _SoleGenerator

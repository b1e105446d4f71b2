"""Pure code: Python code that cannot leave anything behind. It runs in the runner itself, all other in a fork of it.

The rule is an allow-list over the syntax tree: code that it does not know is never taken for pure. Pure code computes
with its arguments, and may print: it stores no attribute, defines no class, reaches no name with an underscore, and of
modules only the functions and constants listed here, none of which changes anything that another call could see.
"""

import ast
import builtins
from collections.abc import Iterator
from typing import Final

_MODULE_NAMES: Final = {
    "base64": "b64decode b64encode urlsafe_b64decode urlsafe_b64encode",
    "collections": "Counter OrderedDict defaultdict deque namedtuple",
    "copy": "copy deepcopy",
    "datetime": "UTC date datetime time timedelta timezone",
    "hashlib": "blake2b blake2s md5 new sha1 sha224 sha256 sha384 sha3_256 sha3_512 sha512",
    "heapq": "heapify heappop heappush heapreplace merge nlargest nsmallest",
    "hmac": "compare_digest digest new",
    "html": "escape unescape",
    "itertools": "accumulate chain combinations compress count cycle dropwhile filterfalse groupby islice pairwise"
    " permutations product repeat starmap takewhile tee zip_longest",
    "json": "JSONDecodeError dumps loads",
    "math": "acos asin atan atan2 ceil comb copysign cos degrees dist e exp fabs factorial floor fmod fsum gcd hypot"
    " inf isclose isfinite isinf isnan isqrt lcm log log10 log1p log2 nan perm pi pow prod radians sin sqrt tan tau"
    " trunc",
    "re": "A DOTALL I IGNORECASE M MULTILINE S VERBOSE X compile escape findall finditer fullmatch match search split"
    " sub subn",
    "statistics": "fmean geometric_mean harmonic_mean mean median median_high median_low mode multimode pstdev"
    " pvariance quantiles stdev variance",
    "string": "ascii_letters ascii_lowercase ascii_uppercase capwords digits hexdigits punctuation",
    "time": "gmtime localtime monotonic perf_counter sleep strftime strptime time time_ns",
    "typing": "Any Dict Iterable Iterator List Mapping Optional Sequence Set Tuple Union",
    "urllib.parse": "parse_qs parse_qsl quote quote_plus unquote unquote_plus urlencode urljoin urlparse urlsplit",
    "uuid": "NAMESPACE_DNS NAMESPACE_URL UUID uuid3 uuid4 uuid5",
    "zlib": "adler32 crc32",
}
PURE_NAMES: Final = {module: frozenset(names.split()) for module, names in _MODULE_NAMES.items()}
"""The modules that pure code may import, each with the names that it may use."""

_PURE_BUILTINS: Final = (
    "abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate filter float format"
    " frozenset hash hex int isinstance issubclass iter len list map max min next oct ord pow print range repr"
    " reversed round set slice sorted str sum tuple type zip NotImplemented Ellipsis"
)
_ALLOWED_BUILTINS: Final = frozenset(_PURE_BUILTINS.split())
_DENIED_BUILTINS: Final = frozenset(
    name
    for name, value in vars(builtins).items()
    if name not in _ALLOWED_BUILTINS and not (isinstance(value, type) and issubclass(value, Exception))
)
_FRAME_PREFIXES: Final = ("_", "gi_", "cr_", "ag_", "tb_", "f_", "co_")
"""How attributes begin by which code reaches what is around it."""

_ALLOWED_SYNTAX: Final = (
    ast.Module, ast.FunctionDef, ast.Lambda, ast.arguments, ast.arg, ast.Return, ast.Delete, ast.Assign, ast.AugAssign,
    ast.AnnAssign, ast.For, ast.While, ast.If, ast.Raise, ast.Try, ast.Assert, ast.Global, ast.Nonlocal, ast.Expr,
    ast.Pass, ast.Break, ast.Continue, ast.ExceptHandler, ast.BoolOp, ast.NamedExpr, ast.BinOp, ast.UnaryOp, ast.IfExp,
    ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Yield,
    ast.YieldFrom, ast.Compare, ast.Call, ast.keyword, ast.FormattedValue, ast.JoinedStr, ast.Constant, ast.Subscript,
    ast.Starred, ast.List, ast.Tuple, ast.Slice, ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip


def is_pure(code: str) -> bool:
    """Tell whether code is pure. Code that cannot be parsed is: it does not run."""
    try:
        tree = ast.parse(code)
        nodes = list(ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return True  # it is refused before it runs
    modules: dict[str, str] = {}  # local name -> module
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not _imports_purely(node, modules):
            return False
    via = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    return all(_is_pure_node(node, modules, via) for node in nodes)


def _imports_purely(node: ast.Import | ast.ImportFrom, modules: dict[str, str]) -> bool:
    if isinstance(node, ast.ImportFrom):
        names = PURE_NAMES.get(node.module or "", frozenset())
        return not node.level and all(alias.name in names for alias in node.names)
    for alias in node.names:
        if alias.name not in PURE_NAMES or ("." in alias.name and alias.asname is None):
            return False
        modules[alias.asname or alias.name] = alias.name
    return True


def _is_pure_node(node: ast.AST, modules: dict[str, str], via: set[int]) -> bool:
    if isinstance(node, ast.Attribute):
        if not isinstance(node.ctx, ast.Load) or node.attr.startswith(_FRAME_PREFIXES):
            return False
        module = modules.get(node.value.id) if isinstance(node.value, ast.Name) else None
        return module is None or node.attr in PURE_NAMES[module]
    if isinstance(node, ast.Name):
        if node.id in modules and (id(node) not in via or not isinstance(node.ctx, ast.Load)):
            return False
        return node.id not in _DENIED_BUILTINS and not (node.id.startswith("__") and node.id != "__name__")
    if isinstance(node, ast.FunctionDef):
        return not node.decorator_list
    return isinstance(node, (*_ALLOWED_SYNTAX, ast.Import, ast.ImportFrom, ast.alias))


def imported_modules(code: str) -> Iterator[str]:
    """Yield the full name of each module that code imports anywhere; nothing for what cannot be parsed."""
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif isinstance(node, ast.AsyncFunctionDef):
            yield "asyncio"

"""The filters of templates: one table with what each takes and gives, which environment, lint and tests read.

What a newer Jinja brings is not available before it stands here. A new filter is a function in `filters` or
`text_filters`, its line below, and an example in the test of this table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from noetl.playbook.templates import filters, text_filters
from noetl.playbook.templates.budget import text
from noetl.playbook.templates.conditions import to_bool
from noetl.playbook.templates.formatting import format_text
from noetl.playbook.templates.value_text import default

Takes = Literal["any", "text", "number", "items", "mapping"]
Gives = Literal["any", "text", "number", "boolean", "list"]


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """A filter. `takes` is the kind of the value in front of it, `gives` that of every result.

    A filter of `text` writes any other value as text first; `items` are those of a list, a mapping or a text.
    `keeps_references`: the reference to a secret comes through it whole. `takes_undefined`: its value may be absent.
    """

    name: str
    function: Callable[..., Any]
    takes: Takes
    gives: Gives
    keeps_references: bool = False
    takes_undefined: bool = False


_FILTERS: Final = (
    FilterSpec("abs", filters.absolute, "number", "number"),
    FilterSpec("attr", filters.attr, "any", "any"),
    FilterSpec("b64decode", text_filters.b64decode, "text", "text"),
    FilterSpec("b64encode", text_filters.b64encode, "text", "text"),
    FilterSpec("batch", filters.batch, "items", "list"),
    FilterSpec("bool", to_bool, "any", "boolean"),
    FilterSpec("capitalize", text_filters.capitalize, "text", "text"),
    FilterSpec("center", text_filters.center, "text", "text"),
    FilterSpec("count", filters.length, "items", "number"),
    FilterSpec("d", default, "any", "any", keeps_references=True, takes_undefined=True),
    FilterSpec("default", default, "any", "any", keeps_references=True, takes_undefined=True),
    FilterSpec("dictsort", filters.dictsort, "mapping", "list"),
    FilterSpec("e", text_filters.escaped, "text", "text"),
    FilterSpec("escape", text_filters.escaped, "text", "text"),
    FilterSpec("filesizeformat", filters.filesize, "any", "text"),
    FilterSpec("first", filters.first, "items", "any"),
    FilterSpec("float", filters.as_float, "any", "number"),
    FilterSpec("forceescape", text_filters.escaped, "text", "text"),
    FilterSpec("format", format_text, "text", "text", keeps_references=True),
    FilterSpec("fromjson", text_filters.fromjson, "text", "any"),
    FilterSpec("groupby", filters.groupby, "items", "list"),
    FilterSpec("indent", text_filters.indent, "text", "text", keeps_references=True),
    FilterSpec("int", filters.as_integer, "any", "number"),
    FilterSpec("items", filters.items, "mapping", "list"),
    FilterSpec("join", filters.join, "items", "text", keeps_references=True),
    FilterSpec("last", filters.last, "items", "any"),
    FilterSpec("length", filters.length, "items", "number"),
    FilterSpec("list", filters.as_list, "items", "list"),
    FilterSpec("lower", text_filters.lower, "text", "text"),
    FilterSpec("map", filters.mapped, "items", "list"),
    FilterSpec("max", filters.greatest, "items", "any"),
    FilterSpec("min", filters.least, "items", "any"),
    FilterSpec("pprint", text_filters.pprint, "any", "text"),
    FilterSpec("random", filters.chosen, "items", "any"),
    FilterSpec("reject", filters.reject, "items", "list"),
    FilterSpec("rejectattr", filters.rejectattr, "items", "list"),
    FilterSpec("replace", text_filters.replace, "text", "text"),
    FilterSpec("reverse", filters.backwards, "items", "any"),
    FilterSpec("round", filters.rounded, "number", "number"),
    FilterSpec("safe", text, "text", "text", keeps_references=True),
    FilterSpec("select", filters.select, "items", "list"),
    FilterSpec("selectattr", filters.selectattr, "items", "list"),
    FilterSpec("slice", filters.slices, "items", "list"),
    FilterSpec("sort", filters.sort, "items", "list"),
    FilterSpec("string", text, "text", "text", keeps_references=True),
    FilterSpec("striptags", text_filters.striptags, "text", "text"),
    FilterSpec("sum", filters.total, "items", "any"),
    FilterSpec("title", text_filters.title, "text", "text"),
    FilterSpec("tojson", text_filters.tojson, "any", "text", keeps_references=True),
    FilterSpec("trim", text_filters.trim, "text", "text", keeps_references=True),
    FilterSpec("truncate", text_filters.truncate, "text", "text"),
    FilterSpec("unique", filters.unique, "items", "list"),
    FilterSpec("upper", text_filters.upper, "text", "text"),
    FilterSpec("urlencode", text_filters.urlencode, "any", "text"),
    FilterSpec("urlize", text_filters.urlize, "text", "text"),
    FilterSpec("wordcount", text_filters.wordcount, "text", "number"),
    FilterSpec("wordwrap", text_filters.wordwrap, "text", "text"),
)

FILTERS: Final[Mapping[str, FilterSpec]] = MappingProxyType({spec.name: spec for spec in _FILTERS})
"""The filters by name."""

"""The filters of templates that look at values: Jinja's, each charged before it works, and linear in what it takes."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from jinja2 import Environment, filters, pass_context, pass_environment
from jinja2.exceptions import FilterArgumentError, SecurityError
from jinja2.runtime import Context

from noetl.playbook.templates.budget import BUDGET, CHARACTERS_PER_VALUE, MAX_NUMBER, iterate, text
from noetl.playbook.templates.operators import add, equal, hashable, less, number, ordered
from noetl.playbook.templates.result_views import raw
from noetl.playbook.values import brief

Filter = Callable[..., Any]
Look = Callable[[Any], Any]

MAX_DIGITS: Final = 4000
"""The longest text that is read as a number."""

MAX_PRECISION: Final = 400
_NUMBERS: Final = frozenset({int, float})


# ---- attributes --------------------------------------------------------------------------------------------------


def look(environment: Environment, attribute: Any, *, case: bool = True, default: Any = None) -> Look:
    """Return the function that finds an attribute of an item by a path as `a.b.0`; `case` False: in small letters."""
    if isinstance(attribute, str):
        BUDGET.charge_steps(1 + len(attribute) // 10)
    getter = filters.make_attrgetter(environment, attribute, None if case else _lower, default)
    parts = attribute.count(".") if isinstance(attribute, str) else 0
    if not parts:
        return getter

    def find(item: object) -> Any:
        BUDGET.charge_steps(parts)
        return getter(item)

    return find


def _lower(value: object) -> Any:
    if isinstance(value, str):
        BUDGET.charge_characters(len(value))
        return value.lower()
    return value


def _several(environment: Environment, attribute: object, case: bool) -> Look:
    """Return the function that finds the attributes `a,b` of an item, as a list where there are several."""
    if not isinstance(attribute, str) or "," not in attribute:
        return look(environment, attribute, case=case)
    looks = [look(environment, each, case=case) for each in attribute.split(",")]
    return lambda item: [find(item) for find in looks]


# ---- order -------------------------------------------------------------------------------------------------------


@pass_environment
def sort(
    environment: Environment,
    value: object,
    reverse: bool = False,
    case_sensitive: bool = False,
    attribute: object = None,
) -> list[Any]:
    """Jinja's `sort`, bounded."""
    items = list(iterate(value))
    find = _several(environment, attribute, case_sensitive)
    return ordered(items, [find(item) for item in items], reverse=bool(reverse))


def dictsort(value: object, case_sensitive: bool = False, by: str = "key", reverse: bool = False) -> list[Any]:
    """Jinja's `dictsort`, bounded."""
    if by not in ("key", "value"):
        raise FilterArgumentError('You can only sort by either "key" or "value"')
    items = list(_mapping("dictsort", value).items())
    keys = [item[by == "value"] for item in items]
    return ordered(items, keys if case_sensitive else [_lower(key) for key in keys], reverse=bool(reverse))


@pass_environment
def unique(
    environment: Environment, value: object, case_sensitive: bool = False, attribute: object = None
) -> Iterator[Any]:
    """Jinja's `unique`, bounded."""
    find = look(environment, attribute, case=case_sensitive)
    seen = set()
    for item in iterate(value):
        key = hashable(find(item))
        if key not in seen:
            seen.add(key)
            yield item


@pass_environment
def groupby(
    environment: Environment, value: object, attribute: object, default: object = None, case_sensitive: bool = False
) -> list[Any]:
    """Jinja's `groupby`, bounded."""
    items = list(iterate(value))
    find = look(environment, attribute, case=case_sensitive, default=default)
    keys = [find(item) for item in items]
    order = ordered(list(range(len(items))), keys)
    groups: list[Any] = []
    last: Any = None
    for at in order:
        if not groups or not equal(keys[at], last):
            last = keys[at]
            groups.append((last, []))
        groups[-1][1].append(items[at])
    name = look(environment, attribute, default=default)
    return [filters._GroupTuple(key if case_sensitive else name(those[0]), those) for key, those in groups]


def _extreme(first: Callable[[Any, Any], bool]) -> Filter:
    @pass_environment
    def call(environment: Environment, value: object, case_sensitive: bool = False, attribute: object = None) -> Any:
        find = look(environment, attribute, case=case_sensitive)
        extreme, best, any_ = None, None, False
        for item in iterate(value):
            key = find(item)
            if not any_ or first(key, best):
                extreme, best, any_ = item, key, True
        return extreme if any_ else environment.undefined("No aggregated item, sequence was empty.")

    return call


greatest: Final = _extreme(lambda key, best: less(best, key))
least: Final = _extreme(less)


@pass_environment
def total(environment: Environment, value: object, attribute: object = None, start: object = 0) -> Any:
    """Jinja's `sum`, bounded; lists are put one behind the other."""
    find = look(environment, attribute)
    if isinstance(start, list):
        items = list(iterate(start))
        for item in iterate(value):
            part = find(item)
            if not isinstance(part, list):
                raise FilterArgumentError(f"sum: {brief(part)} is no list, as the start is")
            BUDGET.charge_characters(CHARACTERS_PER_VALUE * len(part))
            items += part
        return items
    for item in iterate(value):
        each = find(item)
        plain = type(each) in _NUMBERS and type(start) in _NUMBERS
        start = start + each if plain else add(start, each)
    return number(start)


# ---- items -------------------------------------------------------------------------------------------------------


def batch(value: object, linecount: int, fill_with: object = None) -> Iterator[list[Any]]:
    """Jinja's `batch`, bounded."""
    _check_count("batch", linecount)
    if fill_with is not None:
        BUDGET.charge_characters(CHARACTERS_PER_VALUE * max(linecount, 0))
    return filters.do_batch(iterate(value), linecount, fill_with)


def slices(value: object, slices: int, fill_with: object = None) -> Iterator[list[Any]]:
    """Jinja's `slice`, bounded."""
    _check_count("slice", slices)
    BUDGET.charge_steps(max(slices, 0))
    return filters.sync_do_slice(iterate(value), slices, fill_with)


def _check_count(name: str, count: object) -> None:
    if not isinstance(count, int) or count < 1:
        raise FilterArgumentError(f"{name}: {brief(count)} is no number of items: write 1 or more")
    if count > MAX_NUMBER:
        raise SecurityError(f"{name}: {brief(count)} is more than {MAX_NUMBER:,}")


def length(value: Any) -> int:
    """Jinja's `length`."""
    return len(value)


def items(value: object) -> list[Any]:
    """Jinja's `items`, bounded."""
    return list(_mapping("items", value).items())


def _mapping(name: str, value: object) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise FilterArgumentError(f"{name} takes a mapping, not {brief(value)}")
    BUDGET.charge_steps(len(value))
    return value


def as_list(value: object) -> list[Any]:
    """Jinja's `list`, bounded."""
    return list(iterate(value))


@pass_environment
def first(environment: Environment, value: Any) -> Any:
    """Jinja's `first`."""
    for item in value:
        return item
    return environment.undefined("No first item, sequence was empty.")


@pass_environment
def last(environment: Environment, value: Any) -> Any:
    """Jinja's `last`."""
    for item in reversed(value):
        return item
    return environment.undefined("No last item, sequence was empty.")


@pass_environment
def chosen(environment: Environment, value: Any) -> Any:
    """Jinja's `random`."""
    if not len(value):
        return environment.undefined("No random item, sequence was empty.")
    return random.choice(value)  # noqa: S311 - not for secrets


def backwards(value: object) -> Any:
    """Jinja's `reverse`, bounded."""
    if isinstance(value, str):
        BUDGET.charge_characters(len(value))
        return value[::-1]
    items = list(iterate(value))
    return iter(items[::-1])


# ---- one by one --------------------------------------------------------------------------------------------------


@pass_context
def mapped(context: Context, value: object, *args: Any, **kwargs: Any) -> Iterator[Any]:
    """Jinja's `map`, bounded."""
    if not args and "attribute" in kwargs:
        attribute, default = kwargs.pop("attribute"), kwargs.pop("default", None)
        if kwargs:
            raise FilterArgumentError(f"map: there is no argument {brief(next(iter(kwargs)))}")
        change = look(context.environment, attribute, default=default)
    elif args:
        name, arguments = args[0], args[1:]

        def change(item: object) -> Any:
            return context.environment.call_filter(name, item, arguments, kwargs, context=context)

    else:
        raise FilterArgumentError("map requires a filter argument")
    return map(change, iterate(value))


def _picks(name: str, *, attribute: bool, take: bool) -> Filter:
    """Return one of `select`, `reject`, `selectattr`, `rejectattr`, bounded."""

    @pass_context
    def call(context: Context, value: object, *args: Any, **kwargs: Any) -> Iterator[Any]:
        environment = context.environment
        if attribute and not args:
            raise FilterArgumentError(f"{name} needs the name of an attribute")
        find = look(environment, args[0]) if attribute else _itself
        rest = args[1:] if attribute else args

        def fits(item: object) -> bool:
            value_of_item = find(item)
            if rest:
                value_of_item = environment.call_test(rest[0], value_of_item, rest[1:], kwargs, context)
            return bool(value_of_item) is take

        return filter(fits, iterate(value))

    return call


def _itself(value: object) -> Any:
    return value


reject: Final = _picks("reject", attribute=False, take=False)
rejectattr: Final = _picks("rejectattr", attribute=True, take=False)
select: Final = _picks("select", attribute=False, take=True)
selectattr: Final = _picks("selectattr", attribute=True, take=True)


# ---- numbers -----------------------------------------------------------------------------------------------------


def as_integer(value: Any, default: Any = 0, base: int = 10) -> Any:
    """Jinja's `int`, bounded."""
    if isinstance(value, str) and len(value) > MAX_DIGITS:
        raise SecurityError(f"int: a text of {len(value):,} characters is no number: at most {MAX_DIGITS:,} can be")
    return number(filters.do_int(raw(value), default, base))


def as_float(value: Any, default: Any = 0.0) -> Any:
    """Jinja's `float`, bounded."""
    if isinstance(value, str) and len(value) > MAX_DIGITS:
        raise SecurityError(f"float: a text of {len(value):,} characters is no number: at most {MAX_DIGITS:,} can be")
    return filters.do_float(raw(value), default)


def rounded(value: object, precision: int = 0, method: Literal["common", "ceil", "floor"] = "common") -> Any:
    """Jinja's `round`, bounded."""
    if not isinstance(precision, int) or abs(precision) > MAX_PRECISION:
        raise SecurityError(f"round: a precision is between -{MAX_PRECISION} and {MAX_PRECISION}: {brief(precision)}")
    return filters.do_round(number(value), precision, method)


def absolute(value: object) -> Any:
    """Jinja's `abs`."""
    return abs(number(value))


def filesize(value: object, binary: bool = False) -> str:
    """Jinja's `filesizeformat`."""
    return filters.do_filesizeformat(as_float(value, value), binary)


# ---- others ------------------------------------------------------------------------------------------------------


@pass_environment
def attr(environment: Environment, value: object, name: str) -> Any:
    """Jinja's `attr`, by the same rules as `a.b`."""
    return environment.getattr(value, name)


@pass_environment
def join(environment: Environment, value: Iterable[object], d: str = "", attribute: object = None) -> str:
    """Jinja's `join`, bounded."""
    separator = text(d)
    find = None if attribute is None else look(environment, attribute)
    parts: list[str] = []
    for item in iterate(value):
        BUDGET.charge_characters(len(separator))
        parts.append(text(item if find is None else find(item)))
    return separator.join(parts)

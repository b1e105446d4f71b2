"""The reader of `loop`: one mapping or a list of them, the outermost first, with the `save` of the items."""

from typing import Final

from noetl.playbook.lint.codes import Code
from noetl.playbook.model import Loop
from noetl.playbook.read.fields import KeyReader
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.templates.template import AnyTemplate, Constant, is_template
from noetl.playbook.yaml.tree import Node
from noetl.words import RESERVED_NAMES

LOOP_KEYS: Final = frozenset(
    {
        "in",
        "iterator",
        "mode",
        "concurrency",
        "where",
        "order_by",
        "limit",
        "batch",
        "enumerate",
        "on_error",
        "save",
    }
)
LOOP_MODES: Final = ("sequential", "async")
ON_ERROR: Final = ("fail", "continue")
DEFAULT_ITERATOR: Final = "item"
DEFAULT_CONCURRENCY: Final = 100
"""Items of an `async` loop that run at a time, where the playbook does not say."""

MAX_LOOP_LEVELS: Final = 5
"""How many loops may stand in one another."""


def loop_levels(step: Node) -> list[Node]:
    """Return the mappings in a step's `loop`, the outermost first; none where it has no loop."""
    loop = step.value.get("loop")
    levels = [] if loop is None else loop.value if loop.kind == "list" else [loop]
    return [level for level in levels if level.kind == "mapping"]


def read_loops(owner: KeyReader) -> tuple[tuple[Loop, ...], AnyTemplate | None]:
    """Return the loops of a step, the outermost first, and the `save` of the innermost loop's items."""
    node = owner.given("loop")
    if node is None:
        return (), None
    reader = owner.reader
    levels = node.value if node.kind == "list" else [node]
    if not levels or len(levels) > MAX_LOOP_LEVELS:
        reader.error(
            node, Code.WRONG_TYPE, f"loop of {owner.label} has {len(levels)} levels: it can have 1 to {MAX_LOOP_LEVELS}"
        )
        return (), None
    loops, save, seen = [], None, set[str]()
    for level in levels:
        loop = _loop(owner, level)
        if loop is None:
            continue
        if loop.iterator in seen:
            place = level.value.get("iterator", level)
            reader.error(place, Code.DUPLICATE_KEY, f"two loops of {owner.label} have the iterator {loop.iterator!r}")
        seen.add(loop.iterator)
        loops.append(loop)
        own = level.value.get("save")
        if own is not None and not own.null:
            if level is not levels[-1]:
                reader.error(
                    level.keys["save"], Code.UNKNOWN_KEY, f"save of {owner.label}: only its innermost loop has it"
                )
            save = owner.save_block(own, f"save in loop of {owner.label}", "loop.save")
    return tuple(loops), save


def _loop(owner: KeyReader, node: Node) -> Loop | None:
    reader, label = owner.reader, f"loop of {owner.label}"
    keys = reader.mapping(node, label)
    if keys is None:
        return None
    reader.unknown(node, LOOP_KEYS, label, "loop")
    if "in" not in keys or keys["in"].null:
        reader.error(node, Code.MISSING, f"{label} has no 'in': add what it runs over, as 'in: \"{{{{ items }}}}\"'")
        return None
    mode = _choice(owner, keys.get("mode"), "mode", LOOP_MODES)
    return Loop(
        items=_items(owner, keys["in"]),
        iterator=_iterator(owner, keys.get("iterator")),
        sequential=mode != "async",
        concurrency=_count(owner, keys.get("concurrency"), "concurrency"),
        where=_condition(owner, keys.get("where")),
        order_by=_template(owner, keys.get("order_by"), "order_by"),
        limit=_count(owner, keys.get("limit"), "limit", 0),
        batch=_count(owner, keys.get("batch"), "batch"),
        enumerate=bool(keys["enumerate"].null or reader.boolean(keys["enumerate"], f"enumerate in {label}"))
        if "enumerate" in keys
        else False,
        continue_on_error=_choice(owner, keys.get("on_error"), "on_error", ON_ERROR) == "continue",
    )


def _items(owner: KeyReader, node: Node) -> AnyTemplate:
    template = owner.reader.template(node, owner.place, "loop.in")
    readable = template.constant and not (isinstance(node.value, str) and is_template(node.value))
    plainly = isinstance(template, Constant) and readable and not isinstance(template.value, list)
    if plainly or (not template.constant and node.kind == "mapping"):
        owner.reader.error(
            node,
            Code.WRONG_TYPE,
            f"in of the loop of {owner.label} is {node.describe()}: it must be a list, or a template that gives one",
        )
    return template


def _iterator(owner: KeyReader, node: Node | None) -> str:
    if node is None or node.null:
        return DEFAULT_ITERATOR
    name = owner.reader.name(node, f"iterator in loop of {owner.label}")
    if name is None:
        return DEFAULT_ITERATOR
    if name in RESERVED_NAMES or not (name.isascii() and name.isidentifier()):
        reason = "is reserved" if name in RESERVED_NAMES else "is no identifier"
        owner.reader.error(node, Code.BAD_NAME, f"the iterator {name!r} of {owner.label} {reason}: choose another name")
    return name


def _choice(owner: KeyReader, node: Node | None, key: str, choices: tuple[str, ...]) -> str:
    if node is None or node.null:
        return choices[0]
    choice = owner.reader.name(node, f"{key} in loop of {owner.label}")
    if choice is None or choice in choices:
        return choice or choices[0]
    hint = did_you_mean(choice, choices) or f": it is one of {', '.join(choices)}"
    owner.reader.error(node, Code.VALUE, f"{key} in loop of {owner.label} is {choice!r}{hint}")
    return choices[0]


def _count(owner: KeyReader, node: Node | None, key: str, least: int = 1) -> AnyTemplate | None:
    """Return a number of items, or the template of one."""
    if node is None or node.null:
        return None
    if not (isinstance(node.value, str) and is_template(node.value)):
        owner.reader.integer(node, f"{key} in loop of {owner.label}", least)
    return owner.reader.template(node, owner.place, f"loop.{key}")


def _condition(owner: KeyReader, node: Node | None) -> AnyTemplate | None:
    return None if node is None or node.null else owner.reader.condition(node, owner.place, "loop.where")


def _template(owner: KeyReader, node: Node | None, key: str) -> AnyTemplate | None:
    return None if node is None or node.null else owner.reader.template(node, owner.place, f"loop.{key}")

"""The JSON Schema of the language, for editors: built from the tables by which the loader reads playbooks."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from noetl.playbook.durations import DURATION_PATTERN
from noetl.playbook.read.document import API_VERSION, METADATA_KEYS, PLAYBOOK_KIND
from noetl.playbook.read.fields import RETRY_KEYS
from noetl.playbook.read.loops import LOOP_KEYS, LOOP_MODES, ON_ERROR
from noetl.playbook.read.options import DOCUMENT_KEYS
from noetl.playbook.read.steps import STEP_KEYS, TASK_KEYS
from noetl.playbook.step_types import ROUTER_TYPES, STEP_TYPES, WORKBOOK, Field
from noetl.words import ROUTER

Schema = dict[str, Any]

SCHEMA_DIALECT: Final = "http://json-schema.org/draft-07/schema#"
"""The dialect that YAML editors know best."""

_TEXT: Final[Schema] = {"type": "string"}
_TEMPLATE: Final[Schema] = {"type": "string", "pattern": r"\{[{%#]"}
_DURATION: Final[Schema] = {"type": ["number", "string"], "minimum": 0, "pattern": rf"^({DURATION_PATTERN})$|\{{[{{%#]"}
_KINDS: Final[Mapping[str, Schema]] = {
    "text": {"type": ["string", "null"]},
    "mapping": {"type": ["object", "null"]},
    "integer": {"type": ["integer", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "duration": _DURATION,
    "any": {},
}
_CONDITION: Final[Schema] = {"anyOf": [{"type": "boolean"}, _TEMPLATE]}
_COUNT: Final[Schema] = {"anyOf": [{"type": "integer", "minimum": 0}, _TEMPLATE]}
_MAPPING: Final[Schema] = {"anyOf": [{"type": ["object", "null"]}, _TEMPLATE]}

DESCRIPTIONS: Final[Mapping[str, str]] = {
    "step": "The step's name: an identifier, by which templates address its result.",
    "type": "What the step does; without it, it only leads on.",
    "desc": "A sentence for people.",
    "args": "The step's arguments; for a child playbook, its payload.",
    "timeout": "Of one attempt: 250ms, 10s, 1h30m, or a number of seconds.",
    "retry": "true (three attempts), a number of attempts, or a policy.",
    "pool": "The workers that may run it.",
    "next": "Where it goes on: a step, several, or clauses with conditions.",
    "on_error": "Where it goes on when it has failed; 'continue' goes on with next.",
    "max_visits": "How often it may run in one execution.",
    "loop": "Runs the step once per item.",
    "save": "Stores the result when the step is done.",
    "auth": "A credential's name, {type, key}, or a map of aliases.",
    "result": "Of end: the result of the execution.",
    "in": "What the loop runs over: a list, or a template that gives one.",
    "iterator": "The name of the item in templates.",
    "when": "A condition: true, false or exactly one {{ expression }}.",
    "task": "The name of a task of the workbook.",
}
"""What editors show for keys that no type has of its own; a test holds that each is a key of the language."""


def json_schema() -> Schema:
    """Return the schema of a playbook."""
    types = [ROUTER, *(type_ for type_ in STEP_TYPES if type_ != ROUTER), WORKBOOK]
    return {
        "$schema": SCHEMA_DIALECT,
        "title": "NoETL playbook",
        **_object(DOCUMENT_KEYS, _document(), required=("metadata", "workflow")),
        "definitions": {
            "auth": {"type": ["string", "object", "null"]},
            "retry": _retry(),
            "loop": _loop(),
            "save": _object(*_save(), nullable=True),
            "targets": _targets(),
            "ways": _ways(),
            "tests": {"type": ["array", "null"]},
            "step": _switch("step", types),
            "task": _switch("task", [type_ for type_ in types if type_ not in (ROUTER, WORKBOOK)]),
            **{f"step-{type_}": _step(type_) for type_ in types},
            **{f"task-{type_}": _task(type_) for type_ in types if type_ not in (ROUTER, WORKBOOK)},
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _object(
    keys: Iterable[str], known: Mapping[str, Schema], *, required: Iterable[str] = (), nullable: bool = False
) -> Schema:
    """Return the schema of a mapping with these keys and no others; `known` says what their values are."""
    properties = {}
    for key in sorted(keys):
        schema = known.get(key, {})
        own = "description" in schema or key not in DESCRIPTIONS
        # A reference takes no words beside it in this dialect.
        properties[key] = schema if own else {"description": DESCRIPTIONS[key], "allOf": [schema]}
    made: Schema = {"type": ["object", "null"] if nullable else "object", "properties": properties}
    if required:
        made["required"] = sorted(required)
    return {**made, "additionalProperties": False}


def _document() -> Mapping[str, Schema]:
    steps = {"type": "array", "items": _ref("step"), "minItems": 1}
    return {
        "apiVersion": {"const": API_VERSION},
        "kind": {"const": PLAYBOOK_KIND},
        "metadata": {**_object(METADATA_KEYS, dict.fromkeys(METADATA_KEYS, _TEXT))},
        "workload": {"type": ["object", "null"]},
        "additional": {"type": "boolean"},
        "workbook": {"type": ["array", "null"], "items": _ref("task")},
        "workflow": steps,
        "finally": steps,
        "timeout": _DURATION,
        "pool": _TEXT,
        "priority": {"type": "integer"},
        "labels": {"type": ["object", "null"], "additionalProperties": {"type": ["string", "number", "boolean"]}},
        "tests": _ref("tests"),
    }


# ---- steps and tasks -------------------------------------------------------------------------------------------------


def _switch(prefix: str, types: Iterable[str]) -> Schema:
    """Return the schema that picks a step's or task's by its type."""
    cases = []
    for type_ in types:
        if type_ == ROUTER:
            plain = {
                "anyOf": [{"not": {"required": ["type"]}}, {"properties": {"type": {"enum": sorted(ROUTER_TYPES)}}}]
            }
            cases.append({"if": plain, "then": _ref(f"{prefix}-{type_}")})
        else:
            chosen = {"properties": {"type": {"const": type_}}, "required": ["type"]}
            cases.append({"if": chosen, "then": _ref(f"{prefix}-{type_}")})
    names = sorted({type_ for type_ in types if type_ != ROUTER} | (ROUTER_TYPES if ROUTER in types else set()))
    return {"type": "object", "properties": {"type": {"enum": names}}, "allOf": cases}


def _common() -> Mapping[str, Schema]:
    return {
        "step": _TEXT,
        "name": _TEXT,
        "type": _TEXT,
        "desc": {"type": ["string", "null"]},
        "args": _MAPPING,
        "timeout": _DURATION,
        "retry": _ref("retry"),
        "pool": _TEXT,
        "next": _ref("ways"),
        "on_error": _ref("ways"),
        "max_visits": {"type": "integer", "minimum": 1},
        "join": {"type": "boolean"},
        "loop": {"anyOf": [_ref("loop"), {"type": "array", "items": _ref("loop"), "minItems": 1}, {"type": "null"}]},
        "save": _ref("save"),
        "auth": _ref("auth"),
        "task": _TEXT,
        "result": {},
    }


def _without(type_: str) -> set[str]:
    """Return the common keys that mean nothing for a type."""
    if type_ == WORKBOOK:
        return set()
    descriptor = STEP_TYPES[type_]
    return {*(() if descriptor.credentials else ("auth",)), *(() if descriptor.has_jobs else ("loop", "save"))}


def _step(type_: str) -> Schema:
    keys = (STEP_KEYS | {"result"}) - _without(type_)
    if type_ == WORKBOOK:
        anything = {name: schema for one in STEP_TYPES for name, schema in _fields(one).items()}
        return _object(keys | {"task"} | set(anything), {**anything, **_common()}, required=["step", "type"])
    fields = _fields(type_)
    needed = ["step", *([] if type_ == ROUTER else ["type"])]
    made = _object(keys | set(fields), {**_common(), **fields}, required=needed)
    made["description"] = STEP_TYPES[type_].description
    return {**made, "allOf": _needed(type_)} if _needed(type_) else made


def _task(type_: str) -> Schema:
    fields = _fields(type_)
    keys = TASK_KEYS - _without(type_)
    # A task of type secrets has a name for itself only: the secret's is the step's to give.
    return _object(keys | set(fields), {**fields, **_common()}, required=["name", "type"])


def _fields(type_: str) -> dict[str, Schema]:
    """Return the schemas of a type's own fields."""
    return {name: _field(spec) for name, spec in STEP_TYPES[type_].fields.items()}


def _field(spec: Field) -> Schema:
    return {"description": spec.description, **_values(spec)} if spec.description else _values(spec)


def _values(spec: Field) -> Schema:
    """Return the schema of a field's values."""
    if spec.raw:
        return _TEXT
    if spec.choices:
        lower = {choice.lower() for choice in spec.choices} if spec.choices[0].isupper() else set()
        return {"anyOf": [{"enum": sorted({*spec.choices, *lower})}, _TEMPLATE]}
    kind = _KINDS[spec.kind]
    return kind if not kind or "string" in kind["type"] else {"anyOf": [kind, _TEMPLATE]}


def _needed(type_: str) -> list[Schema]:
    """Return the rules that the fields of a type obey together."""
    required = sorted(name for name, spec in STEP_TYPES[type_].fields.items() if spec.required)
    rules: list[Schema] = [{"required": required}] if required else []
    one_of = STEP_TYPES[type_].one_of
    if one_of:
        rules.append({"oneOf": [{"required": [key]} for key in one_of]})
    return rules


# ---- parts -----------------------------------------------------------------------------------------------------------


def _retry() -> Schema:
    policy = _object(
        RETRY_KEYS,
        {
            "max_attempts": {"type": "integer", "minimum": 1},
            "initial_delay": _DURATION,
            "backoff": {"type": "number", "minimum": 1},
            "max_delay": _DURATION,
            "jitter": {"type": "boolean"},
            "when": _CONDITION,
            "until": _CONDITION,
        },
    )
    return {"anyOf": [{"type": ["boolean", "null"]}, {"type": "integer", "minimum": 1}, policy]}


def _loop() -> Schema:
    return _object(
        LOOP_KEYS,
        {
            "in": {"anyOf": [{"type": "array"}, _TEMPLATE]},
            "iterator": {"type": ["string", "null"]},
            "mode": {"enum": [*LOOP_MODES, None]},
            "concurrency": _COUNT,
            "where": _CONDITION,
            "limit": _COUNT,
            "batch": _COUNT,
            "enumerate": {"type": ["boolean", "null"]},
            "on_error": {"enum": [*ON_ERROR, None]},
            "save": _ref("save"),
        },
        required=["in"],
    )


def _save() -> tuple[set[str], Mapping[str, Schema]]:
    fields = _fields("save")
    return {*fields, "auth"}, {**fields, "auth": _ref("auth")}


def _targets() -> Schema:
    target = _object({"step", "args"}, {"step": _TEXT, "args": _MAPPING}, required=["step"])
    one = {"anyOf": [_TEXT, target]}
    return {"anyOf": [*one["anyOf"], {"type": "array", "items": one}]}


def _ways() -> Schema:
    clause = _object(
        {"when", "then", "else", "step", "args"},
        {
            "when": _CONDITION,
            "then": _ref("targets"),
            "else": _ref("targets"),
            "step": _TEXT,
            "args": _MAPPING,
        },
    )
    one = {"anyOf": [_TEXT, clause]}
    return {"anyOf": [*one["anyOf"], {"type": "array", "items": one}, {"type": "null"}]}

"""The step types of the language: one descriptor per type.

Loader, lint, JSON Schema, engine, worker, CLI and tests of playbooks read what they need to know of a type here and
keep no lists of types of their own. Types with effects have a tool of the same name in `noetl/tools`; a test holds
that both sides name the same types.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from noetl.playbook.shapes import Shape, shape_of
from noetl.rules import save as save_rules
from noetl.rules.choices import BIG_NUMBERS, HTTP_METHODS, ISOLATIONS, SECRET_PROVIDERS, SHELLS
from noetl.words import ROUTER

Kind = Literal["text", "mapping", "integer", "boolean", "duration", "any"]
Language = Literal["", "python", "sql", "shell"]
Place = Literal["decision", "queue", "worker", "thread", "runner"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of one type.

    * `kind`: the kind of a value that is no template;
    * `raw`: the text is never a template;
    * `choices`: the possible values, as text;
    * `texts`: the values of the mapping are texts, and numbers in it stay as they are written;
    * `language`: the language of the text, which lint checks;
    * `path`: it names a file, and data in it must not lead out of the folder that the playbook names;
    * `description`: the sentence that editors show.
    """

    kind: Kind = "text"
    required: bool = False
    raw: bool = False
    choices: tuple[str, ...] = ()
    texts: bool = False
    language: Language = ""
    path: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class StepType:
    """A step type. `description` is the sentence that editors show, `place` the place where its steps are carried out:

    * `decision`: by the engine, in the decision that reaches the step, which has neither job nor loop nor save;
    * `queue`: by the engine; the job waits in the queue, for a time or for another execution;
    * `worker`: by the worker itself, which alone knows secrets;
    * `thread`: by a tool in a thread of the worker, because it waits;
    * `runner`: by a tool in a child process, because it runs somebody's code. (A tool may choose per call.)

    The rest:

    * `one_of`: exactly one of these fields is given;
    * `credentials`: the types of credentials that it logs in with; with `aliases` it takes several, by names;
    * `result`: the shape of every result, None where it depends;
    * `runs_code`: its steps run code of the playbook;
    * `prints`: its steps may write output;
    * `keeps_files`: its steps keep files of an execution in the worker's folder;
    * `gives_secrets`: its results can hold references to secrets;
    * `runs_in_tests`: tests of playbooks can carry its steps out;
    * `stub`: an example of what a test gives instead.
    """

    name: str
    place: Place
    description: str
    fields: Mapping[str, Field] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    aliases: bool = False
    result: Shape | None = None
    runs_code: bool = False
    prints: bool = False
    keeps_files: bool = False
    gives_secrets: bool = False
    runs_in_tests: bool = False
    stub: str = "result: {}"

    @property
    def has_jobs(self) -> bool:
        """Whether its steps have jobs, hence can have a loop and a save."""
        return self.place != "decision"

    @property
    def has_effects(self) -> bool:
        """Whether its steps reach outside, hence can be given secrets; the fields and args of others are kept."""
        return self.place in ("worker", "thread", "runner")

    def fields_in(self, *languages: Language) -> tuple[str, ...]:
        """Return the names of the fields whose text is in one of these languages."""
        return tuple(name for name, spec in self.fields.items() if spec.language in languages)


_TEXTS: Final = Field("mapping", texts=True)
_COMMANDS: Final = ("command", "commands")
_SQL: Final = Field("any", language="sql", description="SQL: a text with one or several commands, or a list of texts.")
_COMMAND_RESULT: Final = shape_of("status", "rows", "row_count", "columns")
_SQL_RESULT: Final = Shape(shape_of("executed_commands").keys, numbered=(re.compile(r"command_\d+"), _COMMAND_RESULT))
_SQL_STUB: Final = "result: {command_0: {status: SELECT 1, rows: [], row_count: 0, columns: []}}"
HTTP_RESULT: Final = shape_of("status_code", "headers", "url", "elapsed", "data")
_PROCESS_RESULT: Final = shape_of("exit_code", "stdout", "stderr")
_PROCESS_STUB: Final = 'result: {exit_code: 0, stdout: "", stderr: ""}'

_TYPES: Final = (
    StepType(ROUTER, "decision", "Leads on to other steps."),
    StepType(
        "python",
        "runner",
        "Calls the function main of Python code.",
        {"code": Field(required=True, raw=True, language="python", description="Python with a 'def main(...)'.")},
        runs_code=True,
        prints=True,
        runs_in_tests=True,
    ),
    StepType(
        "http",
        "thread",
        "Sends an HTTP request.",
        {
            "method": Field(choices=HTTP_METHODS),
            "endpoint": Field(required=True, description="The URL."),
            "headers": _TEXTS,
            "params": _TEXTS,
            "payload": Field("any"),
            "data": Field("any"),
            "big_numbers": Field(choices=BIG_NUMBERS),
        },
        credentials=("bearer", "basic", "api_key", "header"),
        result=HTTP_RESULT,
        stub="result: {status_code: 200, headers: {}, data: {}}",
    ),
    StepType(
        "postgres",
        "thread",
        "Runs SQL in a Postgres database.",
        {
            **dict.fromkeys(_COMMANDS, _SQL),
            "params": Field("any"),
            "once": Field("boolean"),
            "isolation": Field(choices=ISOLATIONS),
        },
        one_of=_COMMANDS,
        credentials=("postgres",),
        result=_SQL_RESULT,
        stub=_SQL_STUB,
    ),
    StepType(
        "duckdb",
        "runner",
        "Runs SQL in DuckDB.",
        {**dict.fromkeys(_COMMANDS, _SQL), "params": Field("any"), "database": Field(path=True)},
        one_of=_COMMANDS,
        credentials=("postgres", "s3"),
        aliases=True,
        result=_SQL_RESULT,
        prints=True,
        keeps_files=True,
        stub=_SQL_STUB,
    ),
    StepType(
        "shell",
        "runner",
        "Runs a shell command.",
        {
            "command": Field("any", required=True, language="shell", description="What the shell runs."),
            "shell": Field(
                choices=SHELLS,
                description="What runs a text: bash -eo pipefail (the default where there is a bash) or sh -e.",
            ),
            "stdin": Field(
                "any",
                description="What the command reads from its standard input: text, or a value that is written as JSON.",
            ),
            "env": _TEXTS,
            "cwd": Field(),
        },
        result=_PROCESS_RESULT,
        runs_code=True,
        prints=True,
        stub=_PROCESS_STUB,
    ),
    StepType(
        "container",
        "thread",
        "Runs a container.",
        {
            "image": Field(required=True),
            "command": Field("any", language="shell", description="What the container runs."),
            "env": _TEXTS,
            "volumes": Field("any"),
            "workdir": Field(),
            "user": Field("any"),
            "network": Field(),
        },
        credentials=("basic",),
        result=_PROCESS_RESULT,
        runs_code=True,
        prints=True,
        stub=_PROCESS_STUB,
    ),
    StepType(
        "secrets",
        "worker",
        "Reads a secret.",
        {
            "provider": Field(required=True, choices=SECRET_PROVIDERS),
            "name": Field(required=True),
            "version": Field("any"),
            "project": Field(),
            "region": Field(),
            "field": Field(),
        },
        credentials=("generic", "bearer", "s3"),
        result=shape_of("secret_value", "version", "provider"),
        gives_secrets=True,
    ),
    StepType(
        "save",
        "runner",
        "Stores data in the event log, a table or a file.",
        {
            "storage": Field(choices=tuple(save_rules.FIELDS)),
            "data": Field("any"),
            "table": Field(),
            "mode": Field(choices=save_rules.MODES),
            "key": Field("any"),
            "statement": Field(language="sql"),
            "params": Field("any"),
            "path": Field(path=True),
            "format": Field(choices=save_rules.FORMATS),
            "database": Field(path=True),
        },
        credentials=("postgres", "s3"),
        aliases=True,
        result=shape_of("saved", "data", "table", "path", "row_count"),
        keeps_files=True,
    ),
    StepType(
        "playbook",
        "queue",
        "Runs another playbook and waits for its end.",
        {"path": Field(required=True), "version": Field("integer"), "return_step": Field()},
        gives_secrets=True,
        runs_in_tests=True,
    ),
    StepType(
        "wait",
        "queue",
        "Waits for a time.",
        {"for": Field("duration"), "until": Field("any")},
        one_of=("for", "until"),
        runs_in_tests=True,
    ),
    StepType("fail", "decision", "Fails with a message.", {"message": Field()}),
)

STEP_TYPES: Final[Mapping[str, StepType]] = MappingProxyType({type_.name: type_ for type_ in _TYPES})
"""The types by their names. `workbook` is none: such a step has the type and the fields of its task."""

WORKBOOK: Final = "workbook"
ROUTER_TYPES: Final = frozenset({"start", "noop", "route", "end"})
"""What can be written for the type of a router, which usually has none."""

NO_FIELDS: Final[Mapping[str, Field]] = MappingProxyType({})


def fields_of(type_: str) -> Mapping[str, Field]:
    """Return the fields of a type, none where there is no such type."""
    return STEP_TYPES[type_].fields if type_ in STEP_TYPES else NO_FIELDS

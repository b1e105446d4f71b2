"""The codes of findings, reported by the reader of a file and by the checks of lint.

A new check takes a code here, a module beside this one, a line in `run.CHECKS`, and mistakes in `tests/lint`. The
sentences are the table "Checking" of docs/playbooks.md, which a test compares.
"""

from enum import StrEnum
from typing import Self


class Code(StrEnum):
    """A kind of finding, as it stands between severity and message. `sentence` says it in the documentation."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> Self:
        code = str.__new__(cls, value)
        code._value_ = value
        code.sentence = sentence
        return code

    # The file
    YAML = "yaml", "the file is not the YAML that a playbook can be, or hides a mistake of YAML"
    DUPLICATE_KEY = "duplicate-key", "a key that stands twice in one mapping"
    GENERATION = (
        "generation",
        "a file of a generation that is not read (`apiVersion: noetl.io/v2`, `tool: {kind: ...}`); nothing else is"
        " reported of it",
    )
    UNREADABLE = "unreadable", "a step or task that is not read and has no other error: a fault of NoETL"

    # Keys and values
    VALUE = "value", "a value that cannot be used, or does not go with the fields beside it"
    WRONG_TYPE = "wrong-type", "a value of another type than its key takes"
    TOO_LONG = "too-long", "a name that is longer than the database can index"
    MISSING = "missing", "a key that is needed"
    UNKNOWN_KEY = (
        "unknown-key",
        "a key that is misspelt, or belongs to another type of step; for a word of another system (`depends_on`,"
        " `schedule`, `retries`, `body` ...) the message says how to write the same here",
    )
    UNKNOWN_TYPE = "unknown-type", "a type of step that does not exist"
    UNKNOWN_TASK = "unknown-task", "a task that the workbook does not have"
    NUMBER_TEXT = "number-text", "(hint) a number that loses digits of its text, as `1.10`"
    SPELLING = "spelling", "(hint) an older spelling, with today's"

    # Names
    PATH = "path", "a path that the catalog cannot take"
    BAD_NAME = "bad-name", "a step's name that templates cannot read"
    RESERVED_NAME = (
        "reserved-name",
        "a step's name that has a meaning of its own in templates; a warning where it only hides one",
    )
    DUPLICATE_STEP = "duplicate-step", "two steps of one name"
    DUPLICATE_TASK = "duplicate-task", "two tasks of one name"
    DUPLICATE_TEST = "duplicate-test", "two tests of one name"
    UNKNOWN_STEP = "unknown-step", "a step in a test that the playbook does not have"
    CLASH = "clash", "a step with the name of a workload key"

    # Routing
    DANGLING = "dangling", "a transition to a step that does not exist, or stands in the other workflow"
    UNREACHABLE = "unreachable", "a step that no transition leads to"
    FAIL = "fail", "a transition out of a step of type `fail`, which ends its branch"
    NEVER = "never", "(warning) a step or join that never starts: the conditions of all transitions to it are constant"
    ENDLESS = "endless", "(warning) a cycle without a way out"
    FORK_IN_CYCLE = "fork-in-cycle", "(warning) a step that starts two branches of its own cycle: they multiply"
    HANDLED = "handled", "(warning) a failure handler whose branch ends, so that the failure is forgotten"
    EACH_PAGE = (
        "each-page",
        "(hint) a step behind a pager that writes the same file with each page: `join: true` runs it once",
    )
    EMPTY_LOOP = "empty-loop", "(warning) a loop over `[]`"

    # Templates
    TEMPLATE = (
        "template",
        "a template that cannot be read, or never works: a method of Python (`x.upper()`), a function that does not"
        " exist (`len(x)`), arithmetic with text (`now() - 1`)",
    )
    CONDITION = "condition", "a condition that is neither true, false nor one expression"
    UNKNOWN_NAME = (
        "unknown-name",
        "a name in a template that no earlier step, no argument and no key of the workload gives; a warning where it"
        " resembles none of them, since it may come with the payload: declare such names in `workload`",
    )
    UNCERTAIN_NAME = (
        "uncertain-name",
        "(warning) a name that is not there on every way to the step, and that nothing guards",
    )
    UNKNOWN_FIELD = (
        "unknown-field",
        "a field that a python step's `return {...}`, a tool's result, a loop's list or an error does not have",
    )

    # Code and commands
    PYTHON = (
        "python",
        "code that does not parse, reads a name that nothing defines, or has a template in it, which stays as it is",
    )
    MISSING_ARGUMENT = "missing-argument", "a parameter of `main` without a default that no args give"
    SQL = (
        "sql",
        "SQL with an open quote, parenthesis or comment, without a command, or with a misspelt first word;"
        " placeholders that do not fit `params`; `BEGIN` in a step that is one transaction",
    )
    SQL_TEMPLATE = (
        "sql-template",
        "(warning) a value written into SQL: use `params`; constants, `execution_id` and `raw` values are fine",
    )
    SHELL_TEMPLATE = (
        "shell-template",
        "(warning) a value written into a shell's text, with the same exceptions: use `env`",
    )
    BASE64 = "base64", "a text in Base64 that cannot be decoded"

    # Secrets
    AUTH = "auth", "a login that the tool cannot take: a wrong type, a missing field, a field too many"
    CLEAR_TEXT = "clear-text", "(warning) a password or token that is written into the file"
    SECRET = (
        "secret",
        "a secret in a place that is stored, or an environment variable that is named like one",
    )
    SQL_SECRET = "sql-secret", "(warning) a secret in the text of SQL, which servers log and errors show: use `params`"
    SHELL_SECRET = (
        "shell-secret",
        "(warning) a secret in an argument of a program, which the list of processes shows: use `env` or `stdin`",
    )
    UNKNOWN_CREDENTIAL = (
        "unknown-credential",
        "a credential that does not exist, where `--credential NAME` lists those that do",
    )

"""Help for tests that run SQL through the tools, without an engine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import orjson

from noetl.calls import Call
from noetl.database.connection.connect import playbook_login
from noetl.outcomes import Done, Failed
from noetl.settings import Settings
from noetl.tools.base import Tool
from noetl.tools.registry import make_tools

_numbers = count(1)
WHERE = "examples/test#step"


class Steps:
    """Calls of one tool, each a step run of its own unless a key is given."""

    def __init__(self, tool: Tool, auth: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.tool = tool
        self.auth = auth or {}

    def call(self, fields: Mapping[str, Any], **options: Any) -> Call:
        """Make a call. `options`: run_key, timeout, limit, auth, context."""
        return Call(
            type=self.tool.type,
            key=options.get("run_key") or f"{next(_numbers)}:step:1:-1",
            where=WHERE,
            fields=fields,
            args={},
            timeout=options.get("timeout", 20.0),
            limit=options.get("limit", 1 << 25),
            context=options.get("context", {}),
            auth=options.get("auth", self.auth),
        )

    def answer(self, command: Any = None, params: Any = None, **given: Any) -> Done | Failed:
        """Run SQL and return what came of it."""
        options = {name: given.pop(name) for name in ("run_key", "timeout", "limit", "auth") if name in given}
        fields = {"command": command, "params": params, **given}
        fields = {name: value for name, value in fields.items() if value is not None}
        return self.tool.run(self.call(fields, **options))

    def result(self, command: Any = None, params: Any = None, **given: Any) -> Any:
        """Run SQL that works and return its result."""
        answer = self.answer(command, params, **given)
        assert isinstance(answer, Done), answer
        return orjson.loads(answer.result)

    def rows(self, command: Any, params: Any = None, **given: Any) -> Any:
        """Return the rows of the last command, without their columns' names."""
        result = self.result(command, params, **given)
        last = result[f"command_{result['executed_commands'] - 1}"]
        return [list(row.values()) for row in last["rows"]]

    def one(self, command: Any, params: Any = None, **given: Any) -> Any:
        """Return the first value of the first row."""
        return self.rows(command, params, **given)[0][0]

    def error(self, command: Any = None, params: Any = None, **given: Any) -> dict[str, Any]:
        """Run SQL that does not work and return the error."""
        answer = self.answer(command, params, **given)
        assert isinstance(answer, Failed), answer
        assert answer.error["message"].startswith(f"{WHERE}: ")
        assert set(answer.error) == {"type", "message", "retryable", "detail"}
        orjson.dumps(answer.error)
        return answer.error


@contextmanager
def sql_steps(settings: Settings, type_: str = "postgres") -> Iterator[Steps]:
    """Give a tool as a worker has it, and close it."""
    tools = make_tools(playbook_login=playbook_login(settings))
    try:
        yield Steps(tools[type_])
    finally:
        for tool in tools.values():
            if tool.close is not None:
                tool.close()

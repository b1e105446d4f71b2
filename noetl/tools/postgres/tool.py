"""The postgres tool: SQL in Postgres databases.

Fields: `command` or `commands` (text with `;` between commands, or a list), `params` (a list for `$1` or `%s`, a
mapping for `:name` or `%(name)s`), `once` (true), `isolation` (a level's name), `timeout` of the step. The result is
`{command_0: {status, rows, row_count, columns}, ..., executed_commands}`; all commands are one
transaction, exactly-once where the database has the inbox, and the first error rolls it back. With `once: false` each
command runs on its own.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from noetl.calls import Call
from noetl.outcomes import Done, Failed
from noetl.rules.choices import ISOLATIONS
from noetl.tools.base import InvalidCall, Tool, failed_at
from noetl.tools.sql.bind import Bound, bind, commands_of, kind_of, refuse_transactions
from noetl.tools.sql.values import Results

if TYPE_CHECKING:  # imported by the first call: the runners' children, which know all tools, never make one
    from noetl.tools.postgres.login import PostgresLogin
    from noetl.tools.postgres.session import Session
    from noetl.tools.postgres.transaction import Transactions

_CHANGES_ROLE: Final = frozenset({"SET", "DO", "CALL"})


class Postgres:
    """The tool, with one pool of connections for all calls of the process. Methods may be called from any thread."""

    def __init__(self, playbook_login: Mapping[str, str] | None = None, secret: bytes | None = None) -> None:
        """`playbook_login`: the login of calls without auth, as parts under the client library's names.
        `secret` seals the keys of inboxes."""
        self._secret = secret
        self._parts = playbook_login
        self._lock = threading.Lock()
        self._transactions: Transactions | None = None

    def run(self, call: Call) -> Done | Failed:
        """Run a call's SQL. Errors: `validation`, `postgres`, `timeout`, `cancelled`, `too_large`, `not_json`."""
        try:
            once = call.fields.get("once", True)
            once = True if once is None else once
            if not isinstance(once, bool):
                raise InvalidCall(f"once must be true or false, not {kind_of(once)}")
            commands = bind(commands_of(call.fields), call.fields.get("params"))
            isolation = _isolation(call.fields.get("isolation"), once)
            if once:
                refuse_transactions(commands)
        except InvalidCall as failure:
            return failed_at(call.where, "validation", failure)
        return self.transact(
            call,
            _job(commands, call.limit),
            once=once,
            isolation=isolation,
            texts=[command.text for command in commands],
            resets=any(command.words[:1] and command.words[0] in _CHANGES_ROLE for command in commands),
        )

    def transact(
        self,
        call: Call,
        job: "Callable[[Session], bytes]",
        *,
        once: bool = True,
        isolation: str = "",
        texts: Sequence[str] = (),
        resets: bool = False,
    ) -> Done | Failed:
        """Run a job in the database that a call names; see `Transactions.run`."""
        from noetl.tools.postgres.login import login_of

        try:
            login = login_of(call.auth, self._default())
        except InvalidCall as failure:
            return failed_at(call.where, "validation", failure)
        transactions = self._connected()
        return transactions.run(call, login, job, once=once, isolation=isolation, texts=texts, resets=resets)

    def cancel(self, call: Call) -> None:
        """End a call that runs, on the server, too."""
        if self._transactions is not None:
            self._transactions.cancel(call)

    def close(self) -> None:
        """Close the connections that are kept."""
        if self._transactions is not None:
            self._transactions.close()

    def _default(self) -> "PostgresLogin | None":
        from noetl.tools.postgres.login import make_login

        return None if self._parts is None else make_login(self._parts, own=True)

    def _connected(self) -> "Transactions":
        from noetl.tools.postgres.transaction import Transactions

        with self._lock:
            if self._transactions is None:
                self._transactions = Transactions(self._secret)
            return self._transactions


def _isolation(value: object, once: bool) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or value.lower() not in ISOLATIONS:
        raise InvalidCall(f"isolation {value!r} is not one of {', '.join(ISOLATIONS)}")
    if not once:
        raise InvalidCall("isolation is the level of the step's transaction, and with once: false there is none")
    return value.lower()


def _job(commands: list[Bound], limit: int) -> "Callable[[Session], bytes]":
    def run(session: "Session") -> bytes:
        results = Results(limit)
        for number, command in enumerate(commands):
            session.command = number
            session.execute(command, results)
        return results.text()

    return run


def make_tool(postgres: Postgres) -> Tool:
    """Return the postgres tool."""
    return Tool("postgres", postgres.run, close=postgres.close, cancel=postgres.cancel)

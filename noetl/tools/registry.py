"""The tools of all step types that have one, by type.

A new type is its tool here in a module of its own and a line below, its descriptor in `noetl/playbook/step_types.py`,
a test and a page in `docs/`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from noetl.tools import container, python, shell
from noetl.tools.base import Tool
from noetl.tools.duckdb import tool as duckdb
from noetl.tools.http import tool as http
from noetl.tools.postgres import tool as postgres
from noetl.tools.save import tool as save


def make_tools(
    *,
    allow_link_local: bool = False,
    playbook_login: Mapping[str, str] | None = None,
    inbox_secret: bytes | None = None,
    container_labels: Mapping[str, str] = MappingProxyType({}),
) -> Mapping[str, Tool]:
    """Return every tool by its type.

    `allow_link_local` lets `http` reach link-local and metadata addresses. `playbook_login` is where SQL without
    `auth` goes, as the client library calls its parts (host, port, dbname, user, password ...). `inbox_secret` makes
    the keys of inboxes unguessable. `container_labels` tell whose the containers are.
    """
    sql = postgres.Postgres(playbook_login, inbox_secret)
    tools = (
        python.TOOL,
        http.make_tool(allow_link_local=allow_link_local),
        postgres.make_tool(sql),
        duckdb.TOOL,
        save.make_tool(sql),
        shell.TOOL,
        container.make_tool(container_labels),
    )
    return MappingProxyType({tool.type: tool for tool in tools})


TOOLS: Final = make_tools()

"""The bench for tests of secrets: a lab with a vault, and a service that says what it was asked."""

import json
from typing import Any

from tests.support.playbooks import Ended, Lab
from tests.support.stub import Stub
from tests.support.vault import Vault, a_key

KEY = a_key()
TOKEN = "canary-token-9f2c"
PASSWORD = 'can"ary\\pass/wörd 7?'


class Bench(Lab):
    """A lab with a vault and a service that says what it was asked."""

    stub: Stub
    vault: Vault

    def asked(self) -> dict[str, Any]:
        """Return the last request."""
        return self.stub.asked[-1]

    def seen(self, ended: Ended) -> str:
        """Return everything that was written of an execution, as text."""
        with self.database.session() as conn:
            rows = [
                conn.execute(
                    f"SELECT row_to_json(t)::text FROM {table} t WHERE execution_id = %s".encode(), [one]
                ).fetchall()
                for table in ("event_log", "payload", "output", "error_log", "workload", "execution", "queue")
                for one in [ended.execution_id]
            ]
        return json.dumps(rows, ensure_ascii=False)


def call(bench: Bench, auth: str, more: str = "", **request: Any) -> Ended:
    """Run one http step with an `auth`."""
    body = f"""
    workload: {{base_url: none, name: service}}
    workflow:
      - step: start
        next: ask
      - step: ask
        type: http
        endpoint: "{{{{ workload.base_url }}}}/asked"
        auth: {auth}
        {more}
        next: end
      - step: end
        result: "{{{{ ask.data }}}}"
    """
    return bench.run(body, payload={"base_url": bench.stub.url, **request.pop("payload", {})}, **request)

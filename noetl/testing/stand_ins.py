"""Stand-ins for effects that need no stub: saves are recorded, secrets come from the test."""

from typing import Any

from noetl.outcomes import Done, Failed
from noetl.playbook.testfile.model import Test
from noetl.playbook.values import plain
from noetl.rules.save import EVENT_LOG
from noetl.testing.answers import MAX_RESULT_BYTES
from noetl.testing.calls import CallRecord


def stand_in(call: CallRecord, test: Test) -> Done | Failed | None:
    """Return the outcome of a call that needs no stub, None where it needs one."""
    if call.type == "save":
        return Done(plain(_saved(call), MAX_RESULT_BYTES, "result"))
    if call.type == "secrets" and call.fields.get("name") in test.secrets:
        result = {
            "secret_value": test.secrets[call.fields["name"]],
            "version": str(call.fields.get("version") or "1"),
            "provider": call.fields.get("provider"),
        }
        return Done(plain(result, MAX_RESULT_BYTES, "result"))
    return None


def _saved(call: CallRecord) -> dict[str, Any]:
    data = call.fields.get("data", call.args)
    rows = len(data) if isinstance(data, list) else 1
    if call.fields.get("storage") in (None, EVENT_LOG):
        return {"saved": EVENT_LOG, "data": data, "row_count": rows}
    place = {name: call.fields[name] for name in ("table", "path") if name in call.fields}
    return {"saved": call.fields["storage"], **place, "row_count": rows}

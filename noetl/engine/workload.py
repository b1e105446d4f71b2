"""The workload of an execution: the playbook's, rendered, with the payload of its start laid over it."""

from collections.abc import Mapping
from typing import Any

from noetl.playbook.model import Playbook
from noetl.playbook.parameters import check_payload
from noetl.playbook.templates.budget import on_one_budget


def render_workload(
    playbook: Playbook,
    execution_id: int,
    env: Mapping[str, object],
    payload: Mapping[str, object],
    *,
    merge: bool = False,
    overlay: Mapping[str, object] | None = None,
    passed: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the workload. `payload` is laid over the rendered one, shallow or deep (`merge`), `overlay` over both,
    always deep; both are data, never templates. Raises `TemplateError`, and `InputError` for a name that the playbook
    does not have, unless it is one of `passed`: those are left aside.
    """
    payload = check_payload(playbook, payload, overlay or (), passed)
    scope = {
        "execution_id": str(execution_id),
        "env": env,
        "job": {"id": str(execution_id), "uuid": str(execution_id)},
    }
    defaults: dict[str, Any] = on_one_budget(playbook.workload.render, scope) or {}
    laid = merged(defaults, payload) if merge else {**defaults, **payload}
    return merged(laid, overlay) if overlay else laid


def merged(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, Any]:
    """Lay one mapping over another, mappings within them too."""
    out = dict(below)
    for key, value in above.items():
        mine = out.get(key)
        out[key] = merged(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return out

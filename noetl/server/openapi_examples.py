"""Examples for the OpenAPI description, by model and by parameter; a test holds each against its model."""

from typing import Any

_ID = "384841696770260995"
_TIME = "2026-01-02T03:04:05.678901Z"
_DOCUMENT = (
    "apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {path: demo/hello}\nworkload: {name: you}\n"
    'workflow:\n  - step: start\n    next: [end]\n  - step: end\n    result: {text: "hello {{ workload.name }}"}\n'
)
_EVENT = {
    "execution_id": _ID,
    "event_id": "3",
    "timestamp": _TIME,
    "event_type": "step_completed",
    "node_id": "greet",
    "visit": 1,
    "result": {"text": "hello you"},
}

BODIES: dict[str, dict[str, Any]] = {
    "RegisterBody": {"content": _DOCUMENT, "filename": "demo/hello.yaml"},
    "StartBody": {"path": "demo/hello", "payload": {"name": "Ada"}, "labels": {"team": "blue"}, "key": "2026-01-02"},
    "CancelBody": {"reason": "the input was wrong"},
    "CredentialBody": {"name": "api", "type": "bearer", "fields": {"token": "the-token"}, "description": "of the shop"},
}

ANSWERS: dict[str, dict[str, Any]] = {
    "FailureAnswer": {
        "error": {
            "type": "not_found",
            "message": "there is no execution 12: noetl execute list shows those there are",
            "detail": None,
        }
    },
    "PageAnswer": {"items": [_EVENT], "next": "3"},
    "RegisteredAnswer": {"path": "demo/hello", "version": 1, "kind": "Playbook", "created": True},
    "StartedAnswer": {
        "execution_id": _ID,
        "path": "demo/hello",
        "version": 1,
        "status": "running",
        "created": True,
    },
    "StatusAnswer": {"execution_id": _ID, "status": "cancelling"},
    "StepResultAnswer": {
        "event_id": "3",
        "event_type": "step_completed",
        "node_id": "greet",
        "visit": 1,
        "item_index": -1,
        "result": {"text": "hello you"},
        "error": None,
    },
    "StoredCredentialAnswer": {"name": "api", "type": "bearer", "created": True},
    "RemovedCredentialAnswer": {"name": "api"},
    "RotatedAnswer": {"rotated": 3, "key_id": "0123456789ab"},
}

PARAMETERS: dict[str, Any] = {
    "execution_id": _ID,
    "parent": _ID,
    "root": _ID,
    "listExecutions.status": "failed",
    "listQueue.status": "waiting",
    "listRuntime.status": "running",
    "path": "demo/hello",
    "label": "team=blue",
    "key": "2026-01-02",
    "limit": 50,
    "step": "greet",
    "visit": 1,
    "item": "3/5",
    "name": "api",
    "version": 1,
    "pool": "default",
}

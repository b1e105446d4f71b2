"""The recorder: it writes a test from an execution that ran, with its input, the answers its steps got, and its end."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from noetl.engine.conditions import UNSATISFIED_ERROR
from noetl.playbook.load import read_document
from noetl.playbook.model import Playbook
from noetl.playbook.templates.template import is_template
from noetl.playbook.testfile.load import steps_of
from noetl.playbook.testfile.stubs import SAVE_SUFFIX, TYPES_WITHOUT_CALLS
from noetl.testing.calls import item_of
from noetl.words import NO_ITEM, TERMINAL_STATUSES, EventType, step_of

EventRow = Mapping[str, Any]

_ERROR_KEYS: Final = ("type", "message", "retryable", "detail", "cause")
_SUCCESS: Final = frozenset({EventType.STEP_COMPLETED, EventType.ITEM_COMPLETED})
_FAILURE: Final = frozenset({EventType.STEP_FAILED, EventType.ITEM_FAILED, EventType.ATTEMPT_FAILED})
_ENDS: Final = frozenset({EventType.STEP_COMPLETED, EventType.STEP_FAILED, EventType.STEP_CANCELLED})
CANCELLED: Final = "cancelled"
_NO_CALL: Final = frozenset({"template", "max_visits"})
"""Types of errors of steps that were never called."""

OUTLIVING_SECONDS: Final = 3600.0
"""Seconds that a call takes longer which was running when it was cancelled."""


@dataclass(frozen=True, slots=True)
class Detail:
    """How much of the time is written down. `timed`: how long each call took, and waits are stubbed, too; `ordered`:
    the order of the steps is expected, else only which they are."""

    timed: bool
    ordered: bool


DETAIL_VARIANTS: Final = (Detail(False, True), Detail(True, True), Detail(True, False))
"""From the plainest test to the one that says most: the first that passes is the one to keep."""


@dataclass(frozen=True, slots=True)
class Recording:
    """An execution as the API shows it: itself, its events in order (results by reference followed), its playbook."""

    shown: EventRow
    events: Sequence[EventRow]
    playbook: Playbook
    content: str

    def document(self, detail: Detail) -> dict[str, Any]:
        """Return the document of a file of tests."""
        test: dict[str, Any] = {"name": f"execution {self.shown['execution_id']}"}
        payload = self._payload()
        if payload:
            test["payload"] = payload
        if self._names_itself():
            test["execution_id"] = str(self.shown["execution_id"])
        test["now"] = self.events[0]["timestamp"]
        cancels = self._cancels()
        if cancels:
            test["cancel_at"] = cancels if len(cancels) > 1 else cancels[0]
        stubs = self._stubs(detail)
        if stubs:
            test["stubs"] = stubs
        test["expect"] = self._expect(detail)
        return {"tests": [test]}

    # -- what it was given

    def _payload(self) -> dict[str, Any]:
        """Return the workload without the playbook's own defaults."""
        root, _problems = read_document(self.content, self.playbook.path)
        node = root.value.get("workload") if root is not None else None
        defaults = node.plain() if node is not None and node.kind == "mapping" else {}
        return {
            name: value
            for name, value in (self.shown["workload"] or {}).items()
            if name not in defaults or defaults[name] != value or is_template(json.dumps(defaults[name]))
        }

    def _names_itself(self) -> bool:
        """Whether the execution's id stands in anything that the test compares."""
        message = [self.shown["workload"], self.shown["result"], self.shown["error"]]
        message += [(event["result"], event["error"], event["meta"]) for event in self.events]
        return str(self.shown["execution_id"]) in json.dumps(message)

    def _cancels(self) -> list[str]:
        asked = [event for event in self.events if event["event_type"] == EventType.EXECUTION_CANCEL_REQUESTED]
        return [_duration(_between(self.events[0], event)) for event in asked]

    # -- what its steps got

    def _stubs(self, detail: Detail) -> dict[str, Any]:
        types, answers = steps_of(self.playbook), dict[str, dict[str, list[dict[str, Any]]]]()
        for step, item, answer in self._answers(detail):
            if types.get(step, "router") not in TYPES_WITHOUT_CALLS and (detail.timed or types[step] != "wait"):
                answers.setdefault(step, {}).setdefault(item, []).append(answer)
        return {step: _stub(by_item) for step, by_item in answers.items() if not _all_saved(step, by_item)}

    def _answers(self, detail: Detail) -> Iterator[tuple[str, str, dict[str, Any]]]:
        since: dict[tuple[str, str], EventRow] = {}  # when a step, or one of its items, began what ends next
        for event in self.events:
            kind, node = EventType(event["event_type"]), event["node_id"] or ""
            step, item = step_of(node), _item(event)
            if kind is EventType.STEP_QUEUED:
                since = {key: row for key, row in since.items() if key[0] != step} | {(step, ""): event}
                continue
            if not step or step.startswith("$"):
                continue
            saved, answer = self._saved(kind, step, event), self._answer(kind, event)
            if saved is not None:
                yield step + SAVE_SUFFIX, "", saved
            if answer is None:
                continue
            took = float(event.get("duration") or 0.0)
            if not item:  # when an item began is not told
                began = since.get((step, "")) or event
                took = max(0.0, _between(began, event) - (float(began["meta"]["delay"]) if _retried(began) else 0.0))
            if "error" in answer and answer["error"]["type"] == CANCELLED:
                answer["takes"] = _duration(took + OUTLIVING_SECONDS)
            elif detail.timed and took:
                answer["takes"] = _duration(took)
            since[step, item] = event
            yield step, item, answer

    def _answer(self, kind: EventType, event: EventRow) -> dict[str, Any] | None:
        """Return the answer to a call that an event records, None where it records none."""
        error = event["error"] or {}
        if "loop" in (event["meta"] or {}) or (kind in _FAILURE and "index" in error and not _is_item(event)):
            return None  # the end of a loop: its items are told of themselves
        if kind in _SUCCESS or (kind is EventType.STEP_FAILED and _had_result(error)):
            return {"result": event["result"]}
        if kind is EventType.STEP_CANCELLED or (kind is EventType.ITEM_SKIPPED and error):
            return {"error": {"type": CANCELLED, "message": "it was running when it was cancelled"}}
        if kind in _FAILURE and error.get("type") not in _NO_CALL:
            return {"error": _plain(error)}
        return None

    def _saved(self, kind: EventType, step: str, event: EventRow) -> dict[str, Any] | None:
        """Return the answer to the block `save` of a call, None where no event records that it was called."""
        model_step, error = self.playbook.step(step), event["error"] or {}
        if (model_step.item_save if _is_item(event) else model_step.save) is None:
            return None
        if kind in _SUCCESS or (kind is EventType.STEP_FAILED and _had_result(error) and not _save_failed(error)):
            return {"result": {}}
        if kind is EventType.STEP_FAILED and _save_failed(error) and error.get("type") not in _NO_CALL:
            return {"error": _plain(error)}
        return None

    # -- how it ended

    def _expect(self, detail: Detail) -> dict[str, Any]:
        status, error = self.shown["status"], self.shown["error"] or {}
        expect: dict[str, Any] = {"status": status}
        if status == "completed":
            result = self.shown["result"]
            plain = not (isinstance(result, dict) and len(result) == 1 and result.keys() <= {"contains", "equals"})
            expect["result"] = result if plain else {"equals": result}
        elif status == "failed":
            expect["error"] = {key: error[key] for key in ("type", "message", "step") if error.get(key)}
        taken = self._taken()
        if detail.ordered:
            expect["steps"] = taken
        else:
            names = sorted(set(taken))
            expect["steps"] = {"taken": names, "visits": {name: taken.count(name) for name in names}}
        return expect

    def _taken(self) -> list[str]:
        """Return the steps in the order in which their visits began, without those that were withdrawn before."""
        visits: dict[tuple[str, int], bool] = {}
        for event in self.events:
            node = event["node_id"]
            if node and not node.startswith("$"):
                key, kind = (step_of(node), event["visit"]), EventType(event["event_type"])
                visits[key] = visits.get(key, False) or kind in _ENDS
        return [step for (step, _visit), ended in visits.items() if ended]


def has_ended(shown: EventRow) -> bool:
    """Whether an execution is over, so that a test can be written from it."""
    return shown["status"] in TERMINAL_STATUSES


def _stub(by_item: Mapping[str, list[dict[str, Any]]]) -> Any:
    """Return the stub for the answers of a step, by item."""
    order = sorted(filter(None, by_item), key=lambda item: [int(part) for part in item.split("/")])
    items = {item: _one_or_more(by_item[item]) for item in order}
    return {"items": items} if items else _one_or_more(by_item.get("", []))


def _had_result(error: EventRow) -> bool:
    """Whether a step failed although its call had not: by what was to follow, or because `retry` waits for another."""
    return error.get("phase") in ("routing", "retry", "save") or error.get("type") == UNSATISFIED_ERROR


def _save_failed(error: EventRow) -> bool:
    return bool(error.get("phase") == "save")


def _all_saved(step: str, by_item: Mapping[str, list[dict[str, Any]]]) -> bool:
    """Whether a step is a block `save` that went well each time: that is what one without a stub does."""
    return step.endswith(SAVE_SUFFIX) and not any("error" in answer for answer in by_item[""])


def _plain(error: EventRow) -> dict[str, Any]:
    return {key: error[key] for key in _ERROR_KEYS if error.get(key) is not None}


def _is_item(event: EventRow) -> bool:
    return event["item_index"] is not None and event["item_index"] != NO_ITEM


def _item(event: EventRow) -> str:
    """Return the name of an event's item in tests, empty outside loops."""
    return str(item_of(event["node_id"], event["item_index"])) if _is_item(event) else ""


def _one_or_more(answers: Sequence[dict[str, Any]]) -> Any:
    """Return one answer as it is, several as a list in which equal ones that follow each other stand once."""
    if len(answers) == 1:
        return answers[0]
    kept: list[dict[str, Any]] = []
    for answer in answers:
        if kept and {key: value for key, value in kept[-1].items() if key != "times"} == answer:
            kept[-1] = {**answer, "times": kept[-1].get("times", 1) + 1}
        else:
            kept.append(answer)
    return kept


def _retried(event: EventRow) -> bool:
    return event["event_type"] == EventType.ATTEMPT_FAILED and "delay" in (event["meta"] or {})


def _between(first: EventRow, then: EventRow) -> float:
    return (datetime.fromisoformat(then["timestamp"]) - datetime.fromisoformat(first["timestamp"])).total_seconds()


def _duration(seconds: float) -> str:
    """Return seconds as playbooks write them."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"

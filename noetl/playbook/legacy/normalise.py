"""The normaliser of older spellings: it rewrites them before the model is read, so that no later module knows them.

The tree goes in as it was read and comes out canonical; what is moved keeps its line and column. Each spelling that
was replaced is a note: `lint` points to the canonical one with it, and nothing else looks at it. Two spellings of one
thing are an error that names both; everything else that is wrong is told by those who read the canonical tree.

The words stand in `words`; `tree` copies what is changed, `steps`, `loops` and
`fields` know where the words stand.
"""

from collections.abc import Callable

from noetl.errors import Problem
from noetl.playbook.legacy import words
from noetl.playbook.legacy.loops import unfold
from noetl.playbook.legacy.steps import Tasks, action, router, task, transitions, type_of, unread, without_slash
from noetl.playbook.legacy.tree import Draft, Notes, each, inside, mapping, reword
from noetl.playbook.read.document import METADATA_KEYS
from noetl.playbook.suggest import nearest
from noetl.playbook.yaml.tree import Node


def normalise(root: Node, filename: str, *, runs: bool = True) -> tuple[Node, list[Problem]]:
    """Return a document in canonical spelling, and a note (severity `hint`) for each spelling that was replaced.

    `runs`: it is a playbook; of documents of other kinds only the head is looked at.
    """
    if root.kind != "mapping":
        return root, []
    notes = Notes(filename)
    document = Draft(notes, root, "the playbook")
    _head(document)
    if runs:
        document.rename(words.DOCUMENT)
        seen: dict[int, Node] = {}
        for section in ("workbook", "workflow", "finally"):
            _change(document, section, lambda node: reword(notes, node, words.IN_TEMPLATES, seen))
        secrets: dict[str, tuple[Node, Node]] = {}
        _change(document, "workbook", lambda node: task(notes, node, secrets))
        tasks = Tasks(_tasks(document.get("workbook")), secrets)
        for section in ("workflow", "finally"):
            _change(document, section, lambda node: _step(notes, tasks, node))
    return document.done(), notes.problems


def _head(document: Draft) -> None:
    """Move the document's own path, name and description into `metadata`, whose own values win."""
    keys = [name for name in words.HEAD if name in document]
    for name, reason in words.HEAD_IDLE.items():
        if name in document:
            document.leave_out(name, reason)
    node = document.get("metadata")
    if node is not None and not node.null and node.kind != "mapping":
        return
    inside(document, "metadata", _metadata)
    if keys:
        _into_metadata(document, keys)
    inside(document, "metadata", lambda metadata: without_slash(metadata, "path"))


def _metadata(metadata: Draft) -> None:
    """Rename older keys of `metadata`, and drop those that nothing reads and that are no misspellings."""
    metadata.rename(words.METADATA)
    for name in metadata:
        if name not in METADATA_KEYS and nearest(name, METADATA_KEYS) is None:
            metadata.leave_out(name, "it is not read; 'labels' beside 'metadata' mark the executions of a playbook")


def _into_metadata(document: Draft, keys: list[str]) -> None:
    node, place = document.get("metadata"), document.key(keys[0])
    metadata = Draft(document.notes, mapping(place, {}, {}) if node is None or node.null else node, "metadata")
    for old in keys:
        key, value = document.take(old)
        new = words.HEAD[old]
        if new in metadata:
            document.notes.hint(key, f"leave out {old!r}: 'metadata' has a {new!r}, which counts")
        else:
            document.notes.hint(key, f"write {new!r} in 'metadata' instead of {old!r} beside it")
            metadata.put(new, value, key)
    document.put("metadata", metadata.done(), document.key("metadata") if node is not None else place)


def _change(document: Draft, section: str, change: Callable[[Node], Node]) -> None:
    node = document.get(section)
    if node is not None and node.kind == "list":
        changed = each(node, change)
        if changed is not node:
            document.put(section, changed, document.key(section))


def _tasks(workbook: Node | None) -> dict[str, Node]:
    """Return the workbook's tasks by name; of two with one name the last, as those who read them do."""
    tasks = workbook.value if workbook is not None and workbook.kind == "list" else []
    named = [(node.value.get("name"), node) for node in tasks if node.kind == "mapping"]
    return {name.value: node for name, node in named if name is not None and isinstance(name.value, str)}


def _step(notes: Notes, tasks: Tasks, node: Node) -> Node:
    if node.kind != "mapping":
        return node
    step = Draft(notes, node, "a step")
    if "step" not in step:
        step.rename({"name": "step"})
    step.label = f"step {step.word('step')!r}"
    type_ = router(step, type_of(step))
    unread(step, type_)
    if type_ == words.ITERATOR:
        unfold(step, tasks)
    else:
        action(step, tasks, type_)
    transitions(step)
    return step.done()

"""The check of names and fields: those that templates read exist when the templates are rendered."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from noetl.playbook.graph import END
from noetl.playbook.lint.codes import Code
from noetl.playbook.lint.credentials import missing_credential
from noetl.playbook.lint.result_shapes import ERROR, JOB, literal, result_shape
from noetl.playbook.lint.scopes import IN_FINALLY, IN_WORKLOAD, STEP_NAMES_ALWAYS, At, Local, Section, local_names
from noetl.playbook.lint.source import PlaybookSource
from noetl.playbook.lint.template_places import sites
from noetl.playbook.lint.template_reads import Read, reads_of
from noetl.playbook.model import Step
from noetl.playbook.shapes import Shape
from noetl.playbook.step_types import HTTP_RESULT
from noetl.playbook.suggest import did_you_mean, nearest
from noetl.playbook.templates.env import is_secret_name
from noetl.playbook.templates.result_views import SELF_NAMES, is_envelope
from noetl.playbook.templates.sandbox import MAPPING_METHODS
from noetl.playbook.templates.secret_references import is_source, read_source
from noetl.playbook.yaml.positions import place_in
from noetl.playbook.yaml.tree import Node

_OF_CALL: Final = frozenset(HTTP_RESULT.keys) - {"data"}
"""What an http step tells of its call, beside the answer's body."""


def check_names(source: PlaybookSource) -> None:
    """Report names and fields that are not there where a template reads them."""
    check = _NameCheck(source)
    check.check_workload()
    for section in source.sections:
        check.check_section(section)


class _NameCheck:
    """Checks one playbook. `reported` holds what has been reported: a task's template is seen by each of its steps."""

    def __init__(self, source: PlaybookSource) -> None:
        self.reader = source.reader
        self.tasks = source.tasks
        self.credentials = source.credentials
        self.keys = source.workload_keys
        self.workload = source.workload if source.workload is not None and source.workload.kind == "mapping" else None
        self.reported: set[tuple[int, int, str]] = set()

    # ---- where templates stand

    def check_workload(self) -> None:
        """Check the templates of the workload, which are rendered before everything else."""
        for node in self.workload.texts() if self.workload is not None else ():
            reads = reads_of(node.value)
            for read in reads.reads:
                if read.name == "env" or read.name == "secret":
                    self._check_secrets(node, read)
                elif read.name not in IN_WORKLOAD and not read.guarded and read.name not in reads.asked:
                    message = f"the workload reads {read.name!r}: env, job and execution_id are all that it can read"
                    self._report(node, read, 0, "error", Code.UNKNOWN_NAME, message)

    def check_section(self, section: Section) -> None:
        """Check the templates of all steps of `workflow` or `finally`."""
        for step in section.steps.values():
            task = self.tasks.get(step.task) if step.task else None
            for at, label, node in sites(section, step, task):
                scalars = [(scalar, reads) for scalar in node.texts() if (reads := reads_of(scalar.value)).reads]
                if not scalars:
                    continue
                local = local_names(section, step, at, task)
                for scalar, reads in scalars:
                    place = _TemplatePlace(
                        section=section,
                        step=step,
                        at=at,
                        label=f"{label} of step {step.name!r}",
                        node=scalar,
                        local=local,
                        asked=reads.asked,
                    )
                    for read in reads.reads:
                        self._resolve(place, read)

    # ---- what a name is

    def _resolve(self, place: "_TemplatePlace", read: Read) -> None:
        name, args = read.name, place.local.args
        if name in place.local.names or name in args.sure:
            if name == "error":
                self._check_fields(place, read, ERROR, 0, near=True)
            if name in ("this", "result") and place.step.type == "http":
                self._hint_at_body(place, read)
            if name in IN_FINALLY and name not in args.sure:
                self._hint_at_end(place, read)
            return
        if name in args.some:
            if not self._elsewhere(place, name):
                self._uncertain(place, read, f"not every way to the step gives {name!r}")
        elif name == "results":
            self._resolve_results(place, read)
        elif name == "error" and name not in self.keys:
            self._resolve_error(place, read)
        elif name in ("env", "secret"):
            self._check_secrets(place.node, read)
        elif name == "workload":
            self._check_fields(place, read, literal(self.workload), 0, near=True)
        elif name == "job":
            self._check_fields(place, read, JOB, 0)
        elif name in STEP_NAMES_ALWAYS or args.open:
            return
        elif place.section_of(name) is not None:
            self._resolve_step(place, read, name, 0)
        elif name in self.keys:
            self._check_fields(place, read, literal(self.workload), -1, near=True)
        else:
            self._unknown(place, read)

    def _hint_at_body(self, place: "_TemplatePlace", read: Read) -> None:
        """Hint at a field of an http result that is looked for in the answer's body."""
        if read.path[:1] == ("data",) and len(read.path) > 1 and read.path[1] in _OF_CALL and not place.excused(read):
            field = read.path[1]
            message = (
                f"{read.name}.data.{field} is {field!r} of the answer's body; of the call it is {read.name}.{field}"
            )
            self._report(place.node, read, 2, "hint", Code.UNKNOWN_FIELD, f"{place.label}: {message}")

    def _hint_at_end(self, place: "_TemplatePlace", read: Read) -> None:
        """Hint at keys of `error` and `result` in `finally`, which are null after a success or without a result."""
        own = place.at in (At.NEXT, At.SAVE, At.ITEM_SAVE, At.ON_ERROR, At.RESULT, At.RETRY)
        if place.section.after is None or own or not read.path or read.perhaps or place.excused(read):
            return
        if read.name == "error" and place.step.name not in place.section.behind_failures:
            message = (
                "'error' is null after a success, and its keys have no text: ask '{% if error %}', or default(...)"
            )
        elif read.name == "result":
            message = "'result' is null where the execution has failed: ask '{% if result %}', or default(...)"
        else:
            return
        self._report(place.node, read, 0, "hint", Code.UNCERTAIN_NAME, f"{place.label}: {message}")

    def _elsewhere(self, place: "_TemplatePlace", name: str) -> bool:
        return name in self.keys or place.section_of(name) is not None

    def _resolve_results(self, place: "_TemplatePlace", read: Read) -> None:
        if not read.path or not isinstance(read.path[0], str) or (read.called and read.path[0] in MAPPING_METHODS):
            return
        name = read.path[0]
        if place.section_of(name) is not None:
            self._resolve_step(place, read, name, 1)
        elif not read.guarded:
            hint = did_you_mean(name, place.steps())
            self._report(
                place.node, read, 1, "error", Code.UNKNOWN_NAME, f"{place.label}: there is no step {name!r}{hint}"
            )

    def _resolve_error(self, place: "_TemplatePlace", read: Read) -> None:
        section, name = place.section, place.step.name
        if name not in section.behind_failures:
            if not place.excused(read):
                message = (
                    f"{place.label} reads 'error', but no failure leads here: only steps behind 'on_error' have it"
                )
                self._report(place.node, read, 0, "error", Code.UNKNOWN_NAME, message)
            return
        if name in section.flow.reached(failing=False):
            self._uncertain(place, read, "the step also runs without a failure, and then there is no 'error'")
        self._check_fields(place, read, ERROR, 0, near=True)

    def _resolve_step(self, place: "_TemplatePlace", read: Read, name: str, at: int) -> None:
        """Check a read of a step's result; the step's name is part `at` of the path."""
        section = place.section_of(name)
        assert section is not None
        own = section is place.section and name == place.step.name
        if own and (place.at in (At.NEXT, At.SAVE, At.ITEM_SAVE, At.ON_ERROR, At.RETRY) or place.local.iterators):
            if place.at is At.NEXT:
                self._check_fields(place, read, self._shape(section, name), at)
            return
        if place.at is At.RESULT and place.step.name == END and not own:
            if not section.flow.always(name):  # it is rendered after everything, whatever leads here
                self._uncertain(place, read, f"{name!r} has not run on every way", at)
        elif section is not place.section:
            if not section.flow.always(name, failing=False):
                self._uncertain(place, read, f"{name!r} has not run on every way", at)
        elif not self._comes_before(place, read, name, at, own):
            return
        self._check_fields(place, read, self._shape(section, name), at)

    def _comes_before(self, place: "_TemplatePlace", read: Read, name: str, at: int, own: bool) -> bool:
        flow = place.section.flow
        if not flow.comes_before(name, place.step.name):
            if not place.excused(read):
                reason = (
                    "its own result, which is not there yet" if own else f"{name!r}, a step that does not come before"
                )
                self._report(place.node, read, at, "error", Code.UNKNOWN_NAME, f"{place.label} reads {reason}")
            return False
        if not place.excused(read) and not read.perhaps and not flow.sure(name, place.step.name):
            reason = "there is no own result at first" if own else f"{name!r} has not run on every way to the step"
            self._uncertain(place, read, reason, at)
        return True

    def _shape(self, section: Section, name: str) -> Shape | None:
        step = section.steps[name]
        task = self.tasks.get(step.task) if step.task else None
        code = task.value.get("code") if task is not None else None
        return result_shape(step.type, section.nodes[name], code.value if code is not None else None)

    # ---- what is wrong with it

    def _unknown(self, place: "_TemplatePlace", read: Read) -> None:
        if place.excused(read) or (read.called and not read.path):
            return  # what is called and is no function is told by who looks at calls
        name = read.name
        hint = did_you_mean(name, place.known(self.keys))
        if not hint and not self.keys and name in place.section.nodes[place.step.name].value:
            message = f"{place.label} reads {name!r}, a field of the step, not a name: read the names in the field"
            self._report(place.node, read, 0, "warning", Code.UNKNOWN_NAME, message)
        if not hint and not self.keys:
            return  # without a workload, everything can come with the run
        if not hint:
            iterators = {one for step in place.section.steps.values() for one in (loop.iterator for loop in step.loops)}
            hint = ": it is a loop's iterator, there in its own step only" if name in iterators else ""
        # What nobody could have meant otherwise may still come with the run: that is no reason to refuse a playbook.
        severity = "error" if hint else "warning"
        hint = hint or ": no step, argument or workload key has that name; declare names of the payload in 'workload'"
        self._report(place.node, read, 0, severity, Code.UNKNOWN_NAME, f"{place.label} reads {name!r}{hint}")

    def _uncertain(self, place: "_TemplatePlace", read: Read, reason: str, at: int = 0) -> None:
        if not place.excused(read) and not read.perhaps:
            message = f"{place.label}: {reason}: add '| default(...)', or ask with 'is defined'"
            self._report(place.node, read, at, "warning", Code.UNCERTAIN_NAME, message)

    def _check_fields(
        self, place: "_TemplatePlace", read: Read, shape: Shape | None, at: int, near: bool = False
    ) -> None:
        """Report the first field that is not there. `near`: only one that is misspelt, since others may come."""
        if read.guarded:
            return
        parts = read.path[at:] if at >= 0 else (read.name, *read.path)
        whole = not near  # whether it is still the step's result itself that is looked at
        for number, part in enumerate(parts, at + 1):
            if shape is None or not isinstance(part, str):
                return
            if not shape.has(part):
                if number == at + 1 and part in SELF_NAMES and whole:
                    continue
                if not (whole and is_envelope(shape.keys) and self._in_data(place, read, shape, number)):
                    self._missing_field(place, read, shape, number, near)
                return
            shape, whole = shape.inner(part), False

    def _in_data(self, place: "_TemplatePlace", read: Read, shape: Shape, number: int) -> bool:
        """Whether a field may be in the `data` of an envelope; hint at the longer path."""
        data, part = shape.inner("data"), str(read.path[number - 1])
        if (data is None and nearest(part, shape.keys)) or (data is not None and not data.has(part)):
            return False
        of = ".".join([read.name, *map(str, read.path[: number - 1])])
        self._report(
            place.node, read, number, "hint", Code.SPELLING, f"write '{of}.data.{part}' instead of '{of}.{part}'"
        )
        return True

    def _missing_field(self, place: "_TemplatePlace", read: Read, shape: Shape, number: int, near: bool) -> None:
        part = str(read.path[number - 1])
        if read.called and number == len(read.path) and part in MAPPING_METHODS:
            return
        hint = did_you_mean(part, shape.keys)
        if near and not hint:
            return
        of = ".".join([read.name, *map(str, read.path[: number - 1])])
        has = hint or (f": it has {', '.join(sorted(shape.keys))}" if shape.keys else "")
        severity = "warning" if near and read.name != "error" else "error"
        message = f"{place.label}: {of!r} has no field {part!r}{has}"
        self._report(place.node, read, number, severity, Code.UNKNOWN_FIELD, message)

    def _check_secrets(self, node: Node, read: Read) -> None:
        """Report variables named like secrets, and credentials that do not exist. Where `secret` may stand has been
        checked when the template was read."""
        name = str(read.path[0]) if read.path else ""
        if read.name == "env":
            if is_secret_name(name):
                message = f"env.{name} is named like a secret: use secret('env:{name}') in a field of a tool"
                if read.guarded:
                    message += "; here it is always the default"
                self._report(node, read, 1, "warning" if read.guarded else "error", Code.SECRET, message)
        elif read.called and read.argument and is_source(read.argument):
            secret = read_source(read.argument)
            if secret.kind == "credential":
                message = missing_credential(secret.name, self.credentials)
                if message:
                    self._report(node, read, 0, "error", Code.UNKNOWN_CREDENTIAL, message)

    def _report(self, node: Node, read: Read, part: int, severity: str, code: Code, message: str) -> None:
        """Report a problem at a part of a read: 0 is the name, 1 the first key behind it."""
        token = str(read.path[part - 1]) if part else read.name
        line, column = node.line, node.column
        if part < len(read.offsets):
            line, column = place_in(self.reader.lines, node, read.offsets[part], token)
        if (line, column, code) not in self.reported:
            self.reported.add((line, column, code))
            self.reader.report(line, column, severity, code, message)


@dataclass(frozen=True, slots=True)
class _TemplatePlace:
    """The place of a template. `asked` are the names that it asks for with `is defined`."""

    section: Section
    step: Step
    at: At
    label: str
    node: Node
    local: Local
    asked: frozenset[str]

    def section_of(self, name: str) -> Section | None:
        """Return the section of a step that can be read from here."""
        if name in self.section.steps:
            return self.section
        after = self.section.after
        return after if after is not None and name in after.steps else None

    def steps(self) -> list[str]:
        return [*self.section.steps, *(self.section.after.steps if self.section.after else ())]

    def known(self, keys: Collection[str]) -> list[str]:
        """Return every name that a person could have meant here."""
        args = self.local.args
        return [*self.steps(), *keys, *args.sure, *args.some, *self.local.names, *STEP_NAMES_ALWAYS]

    def excused(self, read: Read) -> bool:
        """Whether nothing happens where the name is undefined."""
        return read.guarded or read.name in self.asked or bool(read.path and read.path[0] in self.asked)

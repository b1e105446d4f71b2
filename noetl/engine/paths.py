"""Paths with data in them: the text before the first template names the folder that data must not lead out of."""

import posixpath
from collections.abc import Mapping
from typing import Final

from noetl.errors import TemplateError
from noetl.playbook.model import Template
from noetl.playbook.step_types import STEP_TYPES
from noetl.playbook.templates.template import MappingTemplate

_PATHS: Final = {
    name: tuple(field for field, spec in type_.fields.items() if spec.path) for name, type_ in STEP_TYPES.items()
}
"""The fields of each step type that hold a path."""


def keep_within(type_: str, fields: Mapping[str, object], template: Template | None) -> None:
    """Raise `TemplateError` where a rendered path of a step leaves the folder that the playbook's own text names."""
    paths = _PATHS.get(type_, ())
    if not paths or not isinstance(template, MappingTemplate):
        return
    for field in paths:
        text, value = template.text_of(field), fields.get(field)
        if text is not None and isinstance(value, str) and not is_within(text, value):
            raise TemplateError(
                f"{field} {value!r} leads out of the folder {folder_of(text) or '.'!r}, which the playbook names: data"
                " may name files below it only; write the whole path as a template where data may choose the folder"
            )


def folder_of(text: str) -> str:
    """Return the folder that a template's own text begins with, with its slash; empty for the working folder.

    >>> folder_of("/data/{{ city }}.csv"), folder_of("day-{{ n }}.csv")
    ('/data/', '')
    """
    literal = text[: min(at for at in (*map(text.find, ("{{", "{%", "{#")), len(text)) if at >= 0)]
    return literal[: literal.rfind("/") + 1]


def is_within(text: str, value: str) -> bool:
    """Tell whether a rendered path is below the folder of its template. A path that begins with a template is free.

    >>> is_within("/data/{{ city }}.csv", "/data/../etc/x.csv")
    False
    """
    if text.startswith(("{{", "{%", "{#")):
        return True
    path, folder = posixpath.normpath(value), folder_of(text)
    if not folder:
        return not path.startswith(("../", "/")) and path != ".."
    base = posixpath.normpath(folder).rstrip("/") + "/"
    if base == "./":
        return not path.startswith(("../", "/")) and path != ".."
    return path.startswith(base)

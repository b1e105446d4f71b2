"""Rendering for tests of templates: a value, or the message of its error."""

from typing import Any

import pytest

from noetl.errors import TemplateError
from noetl.playbook.templates.template import compile_template


def render(template: Any, **scope: Any) -> Any:
    return compile_template(template, playbook="a/b", step="s", field="args.x").render(scope)


def fails(template: Any, **scope: Any) -> str:
    with pytest.raises(TemplateError) as caught:
        render(template, **scope)
    return str(caught.value)

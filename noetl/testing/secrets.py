"""Made-up secrets: the values that calls of a test get in place of references. Real secrets are never read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from noetl.engine.render import Rendered
from noetl.playbook.templates.secret_references import REFERENCE, REFERENCE_MARK, Source, inside_json, source_of
from noetl.playbook.testfile.model import Test


def with_secrets(rendered: Rendered, test: Test, key: str) -> Rendered:
    """Return the call of the step run with this key, with the values that the test gives; a secret that it does not
    give is told as `secret(name)`."""

    def text_of(match: Any) -> str:
        return _text(source_of(match[1], key), match[2].count("+json"), match[0], test)

    def put_in(value: object) -> Any:
        if isinstance(value, str):
            return REFERENCE.sub(text_of, value) if REFERENCE_MARK in value else value
        if isinstance(value, Mapping):
            return {name: put_in(item) for name, item in value.items()}
        return [put_in(item) for item in value] if isinstance(value, list) else value

    return replace(rendered, args=put_in(rendered.args), fields=put_in(rendered.fields), auth=put_in(rendered.auth))


def _text(source: Source | None, within: int, whole: str, test: Test) -> str:
    """Return the text for a reference; `within` is the number of JSON texts around it, each of which escapes it."""
    if source is None:
        return whole
    text = _value(source, test)
    for _ in range(within):
        text = inside_json(text)
    return text


def _value(source: Source, test: Test) -> str:
    plainly = str(source).removeprefix("credential:")
    for name in (plainly, str(source)):
        if name in test.secrets:
            return str(test.secrets[name])
    credential = test.credentials.get(source.name) if source.kind == "credential" else None
    if isinstance(credential, Mapping):
        fields = {name: value for name, value in credential.items() if name != "type"}
        if source.field in fields:
            return str(fields[source.field])
        if not source.field and len(fields) == 1:
            return str(next(iter(fields.values())))
    elif credential is not None and not source.field:
        return str(credential)
    return f"secret({plainly})"

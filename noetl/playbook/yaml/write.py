"""The YAML writer: plain JSON values in a readable form that gives the same values when it is read."""

from typing import Final

import yaml

from noetl.playbook.yaml.scalars import scalar_value

MAX_LINE_WIDTH: Final = 110


class _Writer(yaml.SafeDumper):
    """Never uses aliases: what stands twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Write a text plainly only where it is read as text; several lines become a block."""
    style = None
    if not all(char.isprintable() or char == "\n" for char in text):
        style = '"'
    elif "\n" in text and not text.startswith((" ", "\n")):
        style = "|"
    elif _means_something(text):
        style = "'"
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _means_something(text: str) -> bool:
    """Whether a text, written plainly, would be read as something else."""
    try:
        return not isinstance(scalar_value(text, None, True), str)
    except ValueError:
        return True


def _number(writer: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if "." not in text:
        text = text.replace("e", ".0e")  # YAML 1.1, which the library writes, knows no float without a point
    return writer.represent_scalar("tag:yaml.org,2002:float", text)


_Writer.add_representer(str, _text)
_Writer.add_representer(float, _number)


def write_yaml(value: object) -> str:
    """Return a plain JSON value as a YAML document. Mappings keep their order."""
    return yaml.dump(
        value, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=MAX_LINE_WIDTH, default_flow_style=False
    )

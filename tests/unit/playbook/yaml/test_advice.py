"""A file that is no YAML gets the cause, its place, and what to write; so does one that is YAML and says less."""

import pytest

from noetl.playbook.load import lint, load_playbook


def told(text: str) -> list[str]:
    return [f"{one.line}:{one.column}: {one.severity}: {one.message}" for one in lint(text, "f.yaml")]


def step(lines: str) -> list[str]:
    return told(f"metadata: {{path: p}}\nworkflow:\n- step: start\n  type: http\n{lines}\n  next: end\n- step: end\n")


def workload(line: str) -> list[str]:
    return told(f"metadata: {{path: p}}\nworkload:\n  {line}\n  y: 1\nworkflow:\n- step: start\n")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("  endpoint: {{ x }}", '5:13: TEMPLATE "{{ x }}"'),
        ("  endpoint: {{x}}", '5:13: TEMPLATE "{{x}}"'),
        ("  endpoint: {{ x }}/a  # all", '5:13: TEMPLATE "{{ x }}/a"'),
        ("  endpoint: {{ x['a'] }}", "5:13: TEMPLATE \"{{ x['a'] }}\""),
        ('  endpoint: {{ x["a"] }}', "5:13: TEMPLATE '{{ x[\"a\"] }}'"),
        ("  endpoint: {{ f(1, 2) }}", "5:13: TEMPLATE"),
        ("  headers: {A: {{ x }}}", '5:16: TEMPLATE "{{ x }}"'),
        ("  args:\n  - {{ x }}", '6:5: TEMPLATE "{{ x }}"'),
        ("  endpoint: {% if x %}a{% endif %}", "5:13: TEMPLATE"),
        ("  desc: Error: it fails", "5:9: a text with ': ' in it stands in quotes: write \"Error: it fails\""),
        ("  desc: a: \"b\"", "5:9: a text with ': ' in it stands in quotes: write 'a: \"b\"'"),
        ("  desc: it fails: {{ x }}", "5:9: a text with ': ' in it stands in quotes: write \"it fails: {{ x }}\""),
        ("\tdesc: x", "5:1: a tab stands in the indentation: put blanks in its place"),
        ("  args:\n  \ta: 1", "6:3: a tab stands in the indentation: put blanks in its place"),
        ("  args:\n  -\ta: 1", "6:4: a tab stands where YAML takes blanks only"),
        ("   desc: x", "5:4: the line is indented by 3 blanks, lines before it by 2"),
        (" desc: x", "5:2: the line is indented by 1 blank, lines before it by 0 or 2"),
        ("  desc:x", "5:3: a blank is missing behind the ':': write desc: x"),
        ("  desc", "5:3: there is no ':' behind 'desc'"),
        ("  args: {a: 1", "5:9: the '{' that opens here is never closed"),
        ("  args: [1, 2", "5:9: the '[' that opens here is never closed"),
        ("  args: {a: 'b' c: 1}", "5:17: a ',' or a '}' is missing before this"),
        ("  args: {a: 1}}", "5:15: this '}' closes nothing: remove it"),
    ],
)  # fmt: skip
def test_a_step_that_is_no_yaml(lines: str, sentence: str) -> None:
    place, _, message = sentence.partition(": ")
    message = message.replace("TEMPLATE", "a value that begins with a template stands in quotes: write")
    (found,) = step(lines)
    assert found.startswith(f"{place}: error: invalid YAML: {message}")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("x: @daily", '3:6: text that begins with \'@\' stands in quotes: write "@daily"'),
        ("x: `a`", "3:6: text that begins with '`' stands in quotes: write \"`a`\""),
        ("x: %a%", "3:6: text that begins with '%' stands in quotes: write \"%a%\""),
        ("x: *.csv", "3:6: text that begins with '*' stands in quotes: write \"*.csv\""),
        ("x: * * * * *", "3:6: text that begins with '*' stands in quotes: write \"* * * * *\""),
        ("x: & co", "3:6: text that begins with '&' stands in quotes: write \"& co\""),
        ("x: > 5", "3:6: text that begins with '>' stands in quotes: write \"> 5\""),
        ("x: | a", "3:6: text that begins with '|' stands in quotes: write \"| a\""),
        ("x: - 5", "3:6: text that begins with '- ' stands in quotes: write \"- 5\""),
        ('x: "abc', '3:6: the quote " that opens here is never closed'),
        ("x: 'abc", "3:6: the quote ' that opens here is never closed"),
        ('x: "abc\n  z: "d"', '3:6: the quote " that opens here is not closed in its line'),
        ('x: "abc" def', "3:12: the text goes on behind the closing quote"),
        ("x: 'it's'", "3:10: an apostrophe ends the text in single quotes: write it twice ('')"),
        ('x: "C:\\data"', "3:9: a backslash in double quotes begins an escape: write it twice"),
    ],
)  # fmt: skip
def test_a_value_that_is_no_yaml(line: str, sentence: str) -> None:
    place, _, message = sentence.partition(": ")
    (found,) = workload(line)
    assert found.startswith(f"{place}: error: invalid YAML: {message}")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("x: *all", "3:6: error: the alias *all names no anchor before it: text that begins with '*' stands in quotes"),
        ("x: !important", "3:6: error: the tag !important is not available: write the value plainly, or in quotes"),
        ("x: ! a", "3:6: warning: text that begins with '!' stands in quotes: YAML reads it as a tag"),
        ("x: &co", "3:6: warning: no alias names the anchor &co: text that begins with '&' stands in quotes"),
        ("x: &co KG", "3:6: warning: no alias names the anchor &co: text that begins with '&' stands in quotes"),
        ("x: #general", "3:5: warning: the value is empty, since '#' begins a comment: write '#general' in quotes"),
        ("x: {a: &a 1, b: &a 2, c: *a}", "3:19: warning: the anchor &a is defined twice (first in line 3)"),
        ("x: {a: &a [1], b: &a {c: 2}, c: *a}", "3:21: warning: the anchor &a is defined twice"),
        ("x: yes", "3:6: hint: yes is text: write true for a truth value, or 'yes' in quotes for the text"),
        ("x: [Off]", "3:7: hint: Off is text: write false for a truth value, or 'Off' in quotes for the text"),
    ],
)
def test_a_value_of_which_yaml_leaves_less(line: str, sentence: str) -> None:
    (found,) = workload(line)
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    "line",
    ["x: 'yes'", 'x: "no"', "x: # nothing yet", "x: &a 1\n  z: *a", "x: &a 'b'", "x: '@daily'", "x: a#b",
     "x: '{{ execution_id }}'", "x: |\n    @ * & ! {{ execution_id }}", "x: 10:30",
     "x: http://h/", "x:\n    #all\n    a: 1"],
)  # fmt: skip
def test_what_is_written_well_is_no_finding(line: str) -> None:
    assert workload(line) == []


def test_doubts_keep_no_playbook_out() -> None:
    """A file with warnings of the parser is read."""
    load_playbook("metadata: {path: p}\nworkload: {a: &x 1, b: &x 2}\nworkflow: [{step: start}]\n", "f.yaml")


@pytest.mark.parametrize(("given", "meant"), [("yes", "true"), ("ON", "true"), ("no", "false"), ("Off", "false")])
def test_words_of_yaml_11_in_a_truth_value_are_answered(given: str, meant: str) -> None:
    (found,) = step(f"  endpoint: x\n  retry: {{jitter: {given}}}")
    assert found == f"6:19: error: retry.jitter of step 'start' is '{given}': write {meant}"


def test_code_without_a_bar_is_answered() -> None:
    found = told("metadata: {path: p}\nworkflow:\n- step: start\n  type: python\n  code:\n    def main():\n      1\n")
    assert found == ["6:5: error: code of step 'start' is a mapping: it must be text: write '|' behind the ':', and"
                     " the text below it, indented"]  # fmt: skip

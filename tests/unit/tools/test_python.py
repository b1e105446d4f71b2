"""The python tool: arguments by signature, one namespace, plain JSON out, tracebacks that begin in the playbook."""

import math
import sys
from typing import Any

import orjson
import pytest

from noetl.calls import Call
from noetl.outcomes import Done, Failed
from noetl.rules.text import storable
from noetl.tools.python import TOOL


def run(code: Any, args: dict[str, Any] | None = None, *, limit: int = 1 << 20, **context: Any) -> Done | Failed:
    """Run a python step of playbook `examples/weather`."""
    return TOOL.run(
        Call("python", "7:judge:1:-1", "examples/weather#judge", {"code": code}, args or {}, None, limit, context)
    )


def value(code: str, args: dict[str, Any] | None = None, **context: Any) -> Any:
    """Return what `main` returned."""
    answer = run(code, args, **context)
    assert isinstance(answer, Done), answer
    return orjson.loads(answer.result)


def failure(code: Any, args: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Return the error of a step that fails."""
    answer = run(code, args, **options)
    assert isinstance(answer, Failed), answer
    assert orjson.loads(orjson.dumps(answer.error)) == answer.error
    return answer.error


@pytest.mark.parametrize(
    ("signature", "body", "expected"),
    [
        ("", "42", 42),
        ("a", "a", 1),
        ("a, b", "[a, b]", [1, 2]),
        ("b, a", "[b, a]", [2, 1]),
        ("a, missing=5", "[a, missing]", [1, 5]),
        ("a, *, b", "[a, b]", [1, 2]),
        ("a, /, b", "[a, b]", [1, 2]),
        ("a, /, missing=3, **rest", "[a, missing, rest]", [1, 3, {"b": 2, "c": 3}]),
        ("missing=4, /, *, b", "[missing, b]", [4, 2]),
        ("**everything", "everything", {"a": 1, "b": 2, "c": 3}),
        ("a, **rest", "[a, rest]", [1, {"b": 2, "c": 3}]),
        ("input_data", "input_data", {"a": 1, "b": 2, "c": 3}),
        ("input_data, /", "input_data", {"a": 1, "b": 2, "c": 3}),
        ("input_data=None", "input_data", {"a": 1, "b": 2, "c": 3}),
        ("*args", "list(args)", []),
        ("*args, a", "[list(args), a]", [[], 1]),
    ],
)
def test_arguments_follow_the_signature(signature: str, body: str, expected: Any) -> None:
    code = f"def main({signature}):\n    return {body}\n"
    args = {"a": 1, "b": 2, "c": 3}
    assert value(code, args) == expected
    assert value(code, args) == expected, "the second call, with the signature known"


def test_missing_arguments_are_an_error_that_names_them_and_what_was_given() -> None:
    error = failure("def main(city, limit, a): ...", {"a": 1, "town": 2})
    assert error["type"] == "validation"
    assert error["retryable"] is False
    assert error["message"] == (
        "examples/weather#judge: main() needs 'city', 'limit', which the step's args do not give (given: a, town)"
    )


def test_a_missing_input_data_beside_others_is_an_ordinary_parameter() -> None:
    assert "'input_data'" in failure("def main(input_data, a): ...", {"a": 1})["message"]


def test_main_may_be_a_decorated_function_a_class_or_a_lambda() -> None:
    decorated = (
        "import functools\n"
        "def twice(f):\n"
        "    @functools.wraps(f)\n"
        "    def inner(*args, **named):\n"
        "        return [f(*args, **named)] * 2\n"
        "    return inner\n"
        "@twice\n"
        "def main(a):\n"
        "    return a\n"
    )
    assert value(decorated, {"a": 3, "b": 4}) == [3, 3]
    assert value("class main(dict):\n    def __init__(self, a): super().__init__(a=a)", {"a": 3}) == {"a": 3}
    assert value("main = lambda a: a + 1", {"a": 3}) == 4


def test_defaults_that_differ_from_run_to_run_are_taken_from_this_run() -> None:
    code = "import builtins\ndef main(a=len(context['results']['x'])):\n    return a\n"
    assert value(code, results={"x": [1]}) == 1
    assert value(code, results={"x": [1, 2]}) == 2


def test_imports_and_helpers_are_visible_in_main_and_main_sees_what_it_set() -> None:
    code = (
        "import math\n"
        "from dataclasses import dataclass, asdict\n"
        "count = 0\n"
        "@dataclass\n"
        "class Point:\n"
        "    x: 'float'\n"
        "def root(x):\n"
        "    return math.sqrt(x)\n"
        "def main(x):\n"
        "    global count\n"
        "    count += 1\n"
        "    return [asdict(Point(root(x))), count]\n"
    )
    assert value(code, {"x": 9}) == [{"x": 3.0}, 1]
    assert value(code, {"x": 9}) == [{"x": 3.0}, 1], "nothing is left of the first call"


def test_objects_of_the_steps_own_classes_can_be_pickled() -> None:
    code = (
        "import pickle\nclass Thing: pass\ndef main():\n    return type(pickle.loads(pickle.dumps(Thing()))).__name__\n"
    )
    assert value(code) == "Thing"


def test_a_main_guard_does_not_run() -> None:
    assert value("def main(): return 1\nif __name__ == '__main__':\n    raise SystemExit(3)") == 1


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("context.get('step', {}).get('data')", None),
        ("context.get('fetch', {}).get('data')", {"temperature": 3}),
        ("context.get('fetch', {}).get('result')", {"temperature": 3}),
        ("context['fetch']['data']['temperature']", 3),
        ("context['fetch']['temperature']", 3),
        ("context.get('fetch').get('nothing', 7)", 7),
        ("context.get('page', {}).get('data')", [1]),
        ("context.get('cities', {}).get('data')", ["Oslo"]),
        ("context.get('never', {}).get('data')", None),
        ("context['execution_id']", "12"),
        ("context['workload']['unit']", "C"),
        ("context['step']", {"name": "judge", "visit": 2}),
        ("context['page']", {"data": [1], "next": None}),
    ],
)
def test_the_global_context_reaches_results_and_this_run(expression: str, expected: Any) -> None:
    results = {"fetch": {"temperature": 3}, "page": {"data": [1], "next": None}, "cities": ["Oslo"]}
    given: dict[str, Any] = {
        "execution_id": "12",
        "step": "judge",
        "visit": 2,
        "workload": {"unit": "C"},
        "results": results,
    }
    assert value(f"def main():\n    return {expression}\n", **given) == expected


@pytest.mark.parametrize("parameters", ["context", "context, /", "*, context", "n, context", "context, **more"])
def test_a_parameter_named_context_is_the_global(parameters: str) -> None:
    """As older code has it."""
    code = f"def main({parameters}):\n    return context['cities']['data']\n"
    assert value(code, {"n": 1}, results={"cities": ["Oslo"]}) == ["Oslo"]


def test_an_argument_or_a_default_named_context_wins() -> None:
    code = "def main(context):\n    return context\n"
    assert value(code, {"context": 5}, results={}) == 5
    assert value(code.replace("context)", "context=7)"), {}, results={}) == 7


def test_a_step_named_step_is_found_in_the_context() -> None:
    code = "def main():\n    return context.get('step', {}).get('data')\n"
    assert value(code, step="judge", results={"step": 5}) == 5


def test_code_that_does_not_name_context_has_none() -> None:
    error = failure("def main():\n    return globals()['con' + 'text']\n", step="judge")
    assert error["message"] == "KeyError: 'context'"


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("float('nan')", "nan"),
        ("[1, float('inf')]", "result[1]"),
        ("'a\\x00b'", "NUL"),
        ("{'a': {'b': object()}}", "result.a.b"),
        ("'\\ud800'", "surrogate"),
        ("2 ** 70", "64 bits"),
        ("{1: 2}", "keys must be text"),
        ("(x for x in [1])", "generator"),
    ],
)
def test_a_value_that_is_not_plain_json_fails_the_step_by_its_path(expression: str, word: str) -> None:
    error = failure(f"def main():\n    return {expression}\n")
    assert error["type"] == "not_json"
    assert error["retryable"] is False
    assert word in error["message"]
    assert error["message"].startswith("examples/weather#judge: ")


def test_a_result_over_the_limit_fails_with_size_and_limit() -> None:
    error = failure("def main():\n    return 'x' * 2000\n", limit=1000)
    assert error["type"] == "too_large"
    assert error["retryable"] is False
    assert "2,002" in error["message"]
    assert "1,000" in error["message"]


def test_tuples_and_floats_survive() -> None:
    assert value("def main():\n    return {'a': (1, 2.5, None, True, 'ü')}\n") == {"a": [1, 2.5, None, True, "ü"]}
    assert math.isclose(value("def main():\n    return 0.1 + 0.2\n"), 0.1 + 0.2)


def test_a_traceback_begins_in_the_playbooks_code_with_its_line_and_text() -> None:
    error = failure("def helper(x):\n    return 1 / x\n\ndef main():\n    return helper(0)\n")
    assert error["type"] == "python"
    assert error["retryable"] is True
    assert error["message"] == "ZeroDivisionError: division by zero"
    assert error["detail"]["exception"] == "ZeroDivisionError"
    assert error["detail"]["line"] == 2
    lines = error["detail"]["traceback"].splitlines()
    assert lines[:3] == [
        "Traceback (most recent call last):",
        '  File "examples/weather#judge", line 5, in main',
        "    return helper(0)",
    ]
    assert '  File "examples/weather#judge", line 2, in helper' in lines
    assert "noetl/tools" not in error["detail"]["traceback"]


def test_the_line_is_the_playbooks_even_when_a_library_raised() -> None:
    error = failure("import json\ndef main():\n    return json.loads('{')\n")
    assert error["detail"]["line"] == 3
    assert "json/decoder.py" in error["detail"]["traceback"]


def test_the_cause_of_an_exception_is_told_without_our_frames() -> None:
    code = (
        "def main():\n    try:\n        {}['a']\n    except KeyError as e:\n        raise ValueError('no a') from e\n"
    )
    text = failure(code)["detail"]["traceback"]
    assert "KeyError: 'a'" in text
    assert "direct cause" in text
    assert "noetl/tools" not in text


def test_two_versions_of_a_step_show_their_own_lines() -> None:
    first, second = "def main():\n    raise ValueError(1)\n", "x = 1\ndef main():\n    raise KeyError(2)  # new\n"
    assert "raise ValueError(1)" in failure(first)["detail"]["traceback"]
    assert "# new" in failure(second)["detail"]["traceback"]
    assert "raise ValueError(1)" in failure(first)["detail"]["traceback"]


def test_an_exception_while_the_code_is_read_in_fails_the_step() -> None:
    error = failure("import no_such_module_anywhere\ndef main(): ...\n")
    assert error["type"] == "python"
    assert "no_such_module_anywhere" in error["message"]
    assert error["detail"]["line"] == 1


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("def main(:\n  pass", "line 1"),
        ("def main():\nreturn 1", "line 2"),
        ("x = 1", "no `main`"),
        ("main = 5", "`main` is a int"),
        ("def main(): ...\x00", "null bytes"),
        ("   ", "needs `code`"),
        (None, "needs `code`"),
        (12, "needs `code`"),
        ("main = min", "signature"),
    ],
)
def test_unusable_code_is_a_validation_error(code: Any, word: str) -> None:
    error = failure(code)
    assert error["type"] == "validation"
    assert error["retryable"] is False
    assert word in error["message"]


def test_a_syntax_error_tells_its_line() -> None:
    assert failure("x = 1\ny = = 2\n")["detail"]["line"] == 2


@pytest.mark.parametrize("call", ["sys.exit(0)", "sys.exit('enough')", "exit(3)", "quit()"])
def test_leaving_python_fails_the_step_and_leaves_the_process(call: str) -> None:
    if "sys" not in call:
        pytest.importorskip("site")
    error = failure(f"import sys\ndef main():\n    {call}\n")
    assert error["type"] == "python"
    assert error["message"].startswith("SystemExit: main() called sys.exit(")


def test_an_exception_whose_text_cannot_be_made_is_told_all_the_same() -> None:
    code = "class Bad(Exception):\n    def __str__(self): raise RuntimeError\ndef main():\n    raise Bad\n"
    assert failure(code)["message"] == "Bad: <its text cannot be made>"


def test_what_cannot_be_stored_is_taken_out_of_an_error() -> None:
    error = failure("def main():\n    raise ValueError('a\\x00b\\ud800' + 'x' * 100_000)\n")
    assert error["message"].startswith("ValueError: a\\x00b\\ud800xxx")
    assert len(error["message"]) < 20_000
    assert "characters left out" in error["message"]


def test_endless_recursion_fails_the_step() -> None:
    error = failure("def main():\n    return main()\n")
    assert error["detail"]["exception"] == "RecursionError"
    assert len(error["detail"]["traceback"]) < 20_000


def test_a_keyboard_interrupt_of_the_code_is_the_steps_failure() -> None:
    assert failure("def main():\n    raise KeyboardInterrupt\n")["message"] == "KeyboardInterrupt"


def test_the_steps_module_is_not_main() -> None:
    assert value("def main():\n    return __name__\n") == "noetl_step"
    assert sys.modules["__main__"].__name__ == "__main__"


def test_storable_keeps_the_ends_of_a_long_text() -> None:
    text = storable("a" * 50 + "b" * 50, limit=20)
    assert text.startswith("a" * 10 + "\n")
    assert text.endswith("\n" + "b" * 10)
    assert "80 characters left out" in text
    assert storable("short") == "short"

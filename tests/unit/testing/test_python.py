"""Code of playbooks under test runs in a child process: whatever it does, the tests go on."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from noetl.calls import Call
from noetl.outcomes import Done, Failed
from noetl.testing.python import Overran, PythonChild
from tests.support.trials import Trials, result_of
from tests.support.waiting import wait_for


@pytest.fixture
def python() -> Iterator[PythonChild]:
    with PythonChild({"GREETING": "hello"}) as child:
        yield child


def call(code: str, **args: object) -> Call:
    return Call("python", "k", "test/book#step", {"code": code}, args, None, 1 << 20, {"step": "step"})


def run(python: PythonChild, code: str, limit: float = 30.0, **args: object) -> tuple[Done | Failed, str]:
    return python.run(call(code, **args), limit)


def error_of(what: Done | Failed) -> dict[str, object]:
    assert isinstance(what, Failed)
    return what.error


def test_calls_share_one_process_and_nothing_else_of_ours(python: PythonChild) -> None:
    code = "import os\ndef main(n): return [n, os.getpid(), dict(os.environ).get('GREETING'), len(os.environ)]"
    answers = [run(python, code, n=n)[0] for n in range(2)]
    assert isinstance(answers[0], Done)
    assert isinstance(answers[1], Done)
    first, second = (bytes(answer.result).decode() for answer in answers if isinstance(answer, Done))
    assert first.startswith("[0,")
    assert second == first.replace("[0,", "[1,", 1)
    assert str(os.getpid()) not in first
    assert '"hello"' in first


def test_what_is_printed_comes_with_the_answer_of_its_call(python: PythonChild) -> None:
    code = "import os\ndef main(text):\n  print(text)\n  os.system(f'echo from a shell {text}')"
    assert run(python, code, text="one")[1] == "one\nfrom a shell one\n"
    assert run(python, code, text="two")[1] == "two\nfrom a shell two\n"
    assert run(python, "def main(): pass")[1] == ""


def test_of_a_flood_of_prints_the_end_is_kept(python: PythonChild) -> None:
    what, output = run(python, "def main():\n  for n in range(100000): print(n)\n  return 1")
    assert what == Done(b"1")
    assert len(output) == 64 * 1024
    assert output.endswith("99999\n")


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os\ndef main(): os._exit(0)", "ended with exit code 0"),
        ("import os\ndef main(): os._exit(3)", "ended with exit code 3"),
        ("import os, signal\ndef main(): os.kill(os.getpid(), signal.SIGKILL)", "was ended by signal 9"),
    ],
)
def test_code_that_ends_its_process_fails_its_step_only(python: PythonChild, code: str, how: str) -> None:
    error = error_of(run(python, code)[0])
    assert error["type"] == "runner_exited"
    assert error["message"] == f"test/book#step: the process that ran the step {how}"
    assert run(python, "def main(): return 1")[0] == Done(b"1")


def test_code_that_overruns_is_killed_with_all_it_started(python: PythonChild, tmp_path: Path) -> None:
    told = tmp_path / "pid"
    code = "import subprocess\ndef main():\n  other = subprocess.Popen(['sleep', '600'])\n"
    code += f"  open({str(told)!r}, 'w').write(str(other.pid))\n"
    run(python, "def main(): pass")  # the child's own start is not counted
    with pytest.raises(Overran):
        run(python, code + "  while True: pass", limit=1.0)
    pid = int(told.read_text())
    wait_for(lambda: not _lives(pid))
    assert run(python, "def main(): return 1")[0] == Done(b"1")


def _lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_large_answer_comes_whole(python: PythonChild) -> None:
    what, _ = run(python, "def main(n): return 'x' * n", n=1_000_000)
    assert isinstance(what, Done)
    assert len(what.result) == 1_000_002


def test_the_child_ends_with_its_parent_however_busy_it_is(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    code = f"import os\ndef main():\n  open({str(told)!r}, 'w').write(str(os.getpid()))\n  while True: pass"
    parent = (
        "import sys; from noetl.testing.python import PythonChild; from noetl.calls import Call\n"
        f"PythonChild({{}}).run(Call('python', 'k', 'w', {{'code': {code!r}}}, {{}}, None, 100, {{}}), 600)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    try:
        wait_for(lambda: told.exists() and told.read_text() != "")
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: not _lives(int(told.read_text())))


def test_a_step_that_runs_longer_than_its_own_timeout_fails_as_it_would(python: PythonChild) -> None:
    body = """
    - {step: start, type: python, timeout: 300ms, code: "def main():\\n  while True: pass", on_error: end}
    - {step: end, result: "{{ error.type }}"}
    """
    run(python, "def main(): pass")
    assert result_of(Trials(python).passes(body, "merge: false")) == "timeout"


def test_code_without_a_timeout_that_does_not_end_fails_the_test(
    python: PythonChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noetl.testing.attempts.REAL_LIMIT_SECONDS", 0.3)
    run(python, "def main(): pass")
    body = '- {step: start, type: python, code: "def main():\\n  while True: pass"}'
    why = Trials(python).fails(body, "merge: false")
    assert why.startswith("the code of step 'start' really ran for 0.3 s and was ended\nstubs:\n  start:")


def test_a_hundred_tests_of_ten_steps(python: PythonChild, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them run python for real; how long they take is printed."""
    code = "'def main(n): return {\"n\": n + 1}'"
    steps = "".join(
        f"- {{step: s{n}, type: python, args: {{n: '{{{{ s{n - 1}.n }}}}'}}, code: {code}, next: s{n + 1}}}\n"
        for n in range(1, 10)
    )
    body = "- {step: s0, type: http, endpoint: x, next: s1}\n" + steps + "- {step: s10, next: end}\n"
    body += '- {step: end, result: "{{ s9.n }}"}\n'
    tests = "".join(
        f"- {{name: t{n}, stubs: {{s0: {{result: {{n: {n}}}}}}}, expect: {{result: {n + 9}, calls: {{s9: 1}}}}}}\n"
        for n in range(100)
    )
    began = time.perf_counter()
    tested = Trials(python).each(body, tests)
    seconds = time.perf_counter() - began
    assert [each.ok for each in tested] == [True] * 100
    with capsys.disabled():
        print(f"\na hundred tests of ten steps: {seconds:.2f} s, {sum(each.seconds for each in tested):.2f} s running")

"""The python tool: a playbook's `code` with `def main(...)`.

Everything happens in one fresh module per call, so that imports and helpers are visible in `main`; only the compiled
code is kept. Imported by every runner child, hence light.
"""

import contextlib
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType, TracebackType
from typing import Any, Final, cast

from noetl.calls import Call
from noetl.errors import TooLarge, ValueNotJson
from noetl.outcomes import Done, Failed, error_value
from noetl.playbook.values import plain
from noetl.rules.text import storable
from noetl.tools.base import Tool, failed_at
from noetl.tools.python_values import without_objects

MODULE_NAME: Final = "noetl_step"
"""The name of the module of a step's code. Not `__main__`: `if __name__ == "__main__":` must not run."""

MAX_FRAMES_PER_END: Final = 20
"""Frames of a traceback that are kept at either end: endless recursion under little memory has millions."""

_MAX_COMPILED: Final = 512


@dataclass(frozen=True, slots=True)
class _Parameters:
    """The parameters of `main`. `whole`: the only one is `input_data`, which is the whole mapping of arguments unless
    one of them has that name; `everything`: it has `**kwargs`."""

    positional: tuple[str, ...]
    named: tuple[str, ...]
    required: frozenset[str]
    everything: bool
    whole: bool


@dataclass(slots=True)
class _Compiled:
    code: CodeType
    source: tuple[int, None, list[str], str]  # linecache's entry: without a time it is never thrown out
    wants_context: bool
    main: CodeType | None = None
    parameters: _Parameters | None = None


_compiled: dict[tuple[str, str], _Compiled] = {}


class _StepResult(dict[str, Any]):
    """A step's result in `context`: `.get('data')` and `.get('result')` reach the result itself, a real key wins."""

    def __missing__(self, key: str) -> Any:
        if key in ("data", "result"):
            return dict(self)
        raise KeyError(key)

    def get(self, key: str, default: object = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default


def run(call: Call) -> Done | Failed:
    """Call `main` with the arguments its signature names and return what it returned, as JSON.

    Errors: `validation` (no code, wrong syntax, no `main`, missing arguments), `python` (it raised; `detail` has
    exception, line and traceback), `not_json`, `too_large`. Only `python` is retryable.
    """
    code = call.fields.get("code")
    if not isinstance(code, str) or not code.strip():
        return _invalid(f"{call.where}: a python step needs `code`, a text with `def main(...)`")
    try:
        compiled = _compile(call.where, code)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as failure:
        return _invalid(f"{call.where}: code is not Python: {failure}", _detail(call.where, failure))
    try:
        value = _execute(compiled, call)
    except _Unusable as failure:
        return _invalid(str(failure))
    except BaseException as failure:  # noqa: BLE001  somebody's code: whatever it raises is the step's failure
        return Failed(_raised(call.where, failure))
    try:
        return Done(_written(value, call.limit))
    except ValueNotJson as failure:
        return failed_at(call.where, "not_json", f"main() returned what is not JSON: {failure}")
    except TooLarge as failure:
        return failed_at(call.where, "too_large", failure)
    except BaseException as failure:  # noqa: BLE001  no memory is left, or a class of somebody's code does not play
        return Failed(_raised(call.where, failure))


def compile_ahead(call: Call) -> None:
    """Compile a call's code, so that forks of this process need not. `run` reports mistakes in it."""
    code = call.fields.get("code")
    if isinstance(code, str):
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            _compile(call.where, code)


def _written(value: object, limit: int) -> bytes:
    """Return a value as JSON; types that JSON lacks are written as the postgres tool writes them."""
    try:
        return plain(value, limit)
    except ValueNotJson:
        return plain(without_objects(value), limit)


class _Unusable(Exception):
    """`main` is missing, or cannot be called with these arguments."""


def _execute(compiled: _Compiled, call: Call) -> Any:
    module = ModuleType(MODULE_NAME)
    sys.modules[MODULE_NAME] = module  # pickle and dataclasses look a class's module up
    namespace = module.__dict__
    if compiled.wants_context:
        namespace["context"] = _context(call.context)
    linecache.cache[call.where] = compiled.source
    exec(compiled.code, namespace)  # noqa: S102  running the playbook's code is what this tool is for
    main = namespace.get("main")
    if main is None:
        raise _Unusable(f"{call.where}: code defines no `main`: add `def main(...)`")
    if not callable(main):
        raise _Unusable(f"{call.where}: `main` is a {type(main).__name__}, not a function")
    positional, named = _bind(_parameters(compiled, main), call)
    value = main(*positional, **named)
    return _awaited(value) if inspect.iscoroutine(value) else value


def _awaited(value: Coroutine[Any, Any, Any]) -> Any:
    import asyncio

    return asyncio.run(value)


def _compile(where: str, code: str) -> _Compiled:
    compiled = _compiled.get((where, code))
    if compiled is None:
        if len(_compiled) >= _MAX_COMPILED:
            del _compiled[next(iter(_compiled))]
        lines = code.splitlines(keepends=True)
        compiled = _Compiled(
            code=compile(code, where, "exec", dont_inherit=True),
            source=(len(code), None, lines, where),
            wants_context="context" in code,
        )
        _compiled[where, code] = compiled
    return compiled


def _parameters(compiled: _Compiled, main: Callable[..., Any]) -> _Parameters:
    """Return the parameters of `main`; for a plain function they are read once, from its code."""
    code = main.__code__ if type(main) is FunctionType and not main.__dict__ else None
    if code is not None and code is compiled.main and compiled.parameters is not None:
        return compiled.parameters
    parameters = _of_signature(main) if code is None else _of_function(cast(FunctionType, main))
    compiled.main, compiled.parameters = code, parameters
    return parameters


def _of_function(main: FunctionType) -> _Parameters:
    """Return the parameters of a plain function from its code, at a fraction of the cost of `inspect` in a fork."""
    code = main.__code__
    only, count = code.co_posonlyargcount, code.co_argcount
    names = code.co_varnames[: count + code.co_kwonlyargcount]
    optional = {*names[count - len(main.__defaults__ or ()) : count], *(main.__kwdefaults__ or ())}
    everything = bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return _Parameters(
        positional=names[:only],
        named=names[only:],
        required=frozenset(names) - optional,
        everything=everything,
        whole=names == ("input_data",) and not everything,
    )


def _of_signature(main: Callable[..., Any]) -> _Parameters:
    """Return the parameters of any other callable."""
    try:
        signature = inspect.signature(main)
    except (TypeError, ValueError):
        raise _Unusable(f"the signature of `main` ({type(main).__name__}) cannot be read") from None
    each = [p for p in signature.parameters.values() if p.kind is not p.VAR_POSITIONAL]
    everything = any(p.kind is p.VAR_KEYWORD for p in each)
    each = [p for p in each if p.kind is not p.VAR_KEYWORD]
    return _Parameters(
        positional=tuple(p.name for p in each if p.kind is p.POSITIONAL_ONLY),
        named=tuple(p.name for p in each if p.kind is not p.POSITIONAL_ONLY),
        required=frozenset(p.name for p in each if p.default is p.empty),
        everything=everything,
        whole=len(each) == 1 and each[0].name == "input_data" and not everything,
    )


def _bind(parameters: _Parameters, call: Call) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and named arguments for `main`: extra names are dropped, missing ones are an error."""
    args = call.args
    if "context" in parameters.required and "context" not in args:
        args = {**args, "context": _context(call.context)}
    if parameters.whole:
        whole = args["input_data"] if "input_data" in args else dict(args)
        return ([whole], {}) if parameters.positional else ([], {"input_data": whole})
    missing = [name for name in (*parameters.positional, *parameters.named)
               if name in parameters.required and name not in args]  # fmt: skip
    if missing:
        args_given = ", ".join(sorted(args)) or "none"
        raise _Unusable(
            f"{call.where}: main() needs {', '.join(map(repr, missing))}, which the step's args do not give"
            f" (given: {args_given})"
        )
    positional = []
    for name in parameters.positional:
        if name not in args:
            break
        positional.append(args[name])
    if parameters.everything:
        return positional, {name: args[name] for name in args if name not in parameters.positional}
    return positional, {name: args[name] for name in parameters.named if name in args}


def _context(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the global `context`: step results by name, and the facts of this run.

    `context['step']` is a mapping too (name, visit ...), unless a step has that name: for any step
    `context.get(step, {}).get('data')` works.
    """
    run_of = {name: known[name] for name in ("visit", "item_index", "attempt") if name in known}
    context: dict[str, Any] = {"step": {"name": known.get("step"), **run_of}}
    context.update({name: value for name, value in known.items() if name not in ("step", *run_of)})
    for name, value in (known.get("results") or {}).items():
        context[name] = _StepResult(value) if isinstance(value, Mapping) else {"data": value, "result": value}
    return context


def _invalid(message: str, detail: object = None) -> Failed:
    return Failed(error_value("validation", storable(message), detail=detail))


def _raised(where: str, failure: BaseException) -> dict[str, Any]:
    try:
        return _described(where, failure)
    except (MemoryError, RecursionError) as other:  # nothing is left to describe it with
        name = type(failure).__name__
        return error_value("python", f"{name}, and a {type(other).__name__} while it was described", retryable=True)


def _described(where: str, failure: BaseException) -> dict[str, Any]:
    name = type(failure).__name__
    if isinstance(failure, SystemExit):
        message = f"{name}: main() called sys.exit({failure.code!r}); return a value, or raise an error"
    else:
        text = _text_of(failure)
        message = f"{name}: {text}" if text else name
    return error_value("python", storable(message), retryable=True, detail=_detail(where, failure))


def _text_of(failure: BaseException) -> str:
    try:
        return str(failure)
    except BaseException:  # noqa: BLE001  somebody's __str__
        return "<its text cannot be made>"


def _detail(where: str, failure: BaseException) -> dict[str, Any]:
    """Return exception, line and the traceback from the first frame in the playbook's code on."""
    _shorten(failure)
    described = traceback.TracebackException.from_exception(failure, compact=True)
    _trim(described, where)
    own_lines = [frame.lineno for frame in described.stack if frame.filename == where]
    line = failure.lineno if isinstance(failure, SyntaxError) and failure.filename == where else None
    return {
        "exception": type(failure).__name__,
        "line": line if line is not None else (own_lines[-1] if own_lines else None),
        "traceback": storable("".join(described.format())),
    }


def _shorten(failure: BaseException) -> None:
    """Cut the middle out of long tracebacks of an exception and of its causes."""
    seen: set[int] = set()
    chain: list[BaseException | None] = [failure]
    while chain:
        each = chain.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        chain += (each.__cause__, each.__context__)
        count, frame = 0, each.__traceback__
        while frame is not None:
            count, frame = count + 1, frame.tb_next
        if count > 2 * MAX_FRAMES_PER_END:
            head = _after(each.__traceback__, MAX_FRAMES_PER_END - 1)
            head.tb_next = _after(head, count - 2 * MAX_FRAMES_PER_END + 1)
            each.add_note(f"({count - 2 * MAX_FRAMES_PER_END:,} frames in the middle of the traceback are left out)")


def _after(frame: TracebackType | None, steps: int) -> TracebackType:
    for _ in range(steps):
        assert frame is not None
        frame = frame.tb_next
    assert frame is not None
    return frame


def _trim(described: traceback.TracebackException, where: str) -> None:
    """Drop the tool's own frames from the head of a traceback, and of its causes."""
    frames = list(described.stack)
    while frames and frames[0].filename != where:
        frames.pop(0)
    described.stack = traceback.StackSummary.from_list(frames)
    for other in (described.__cause__, described.__context__):
        if other is not None:
            _trim(other, where)


TOOL: Final = Tool("python", run, default_timeout=3600.0)

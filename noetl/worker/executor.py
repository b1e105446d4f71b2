"""The executor: the slots where a worker's calls run. One thread owns it, submits, and waits for reports.

    submit --> pending --> a runner (somebody's code) --> report
                      \\--> a thread (waiting I/O)   --/

How much may be held: `count` calls, one per slot, as long as runs take their time. While runs are short (their
moving average under 2 ms), up to eight times as many, so that the next calls lie ready when these end. Should they
turn out slow after all, what has not begun half a second later and is beyond `count` is given back as surplus.

What has to be done before a call (its `first`) is done in a thread; then the call is pending like any other. It may
also be all there is to do (`Computed`): so the engine has long computations made beside the worker loop.

Pending calls start in order, except that a call known to be fast may pass a slow one that waits for a free runner,
for as long as that has waited less than 50 ms.
"""

import contextlib
import math
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from noetl.calls import Call
from noetl.outcomes import Done, Failed, error_value
from noetl.playbook.step_types import STEP_TYPES
from noetl.rules.text import storable
from noetl.tools.base import Tool
from noetl.tools.masking import mask_of
from noetl.tools.registry import TOOLS
from noetl.worker.answers import Answer, Computed, First, NotBegun, Report
from noetl.worker.executor_threads import Threads, ThreadTask
from noetl.worker.runner.pool import RunnerPool
from noetl.worker.runner.process import SentCall, runner_environment

FAST_SECONDS: Final = 0.002
"""Seconds under which a run is fast."""

FAST_CALLS_PER_SLOT: Final = 8
"""How many calls per slot are held while runs are short."""

GROWTH_SECONDS: Final = 0.01
"""Seconds a call waits for a runner to come free before another one is started, which takes five times as long. What
is new to this worker and fast is known to be fast by then."""

SURPLUS_SECONDS: Final = 0.5
"""Seconds after which calls beyond `count` that have not begun are given back."""

THREAD_GRACE_SECONDS: Final = 1.0
"""Seconds that a tool in a thread, which keeps its time itself and can tell more, has beyond its timeout."""

FIRST_TIMEOUT_SECONDS: Final = 60.0
"""Seconds that what is done before a call may take, where the call has no timeout of its own."""

_PASSING_SECONDS: Final = 0.05
_MAX_KNOWN_STEPS: Final = 10_000
_PACE_WEIGHT: Final = 0.05
_MAX_PACE_SECONDS: Final = 0.1
_MAX_STEP_SECONDS: Final = 2 * FAST_SECONDS
"""What a run counts for at most: one that was held up by a busy machine does not make its step a slow one, three
in a row do."""


@dataclass(slots=True)
class _PendingCall:
    token: int
    call: Call
    task: ThreadTask | None  # None: for a runner
    timeout: float | None
    since: float


@dataclass(frozen=True, slots=True)
class _ThreadCall:
    number: int
    task: ThreadTask
    call: Call
    started: float
    timeout: float | None


class Executor:
    """Runs calls in `count` slots. All methods but `wake` belong to one thread, which must live as long as it does."""

    def __init__(
        self,
        count: int,
        *,
        tools: Mapping[str, Tool] = TOOLS,
        environment: Mapping[str, str] | None = None,
        warm: bool = True,
    ) -> None:
        """Make `count` slots. The runners' few variables are taken from `environment` (default: this process's).

        Raises `SettingsError` where NOETL_RUNNER_ENV lists what it must not.
        """
        variables = runner_environment(os.environ if environment is None else environment)
        self.count = count
        self._tools = tools
        self._warm = warm
        self._pending: deque[_PendingCall] = deque()
        self._held: set[int] = set()
        self._in_threads: dict[int, _ThreadCall] = {}  # by token
        self._number = 0  # of calls in threads: a token may come again while its killed thread lives on
        self._reports: list[Report] = []
        self._seconds: dict[str, float] = {}  # by step: how long its last runs took
        self._pace: float | None = None
        self._threads_check_at = math.inf
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()  # not a pipe: once closed, it is nobody else's number
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._runners = RunnerPool(count, variables, self._selector, self)
        self._threads = Threads(self.wake)

    @property
    def free(self) -> int:
        """The number of calls that may be submitted now."""
        if self._runners.availability.obstacle:
            return 0  # another worker may be able
        fast = self._pace is not None and self._pace < FAST_SECONDS
        return max(0, (self.count * FAST_CALLS_PER_SLOT if fast else self.count) - len(self._held))

    @property
    def running(self) -> int:
        """The number of submitted calls that have no report yet."""
        return len(self._held)

    @property
    def runner_pids(self) -> list[int]:
        """Process ids of the runners."""
        return self._runners.pids

    def submit(
        self, token: int, call: Call, first: First | None = None, give_up: Callable[[Call], None] | None = None
    ) -> None:
        """Take a call. It starts with the next `poll`. `token` names it in reports and must not be held already.
        `give_up` tells `first` that nobody waits for it any more."""
        if token in self._held:
            raise ValueError(f"token {token} is held already")
        self._held.add(token)
        task: ThreadTask | None
        timeout: float | None
        tool = self._tools.get(call.type)
        if first is not None:
            task, timeout = ThreadTask(call.type, first, give_up), FIRST_TIMEOUT_SECONDS
        elif tool is not None:
            task, timeout = _task_of(tool, call), tool.default_timeout
        else:
            known = ", ".join(sorted(self._tools))
            self._report(token, Failed(error_value("validation", f"{call.where}: no tool {call.type!r} ({known})")))
            return
        if call.timeout is not None:
            timeout = None if call.timeout == math.inf else call.timeout
        self._pending.append(_PendingCall(token, call, task, timeout, time.monotonic()))

    def kill(self, token: int) -> None:
        """Stop a call: running, it fails as `cancelled`, else it is `NotBegun`. The next `poll` reports it.

        A token that is not held any more is ignored.
        """
        if token not in self._held:
            return
        for waiting in self._pending:
            if waiting.token == token:
                self._pending.remove(waiting)
                self._report(token, NotBegun())
                return
        in_thread = self._in_threads.pop(token, None)
        if in_thread is None:
            self._runners.kill(token)
            return
        self._threads.cancel(in_thread.task, in_thread.call)
        text = f"{in_thread.call.where}: cancelled while it ran"
        self._report(token, Failed(error_value("cancelled", text)), time.monotonic() - in_thread.started)

    def recall(self) -> None:
        """Take back every call that was not begun. The next polls report them, all within a few milliseconds."""
        while self._pending:
            self._report(self._pending.popleft().token, NotBegun())
        self._runners.recall()

    def poll(self, timeout: float) -> list[Report]:
        """Start the calls that can start, wait at most `timeout` seconds until one has ended, and report it.

        The one place where the owner blocks. Returns early, with or without reports, after `wake`.
        """
        if self._warm:
            self._warm = False
            self._runners.warm()
        now = time.monotonic()
        self._dispatch(now)
        check_at = min(self._runners.check_at, self._threads_check_at)
        wait = 0.0 if self._reports else max(0.0, min(timeout, check_at - now))
        events = [key.data for key, _ in self._selector.select(wait)]
        if len(events) > 1:
            events.sort(key=_rank)
        for event in events:
            if event is None:
                self._take_wake()
            else:
                self._runners.act(event[1], event[2])
        now = time.monotonic()
        if now >= self._runners.check_at:
            self._runners.check(now)
        if now >= self._threads_check_at:
            self._check(now)
        self._dispatch(now)
        reports, self._reports = self._reports, []
        return reports

    def wake(self) -> None:
        """Make `poll` return. May be called from any thread, and from a signal handler."""
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: nobody waits
            self._waker.send(b"\0")

    def close(self) -> None:
        """Kill what runs. Nothing is reported any more."""
        self._runners.close()
        self._threads.close()
        self._selector.close()
        self._waker.close()
        self._woken.close()

    # ---- starting ------------------------------------------------------------------------------------------------

    def _dispatch(self, now: float) -> None:
        pending = self._pending
        if not pending:
            return
        passed: list[_PendingCall] = []
        while pending:
            waiting = pending.popleft()
            if self._begin(waiting, now):
                continue
            passed.append(waiting)
            if now - waiting.since > _PASSING_SECONDS or len(passed) >= FAST_CALLS_PER_SLOT:
                break
        pending.extendleft(reversed(passed))
        self._runners.flush()
        if pending:
            ripe = pending[0].since + GROWTH_SECONDS
            self._threads_check_at = min(self._threads_check_at, ripe if ripe > now else now + SURPLUS_SECONDS)

    def _begin(self, waiting: _PendingCall, now: float) -> bool:
        token, call, task = waiting.token, waiting.call, waiting.task
        if task is not None:
            if len(self._in_threads) >= self.count:
                return False
            self._number += 1
            self._in_threads[token] = _ThreadCall(self._number, task, call, now, waiting.timeout)
            if waiting.timeout is not None:
                self._threads_check_at = min(self._threads_check_at, now + waiting.timeout + THREAD_GRACE_SECONDS)
            self._threads.start((token, self._number), task, call)
            return True
        fast = self._seconds.get(call.where, 1.0) < FAST_SECONDS
        try:
            return self._runners.offer(
                token, call, waiting.timeout, fast=fast, grow=now >= waiting.since + GROWTH_SECONDS
            )
        except TypeError as failure:
            text = f"{call.where}: an argument is not plain JSON: {failure}"
            self._report(token, Failed(error_value("validation", storable(text))))
        return True

    # ---- answers -------------------------------------------------------------------------------------------------

    def finished(self, token: int, call: Call, answer: Done | Failed, seconds: float) -> None:
        """Take the answer to a call from the runners."""
        before = self._seconds.get(call.where)
        if before is None and len(self._seconds) >= _MAX_KNOWN_STEPS:
            del self._seconds[next(iter(self._seconds))]
        counted = min(seconds, _MAX_STEP_SECONDS)
        self._seconds[call.where] = counted if before is None else (3 * before + counted) / 4
        clipped = min(seconds, _MAX_PACE_SECONDS)
        self._pace = clipped if self._pace is None else self._pace + (clipped - self._pace) * _PACE_WEIGHT
        self._report(token, mask_of(call.secrets).answer(answer) if call.secrets else answer, seconds)

    def not_begun(self, token: int) -> None:
        """Report a call that the runners have not begun."""
        self._report(token, NotBegun())

    def again(self, sent: SentCall) -> None:
        """Put a call back among the pending ones that did not run where it was sent."""
        self._pending.appendleft(_PendingCall(sent.token, sent.call, None, sent.timeout, time.monotonic()))

    def _report(self, token: int, answer: Answer, seconds: float = 0.0) -> None:
        self._held.discard(token)
        self._reports.append(Report(token, answer, seconds))

    def _take_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        for (token, number), answer, seconds in self._threads.answers():
            in_thread = self._in_threads.get(token)
            if in_thread is not None and in_thread.number == number:  # else it was given up
                del self._in_threads[token]
                if isinstance(answer, Call):
                    self._held.discard(token)
                    self.submit(token, answer)
                elif isinstance(answer, NotBegun | Computed):
                    self._report(token, answer, seconds)
                else:
                    self.finished(token, in_thread.call, answer, seconds)

    def _check(self, now: float) -> None:
        """Give up threads that overran, and give back calls that wait too long."""
        self._threads_check_at = math.inf
        for token, in_thread in list(self._in_threads.items()):
            if in_thread.timeout is None:
                continue
            due = in_thread.started + in_thread.timeout + THREAD_GRACE_SECONDS
            if now < due:
                self._threads_check_at = min(self._threads_check_at, due)
                continue
            del self._in_threads[token]
            self._threads.cancel(in_thread.task, in_thread.call)
            text = f"{in_thread.call.where}: no answer within its timeout of {in_thread.timeout:g} s"
            failed = Failed(error_value("timeout", text, retryable=True))
            self.finished(token, in_thread.call, failed, now - in_thread.started)
        crowded = len(self._held) > self.count
        while (
            (crowded or self._runners.availability.obstacle)
            and self._pending
            and now - self._pending[-1].since > SURPLUS_SECONDS
        ):
            self._report(self._pending.pop().token, NotBegun(surplus=True))
            crowded = len(self._held) > self.count
        if self._pending:
            self._threads_check_at = min(self._threads_check_at, now + SURPLUS_SECONDS)


def _task_of(tool: Tool, call: Call) -> ThreadTask | None:
    """Return the task of a thread for a call; None for one that runs in a runner."""
    place = STEP_TYPES[tool.type].place if tool.place_of is None else tool.place_of(call)
    return ThreadTask(tool.type, tool.run, tool.cancel) if place == "thread" else None


def _rank(event: tuple[int, object, object] | None) -> int:
    return event[0] if event is not None else 0

"""The runners of a worker: who gets the next call, who overran, who died.

Slow calls have a runner each. Calls of steps known to be fast stand in line, up to sixteen before one runner, and
before as many runners as there are processors: more would not make them faster.
"""

import logging
import os
import selectors
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

from noetl.calls import Call
from noetl.outcomes import Done, ErrorValue, Failed, error_value
from noetl.rules.text import storable
from noetl.worker.runner.availability import Availability
from noetl.worker.runner.process import Runner, SentCall
from noetl.worker.runner.wire import encode_call, process_ended

log = logging.getLogger("noetl.worker")

MAX_CALLS_IN_LINE: Final = 16
"""How many fast calls may stand in line before one runner: what ends while a commit is under way shares the next."""

STUCK_SECONDS: Final = 0.02
"""Seconds after which calls behind a fast one that turned out slow are taken back."""

END_TIMEOUT_SECONDS: Final = 2.0
"""Seconds that a runner has to end what it runs, before it is killed itself."""

START_TIMEOUT_SECONDS: Final = 60.0
MAX_IDLE_SECONDS: Final = 60.0
_RECALL_SETTLED_SECONDS: Final = 0.001  # seconds after a recall when both sides have certainly seen each other's number


class CallListener(Protocol):
    """The listener that is told the end of each call."""

    def finished(self, token: int, call: Call, answer: Done | Failed, seconds: float) -> None:
        """Take the answer to a call that ran."""

    def not_begun(self, token: int) -> None:
        """Take back a call that did not run: its runner is gone, or it was recalled."""

    def again(self, sent: SentCall) -> None:
        """Take back a call that did not run and shall go to another runner."""


class RunnerPool:
    """Up to `count` runners, started on demand and kept warm."""

    def __init__(
        self,
        count: int,
        environment: Mapping[str, str],
        selector: selectors.BaseSelector,
        listener: CallListener,
    ) -> None:
        self._count = count
        self._cores = max(1, min(count, os.cpu_count() or 1))
        self._environment = environment
        self._selector = selector
        self._listener = listener
        self._runners: list[Runner] = []
        self._ending: dict[Runner, float] = {}  # until when each may end by itself
        self._outgoing: dict[Runner, list[bytes]] = {}
        self._number = 0
        self._recalling: set[Runner] = set()
        self.availability = Availability()
        self.check_at = float("inf")  # when `check` wants to be called next

    @property
    def pids(self) -> list[int]:
        return [runner.pid for runner in self._runners]

    # ---- calls ---------------------------------------------------------------------------------------------------

    def warm(self) -> None:
        """Start one runner if there is none."""
        if not self._runners:
            self._start()

    def offer(self, token: int, call: Call, timeout: float | None, *, fast: bool, grow: bool) -> bool:
        """Give a call to a runner. Returns False where none can take it now. `flush` sends it. `grow`: it may have one
        started, which the first call may anyway.

        Raises TypeError where the call is not plain JSON.
        """
        runner = None if self.availability.obstacle else self._choose(fast, grow)
        if runner is None:
            return False
        self._number += 1
        frame = encode_call(self._number, call)
        now = time.monotonic()
        if not runner.line:
            runner.since = now
            runner.fast = fast
        runner.line.append(SentCall(self._number, token, call, timeout))
        self._outgoing.setdefault(runner, []).append(frame)
        wait = timeout if timeout is not None else START_TIMEOUT_SECONDS
        self.check_at = min(self.check_at, now + (wait if len(runner.line) == 1 else min(wait, STUCK_SECONDS)))
        return True

    def flush(self) -> None:
        """Write the calls offered since, one write per runner."""
        outgoing, self._outgoing = self._outgoing, {}
        for runner, frames in outgoing.items():
            self.act(partial(self._send, frames=frames), runner)

    def act(self, step: Callable[[Runner], None], runner: Runner) -> None:
        """Take one step with a runner. Whatever that raises costs this runner and its calls, and nobody else."""
        try:
            step(runner)
        except Exception as failure:
            log.exception("runner %d is given up", runner.pid)
            runner.broken = True
            if not runner.closed:
                text = f"the worker broke over its runner: {type(failure).__name__}: {failure}"
                self._end(runner, error_value("internal", storable(text), retryable=True))

    def _send(self, runner: Runner, frames: list[bytes]) -> None:
        if not runner.send(frames) and runner.calls not in self._selector.get_map():  # it may be full already
            self._watch(runner.calls, runner, self._writable, selectors.EVENT_WRITE)

    def kill(self, token: int) -> None:
        """Stop a call: at once if it runs, else as soon as it is certain that it does not."""
        for runner in self._runners:
            for sent in runner.line:
                if sent.token == token:
                    sent.doomed = True
                    if sent.number <= runner.begun:
                        self._end(runner, sent.cancelled())
                    else:
                        self._recall(runner, time.monotonic())
                    return

    def recall(self) -> None:
        """Take back every call that was not begun."""
        now = time.monotonic()
        for runner in self._runners:
            waiting = [sent for sent in runner.line if sent.number > runner.begun]
            for sent in waiting:
                sent.wanted_back = True
            if waiting:
                self._recall(runner, now)

    def _choose(self, fast: bool, grow: bool) -> Runner | None:
        if fast:
            best: Runner | None = None
            for runner in self._runners[: self._cores]:
                held = len(runner.line)
                if (
                    held < MAX_CALLS_IN_LINE
                    and (runner.fast or not held)
                    and not runner.fork_error
                    and (best is None or held < len(best.line))
                ):
                    best = runner
            if best is not None:
                return best
        for runner in reversed(self._runners):
            if not runner.line and not runner.fork_error:
                return runner
        if self._runners and not grow:
            return None
        limit = self._cores if fast else self._count
        starting = sum(1 for runner in self._runners if not runner.ready)
        if len(self._runners) < limit and starting < self._cores:
            return self._start()
        return None

    def _start(self) -> Runner | None:
        """Start a runner. None: it cannot be now."""
        now = time.monotonic()
        if now < self.availability.start_at:
            return None
        try:
            runner = Runner(self._environment)
        except OSError as failure:
            self._lack(partial(self.availability.process_failed, f"no runner process can be started: {failure}"), now)
            return None
        self._runners.append(runner)
        self._watch(runner.answers, runner, self._readable, selectors.EVENT_READ)
        self._watch(runner.output, runner, self._printed, selectors.EVENT_READ)
        if runner.pidfd is not None:
            self._watch(runner.pidfd, runner, self._died, selectors.EVENT_READ)
        return runner

    def _lack(self, note: Callable[..., None], now: float) -> None:
        """Have it noted that a process could not be made, and whether a runner is left that can go on."""
        note(now=now, left=any(runner.ready and not runner.fork_error for runner in self._runners))
        self.check_at = min(self.check_at, self.availability.start_at or self.check_at)

    def _watch(self, descriptor: int, runner: Runner, act: Callable[[Runner], None], events: int) -> None:
        rank = 0 if act == self._readable else 1 if act == self._printed else 2
        self._selector.register(descriptor, events, (rank, act, runner))

    # ---- events of the selector -----------------------------------------------------------------------------------

    def _readable(self, runner: Runner) -> None:
        if runner.closed:
            return
        was_ready, (answers, is_open) = runner.ready, runner.read_answers()
        for sent in answers:
            self._answered(sent)
        if runner.fork_error:
            self._lack(partial(self.availability.fork_failed, runner.fork_error), time.monotonic())
        elif runner.ready and not was_ready:
            self.availability.runner_started()
        if not is_open:
            self._died(runner)
        elif runner.line and answers:
            self._advanced(runner)

    def _answered(self, sent: SentCall) -> None:
        if sent.answer is not None:
            self.availability.call_ran()
            self._listener.finished(sent.token, sent.call, sent.answer, sent.seconds)
        elif sent.doomed or sent.wanted_back:
            self._listener.not_begun(sent.token)
        else:
            self._listener.again(sent)

    def _advanced(self, runner: Runner) -> None:
        """Look at the call that came to the head of the line."""
        head = runner.line[0]
        if head.doomed and head.number <= runner.begun:
            self._end(runner, head.cancelled())
            return
        self.check_at = min(self.check_at, runner.since + min(STUCK_SECONDS, head.timeout or STUCK_SECONDS))

    def _printed(self, runner: Runner) -> None:
        if not runner.closed:
            runner.read_output()
            if not runner.output_open:
                self._selector.unregister(runner.output)

    def _writable(self, runner: Runner) -> None:
        if runner.calls_open and runner.flush():
            self._selector.unregister(runner.calls)

    def _died(self, runner: Runner) -> None:
        if not runner.closed:
            runner.ended(within=0.05)  # its pipes end a moment before it does; else it closed them, and is killed
            self._bury(runner)

    # ---- clock ---------------------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Kill runners that overran, take calls back from behind them, close those that have been idle for long."""
        self.check_at = now + 10.0
        for runner, limit in list(self._ending.items()):
            if now >= limit or (runner.pidfd is None and runner.ended()):
                runner.kill()
                self._bury(runner)
            else:
                self.check_at = min(self.check_at, limit if runner.pidfd is not None else now + 0.01)
        if self.availability.obstacle:
            self._try_again(now)
        for runner in list(self._runners):
            if runner.line:
                self.act(partial(self._check_line, now=now), runner)
            elif len(self._runners) > self._cores and runner.ready and now - runner.since > MAX_IDLE_SECONDS:
                self._end(runner, None)
            elif runner.pidfd is None and runner.ended():
                self._died(runner)

    def _try_again(self, now: float) -> None:
        """Find out whether calls can run again: by a runner's start, or by the next call of those that are there."""
        if now >= self.availability.start_at:
            for runner in self._runners:
                runner.fork_error = ""
            if any(runner.ready for runner in self._runners):
                self.availability.try_again()
            elif not self._runners:
                self._start()
        self.check_at = min(self.check_at, max(self.availability.start_at, now + 0.1))

    def _check_line(self, runner: Runner, now: float) -> None:
        head = runner.line[0]
        if runner in self._recalling:
            self._take_back(runner, now)
        elif len(runner.line) > 1 and now - runner.since >= STUCK_SECONDS:
            self._recall(runner, now)
        elif len(runner.line) > 1:
            self.check_at = min(self.check_at, runner.since + STUCK_SECONDS)
        if runner.closed or not runner.line:
            return
        if head.number > runner.begun:
            if not runner.ready and now - runner.since > START_TIMEOUT_SECONDS:
                self._end(runner, None)
            self.check_at = min(self.check_at, now + STUCK_SECONDS)
        elif head.timeout is not None:
            due = runner.begun_at() + head.timeout
            if now >= due:
                self._end(runner, head.overran())
            else:
                self.check_at = min(self.check_at, due)

    def _recall(self, runner: Runner, now: float) -> None:
        runner.fast = False
        runner.recall()
        self._recalling.add(runner)
        self.check_at = min(self.check_at, now + _RECALL_SETTLED_SECONDS)

    def _take_back(self, runner: Runner, now: float) -> None:
        self._recalling.discard(runner)
        for sent in reversed(runner.recalled()):
            self._answered(sent)
        if runner.line and runner.line[0].doomed:
            self._end(runner, runner.line[0].cancelled())
        elif not runner.line:
            runner.since = now

    # ---- the end of a runner -------------------------------------------------------------------------------------

    def _end(self, runner: Runner, cause: ErrorValue | None) -> None:
        """Have a runner end with all that it started, upon which its calls are reported. `cause` is the error of the
        call it has begun; None: it is not to be blamed for its end."""
        if runner not in self._ending and not runner.closed:
            self._forget(runner)
            if runner.calls in self._selector.get_map():
                self._selector.unregister(runner.calls)
            runner.cause = cause
            runner.stop()
            limit = time.monotonic() + END_TIMEOUT_SECONDS
            self._ending[runner] = limit
            self.check_at = min(self.check_at, limit if runner.pidfd is not None else 0.0)

    def _forget(self, runner: Runner) -> None:
        if runner in self._runners:
            self._runners.remove(runner)
        self._recalling.discard(runner)
        self._outgoing.pop(runner, None)

    def _bury(self, runner: Runner) -> None:
        """Report the calls of a runner that has ended: the one it had begun has failed."""
        runner.kill()
        self._forget(runner)
        self._ending.pop(runner, None)
        for sent in [] if runner.broken else runner.read_answers()[0]:
            self._answered(sent)
        cause, begun, started, output = runner.cause, runner.begun, runner.begun_at(), runner.rest_of_output()
        calls = runner.calls if runner.calls_open else None  # once closed, the number may be another runner's
        for descriptor in (runner.answers, runner.output, calls, runner.pidfd):
            if descriptor is not None and descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
        how = runner.close()
        if not runner.ready and cause is None:
            self._lack(partial(self.availability.start_failed, how, output), time.monotonic())
        for sent in runner.line:
            if sent.number <= begun:
                failed = Failed(cause or process_ended(sent.call.where, how), output)
                self._listener.finished(sent.token, sent.call, failed, time.monotonic() - started)
            elif runner.ready:
                self._listener.not_begun(sent.token)
            else:
                self._listener.again(sent)
        runner.line.clear()

    def close(self) -> None:
        """End every runner with all that it started. Nothing is reported."""
        runners = [*self._runners, *self._ending]
        for runner in runners:
            runner.close_output()
            runner.stop()
        limit = time.monotonic() + END_TIMEOUT_SECONDS
        for runner in runners:
            runner.ended(within=max(0.0, limit - time.monotonic()))
            runner.close()
        self._runners.clear()
        self._ending.clear()

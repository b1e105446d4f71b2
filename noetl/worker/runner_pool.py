"""The runners of a worker: who gets the next call, who overran, who died.

Slow calls have a runner each. Calls of steps known to be fast stand in line, up to sixteen before one runner, and
before as many runners as there are processors: more would not make them faster.
"""

import contextlib
import logging
import os
import selectors
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

from noetl.tools.base import Call, Done, Failed, error, storable
from noetl.worker.runner import Answered, Lifeline, Runner, Sent
from noetl.worker.runner_wire import encode_call

log = logging.getLogger("noetl.worker")

DEPTH: Final = 16
"""How many fast calls may stand in line before one runner: what ends while a commit is under way shares the next."""

STUCK: Final = 0.02
"""Seconds after which calls behind a fast one that turned out slow are taken back."""

STILLBORN: Final = 3
"""How many runners in a row may end before they are ready, until the call waiting for them fails."""

START_LIMIT: Final = 60.0
IDLE_LIMIT: Final = 60.0
_SETTLED: Final = 0.001  # seconds after a recall when both sides have certainly seen each other's number


class Owner(Protocol):
    """Who wants to know what came of the calls."""

    def finished(self, token: int, call: Call, answer: Done | Failed, seconds: float) -> None:
        """A call ran."""

    def not_begun(self, token: int) -> None:
        """A call did not run, its runner is gone."""

    def again(self, sent: Sent) -> None:
        """A call did not run; it goes to another runner."""


class RunnerPool:
    """Up to `count` runners, started on demand and kept warm."""

    def __init__(
        self,
        count: int,
        environment: Mapping[str, str],
        selector: selectors.BaseSelector,
        owner: Owner,
    ) -> None:
        self._count = count
        self._cores = max(1, min(count, os.cpu_count() or 1))
        self._environment = environment
        self._selector = selector
        self._owner = owner
        self._lifeline = Lifeline.make()
        self._runners: list[Runner] = []
        self._outgoing: dict[Runner, list[bytes]] = {}
        self._number = 0
        self._stillborn = 0
        self._recalling: set[Runner] = set()
        self.check_at = float("inf")  # when `check` wants to be called next

    @property
    def pids(self) -> list[int]:
        return [runner.pid for runner in self._runners]

    # ---- calls ---------------------------------------------------------------------------------------------------

    def warm(self) -> None:
        """Start one runner if there is none."""
        if not self._runners:
            with contextlib.suppress(OSError):  # the first call will say it
                self._start()

    def offer(self, token: int, call: Call, timeout: float | None, *, fast: bool, grow: bool) -> bool:
        """Give a call to a runner. Returns False where none can take it now. `flush` sends it. `grow`: it may have one
        started, which the first call may anyway.

        Raises TypeError where the call is not plain JSON, OSError where no process can be started.
        """
        runner = self._choose(fast, grow)
        if runner is None:
            return False
        self._number += 1
        frame = encode_call(self._number, call)
        now = time.monotonic()
        if not runner.line:
            runner.since = now
            runner.fast = fast
        runner.line.append(Sent(self._number, token, call, timeout))
        self._outgoing.setdefault(runner, []).append(frame)
        wait = timeout if timeout is not None else START_LIMIT
        self.check_at = min(self.check_at, now + (wait if len(runner.line) == 1 else min(wait, STUCK)))
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
            if runner in self._runners:
                text = f"the worker broke over its runner: {type(failure).__name__}: {failure}"
                self._bury(runner, error("internal", storable(text), retryable=True))

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
                        self._bury(runner, self._cancelled(sent))
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
                if held < DEPTH and (runner.fast or not held) and (best is None or held < len(best.line)):
                    best = runner
            if best is not None:
                return best
        for runner in reversed(self._runners):
            if not runner.line:
                return runner
        if self._runners and not grow:
            return None
        limit = self._cores if fast else self._count
        starting = sum(1 for runner in self._runners if not runner.ready)
        if len(self._runners) < limit and starting < self._cores:
            return self._start()
        return None

    def _start(self) -> Runner:
        runner = Runner(self._environment, self._lifeline)
        self._runners.append(runner)
        self._watch(runner.answers, runner, self._readable, selectors.EVENT_READ)
        self._watch(runner.output, runner, self._printed, selectors.EVENT_READ)
        if runner.pidfd is not None:
            self._watch(runner.pidfd, runner, self._died, selectors.EVENT_READ)
        return runner

    def _watch(self, descriptor: int, runner: Runner, act: Callable[[Runner], None], events: int) -> None:
        rank = 0 if act == self._readable else 1 if act == self._printed else 2
        self._selector.register(descriptor, events, (rank, act, runner))

    # ---- what the selector saw -----------------------------------------------------------------------------------

    def _readable(self, runner: Runner) -> None:
        if runner.closed:
            return
        answers, is_open = runner.read_answers()
        for answered in answers:
            self._answered(answered)
        if runner.ready:
            self._stillborn = 0
        if not is_open:
            self._died(runner)
        elif runner.line and answers:
            self._advanced(runner)

    def _answered(self, answered: Answered) -> None:
        sent = answered.sent
        if answered.answer is not None:
            self._owner.finished(sent.token, sent.call, answered.answer, answered.seconds)
        elif sent.doomed or sent.wanted_back:
            self._owner.not_begun(sent.token)
        else:
            self._owner.again(sent)

    def _advanced(self, runner: Runner) -> None:
        """Another call came to the head of the line."""
        head = runner.line[0]
        if head.doomed and head.number <= runner.begun:
            self._bury(runner, self._cancelled(head))
            return
        self.check_at = min(self.check_at, runner.since + min(STUCK, head.timeout or STUCK))

    def _printed(self, runner: Runner) -> None:
        if not runner.closed:
            runner.read_output()
            if not runner.output_open:
                self._selector.unregister(runner.output)

    def _writable(self, runner: Runner) -> None:
        if not runner.closed and runner.flush():
            self._selector.unregister(runner.calls)

    def _died(self, runner: Runner) -> None:
        if runner.closed:
            return
        for answered in runner.read_answers()[0]:
            self._answered(answered)
        runner.ended(within=0.05)  # its pipes end a moment before it does; else it closed them, and is killed
        self._bury(runner, None)

    # ---- clock ---------------------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Kill what overran, take calls back from behind it, close what has been idle for long."""
        self.check_at = now + 10.0
        for runner in list(self._runners):
            if runner.line:
                self.act(partial(self._check_line, now=now), runner)
            elif len(self._runners) > self._cores and runner.ready and now - runner.since > IDLE_LIMIT:
                self._bury(runner, None)
            elif runner.pidfd is None and runner.ended():
                self._died(runner)

    def _check_line(self, runner: Runner, now: float) -> None:
        head = runner.line[0]
        if runner in self._recalling:
            self._take_back(runner, now)
        elif len(runner.line) > 1 and now - runner.since >= STUCK:
            self._recall(runner, now)
        elif len(runner.line) > 1:
            self.check_at = min(self.check_at, runner.since + STUCK)
        if runner.closed or not runner.line:
            return
        if head.number > runner.begun:
            if not runner.ready and now - runner.since > START_LIMIT:
                self._bury(runner, None)
            self.check_at = min(self.check_at, now + STUCK)
        elif head.timeout is not None:
            due = runner.begun_at() + head.timeout
            if now >= due:
                self._bury(runner, self._overran(head))
            else:
                self.check_at = min(self.check_at, due)

    def _recall(self, runner: Runner, now: float) -> None:
        runner.fast = False
        runner.recall()
        self._recalling.add(runner)
        self.check_at = min(self.check_at, now + _SETTLED)

    def _take_back(self, runner: Runner, now: float) -> None:
        self._recalling.discard(runner)
        for sent in reversed(runner.recalled()):
            self._answered(Answered(sent, None, 0.0))
        if runner.line and runner.line[0].doomed:
            self._bury(runner, self._cancelled(runner.line[0]))
        elif not runner.line:
            runner.since = now

    # ---- the end of a runner -------------------------------------------------------------------------------------

    @staticmethod
    def _cancelled(sent: Sent) -> dict[str, object]:
        return error("cancelled", f"{sent.call.where}: cancelled while it ran")

    @staticmethod
    def _overran(sent: Sent) -> dict[str, object]:
        text = f"{sent.call.where}: still running after its timeout of {sent.timeout:g} s; it was killed"
        return error("timeout", text, retryable=True)

    def _bury(self, runner: Runner, cause: dict[str, object] | None) -> None:
        """Kill a runner with its group and say what became of its calls: the one it had begun has failed.

        `cause` is the error of that call; None: the runner ended by itself.
        """
        runner.kill()
        self._runners.remove(runner)
        self._recalling.discard(runner)
        self._outgoing.pop(runner, None)
        begun, started, output = runner.begun, runner.begun_at(), runner.rest_of_output()
        for descriptor in (runner.answers, runner.output, runner.calls, runner.pidfd):
            if descriptor is not None and descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
        how = runner.close()
        self._stillborn += not runner.ready
        for sent in runner.line:
            if sent.number <= begun:
                failed = cause or error(
                    "runner_exited",
                    f"{sent.call.where}: the process that ran the step {how}",
                    retryable=True,
                    detail={"process": how},
                )
                seconds = time.monotonic() - started
                self._owner.finished(sent.token, sent.call, Failed(failed, output), seconds)
            elif runner.ready:
                self._owner.not_begun(sent.token)
            elif self._stillborn >= STILLBORN:
                text = f"{sent.call.where}: no runner process can be started, it {how}: {output.strip()}"
                self._owner.finished(
                    sent.token, sent.call, Failed(error("runner_exited", storable(text), retryable=True)), 0.0
                )
            else:
                self._owner.again(sent)
        runner.line.clear()

    def close(self) -> None:
        """Kill every runner. Nothing is reported."""
        for runner in self._runners:
            runner.kill()
        for runner in self._runners:
            runner.close()
        self._runners.clear()
        self._lifeline.close()

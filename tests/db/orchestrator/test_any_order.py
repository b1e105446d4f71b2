"""Two workers by hand in random order, with lost workers, outcomes sent twice, jobs put back, failures and cancels:
every execution comes to its end, and the log is one that could not be otherwise."""

import random
from typing import Any

import orjson
import pytest

from noetl.calls import Call
from noetl.database.connection.connect import Database
from noetl.database.rows import JobRow
from noetl.orchestrator.attempt import AwaitChild, NewChild
from noetl.orchestrator.batch import Finished, JobOutcome
from noetl.orchestrator.children import await_child, start_child
from noetl.orchestrator.replay import verify_replay
from noetl.outcomes import Deferred, Done, Expired, Failed
from noetl.settings import Settings
from tests.support.hand import Hand, with_hand
from tests.support.playbooks import playbook
from tests.support.working import Engine

CHILD = playbook(
    """
    - step: start
      type: python
      loop: {in: [1, 2], iterator: z, mode: async}
      code: "def main(): pass"
      next: [late]
    - {step: late, type: wait, for: 1h}
    """,
    "child",
)

PARENT = playbook(
    """
    workflow:
      - {step: start, next: [nested, children, waits]}
      - step: nested
        type: python
        loop:
          - {in: "{{ range(4) | list }}", iterator: x, mode: async, concurrency: 2, on_error: OUTER}
          - {in: "{{ range(x) | list }}", iterator: y, mode: async, concurrency: 2, on_error: INNER}
        retry: {max_attempts: 2, initial_delay: 1ms}
        code: "def main(): pass"
        on_error: [{step: after}]
        next: [after]
      - step: children
        type: playbook
        path: child
        loop: {in: [1, 2, 3], iterator: x, mode: async, concurrency: 2, on_error: OUTER}
        retry: {max_attempts: 2, initial_delay: 1ms}
        on_error: continue
        next: [after]
      - {step: waits, type: wait, for: 1h, loop: {in: [1, 2, 3], mode: async, on_error: INNER}, next: [after]}
      - step: after
        type: python
        args: {all: "{{ nested | default([]) }}"}
        code: "def main(all): pass"
        next: [again]
      - {step: again, type: python, max_visits: 3, code: "def main(): pass",
         next: [{when: "{{ again < 5 }}", then: [{step: after}]}]}
    finally:
      - {step: tidy, type: python, loop: {in: [1, 2]}, code: "def main(): pass"}
    """,
    "parent",
)

TURNS = 150
"""Turns with trouble; what is left is done without."""


class Crowd:
    """Two workers and their trouble."""

    def __init__(self, engine: Engine, hands: tuple[Hand, Hand], dice: random.Random) -> None:
        self.engine, self.hands, self.dice = engine, hands, dice
        self.held: list[tuple[Hand, JobRow]] = []
        self.finished: list[tuple[Hand, Finished]] = []
        self.failing = dice.choice([0.0, 0.1, 0.3])
        self.losing = dice.choice([0.0, 0.05, 0.2])

    def change(self, query: str, *parameters: Any) -> None:
        with self.engine.database.session() as conn:
            conn.execute(query.encode(), parameters)

    def happens(self, chance: float) -> bool:
        return self.dice.random() < chance

    def turn(self) -> None:
        hand = self.dice.choice(self.hands)
        if self.happens(0.3):
            self.change("UPDATE queue SET available_at = clock_timestamp() WHERE status = 'waiting' AND random() < 0.5")
            hand.promote()
        self.held += [(hand, row) for row in hand.claim(self.dice.randint(1, 4)) or hand.claim_lost()]
        self.dice.shuffle(self.held)
        now, self.held = self.held[:3], self.held[3:]
        for one, row in now:
            self.work(one, row)
        self.finished += [(hand, hand.finished(row, Expired())) for row in hand.expired()]
        for one in self.hands:
            if self.happens(0.8):
                self.complete(one)

    def work(self, hand: Hand, row: JobRow) -> None:
        if self.happens(self.losing):
            self.lose(row)
            if self.happens(0.5):  # it was only slow
                self.held.append((hand, row))
        elif self.happens(self.losing):
            hand.release(row.job.job_id)
        else:
            outcome = self.answer(hand, row)
            if outcome is not None:
                self.finished.append((hand, hand.finished(row, outcome)))

    def lose(self, row: JobRow) -> None:
        lost = "UPDATE queue SET lease_until = clock_timestamp() - interval '1 s' WHERE status = 'leased' AND id = %s"
        self.change(lost, row.job.job_id)

    def answer(self, hand: Hand, row: JobRow) -> JobOutcome | None:
        """The outcome of a job; None where it turns out to be somebody else's by now."""
        try:
            outcome = hand.prepared(row)
        except LookupError:
            holder = "SELECT worker_id FROM queue WHERE id = %s AND attempts = %s AND status = 'leased'"
            assert self.engine.one(holder, row.job.job_id, row.job.attempts) != hand.name
            return None
        if isinstance(outcome, NewChild):
            outcome = start_child(hand.conn, hand.cache, outcome)
        elif isinstance(outcome, AwaitChild):
            outcome = await_child(hand.conn, hand.cache, outcome)
        if isinstance(outcome, Call | Deferred) and self.happens(self.failing):
            kind, again = self.dice.choice(["python", "timeout"]), self.happens(0.5)
            return Failed({"type": kind, "message": "bad", "retryable": again, "detail": None})
        if isinstance(outcome, Call) or (
            isinstance(outcome, Deferred) and "due" in outcome.context and self.happens(0.5)
        ):
            return Done(orjson.dumps(self.dice.randint(0, 9)))
        return outcome

    def complete(self, hand: Hand) -> None:
        mine = [item for one, item in self.finished if one is hand]
        self.finished = [(one, item) for one, item in self.finished if one is not hand]
        if not mine:
            return
        committed = hand.complete(*mine, room=self.dice.randint(0, 3), idle=self.happens(0.5))
        hand.release(*(leased.job.job_id for leased in committed.leased))
        if self.happens(self.losing):  # the reply was lost
            self.finished += [(hand, item) for item in mine]

    def at_last(self) -> bool:
        """Do what is left; whether all of it has ended."""
        self.failing = self.losing = 0.0
        for turn in range(1, 3000):
            self.turn()
            if turn % 50 == 0:
                self.change("UPDATE queue SET lease_until = clock_timestamp() WHERE status = 'leased'")
            if turn % 5 == 0 and not self.engine.one("SELECT count(*) FROM queue"):
                return not self.finished
        return False


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_every_execution_ends_as_its_log_says(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    dice = random.Random(seed)
    engine = Engine(database, settings)
    engine.register(CHILD)
    outer, inner = (dice.choice(["fail", "continue"]) for _ in range(2))
    engine.register(PARENT.replace("OUTER", outer).replace("INNER", inner))
    parents = [engine.start("parent") for _ in range(2)]
    cancelling = dice.choice([0.0, 0.01, 0.03])
    with with_hand(database, "left") as left, with_hand(database, "right") as right:
        crowd = Crowd(engine, (left, right), dice)
        for _ in range(TURNS):
            if crowd.happens(cancelling):
                engine.orchestrator.cancel(dice.choice(parents))
            crowd.turn()
        assert crowd.at_last(), engine.rows("SELECT node_id, item_index, status, attempts FROM queue")
    assert engine.one("SELECT count(*) FROM execution WHERE finished_at IS NULL") == 0
    assert verify_replay(database) == []
    assert caplog.messages == [], "nothing was quarantined"

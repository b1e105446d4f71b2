"""Decide what follows from what has happened. Pure: state and input in, a `Decision` out.

    decide -> take what happened (outcome.py, control.py) -> settle (settle.py, joins.py) -> finish (control.py)

Every change of the state is an event that `evolve` folds in, so the log replays to the state.
"""

from typing import assert_never

from noetl.engine.control import cancel, continued, finish, start, time_out, withdrawn
from noetl.engine.decision import Decision
from noetl.engine.inputs import AttemptEnded, Cancel, Continue, Input, Start, TimedOut, Withdrawn
from noetl.engine.outcome import take_outcome
from noetl.engine.plan import plan_of
from noetl.engine.settle import settle
from noetl.engine.state import State
from noetl.engine.turn import Turn
from noetl.engine.values import Values
from noetl.playbook.model import Playbook
from noetl.playbook.templates.budget import on_one_budget

__all__ = ["Decision", "decide"]


def decide(playbook: Playbook, state: State, given: Input, values: Values) -> Decision:
    """Return what is to be done; the state that was passed in stays as it is.

    An execution begins with `State()` and `Start`. Raises `NotLoaded` if values are missing (load them, decide
    again), `Conflict` for the outcome of a step run that the state does not know as running. What comes too late,
    after the terminal event, gives a decision without events.
    """
    turn = Turn(plan_of(playbook), state.copy(), values)
    on_one_budget(_go, turn, given)
    return turn.decision()


def _go(turn: Turn, given: Input) -> None:
    _take(turn, given)
    settle(turn)
    while finish(turn):
        settle(turn)


def _take(turn: Turn, given: Input) -> None:
    if isinstance(given, AttemptEnded):
        take_outcome(turn, given)
    elif isinstance(given, Start):
        start(turn, given)
    elif isinstance(given, Cancel):
        cancel(turn, given)
    elif isinstance(given, Withdrawn):
        withdrawn(turn, given)
    elif isinstance(given, TimedOut):
        time_out(turn, given)
    elif isinstance(given, Continue):
        continued(turn, given)
    else:
        assert_never(given)

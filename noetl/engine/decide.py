"""The decision on what follows from an input. Pure: state and input in, a `Decision` out.

    apply the input (outcome.py, control.py) -> begin what is ready (begin.py, joins.py) -> finish (control.py)

Every change of the state is an event that `evolve` folds in, so the log replays to the state.
"""

from typing import assert_never

from noetl.engine.begin import begin_ready
from noetl.engine.control import cancel, finish, skip_withdrawn, start, time_out
from noetl.engine.decision import Decision
from noetl.engine.inputs import AttemptEnded, Cancel, Continue, Input, Start, TimedOut, Withdrawn
from noetl.engine.outcome import continue_chain, end_attempt
from noetl.engine.plan import plan_of
from noetl.engine.state import State
from noetl.engine.turn import Turn
from noetl.engine.values import Values
from noetl.playbook.model import Playbook
from noetl.playbook.templates.budget import on_one_budget

__all__ = ["Decision", "decide"]


def decide(playbook: Playbook, state: State, cause: Input, values: Values) -> Decision:
    """Return what follows from the cause; the state that was passed in stays as it is.

    An execution begins with `State()` and `Start`. Raises `NotLoaded` if values are missing (load them, decide
    again), `Conflict` for the outcome of a step run that the state does not know as running. A cause that comes too
    late, after the terminal event, gives a decision without events.
    """
    turn = Turn(plan_of(playbook), state.copy(), values)
    on_one_budget(_decide, turn, cause)
    return turn.decision()


def _decide(turn: Turn, cause: Input) -> None:
    _apply(turn, cause)
    begin_ready(turn)
    while finish(turn):
        begin_ready(turn)


def _apply(turn: Turn, cause: Input) -> None:
    if isinstance(cause, AttemptEnded):
        end_attempt(turn, cause)
    elif isinstance(cause, Start):
        start(turn, cause)
    elif isinstance(cause, Cancel):
        cancel(turn, cause)
    elif isinstance(cause, Withdrawn):
        skip_withdrawn(turn, cause)
    elif isinstance(cause, TimedOut):
        time_out(turn, cause)
    elif isinstance(cause, Continue):
        continue_chain(turn)
    else:
        assert_never(cause)

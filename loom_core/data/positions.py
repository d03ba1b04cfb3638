"""Where each rank goes on in the stream when a run is resumed, with the number of ranks of then or with another one.

With the same number every rank goes on where it stood. With another one the stream goes on from the first sample that
no rank had taken; the few after it that quicker ranks had taken are named, and left out by whoever meets them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .problems import merged_guards

State = Mapping[str, Any]


def position_for(states: Mapping[str, State], *, rank: int, world_size: int) -> State | None:
    """The state that a rank's stream is given.

    Args:
        states: Of all ranks of then, by number, from their streams.
        rank: Of now.
        world_size: Number of ranks now.

    Returns:
        None at the start of a run.
    """
    if not states:
        return None
    ordered = [states[name] for name in sorted(states, key=int)]
    if len(ordered) == world_size:
        return ordered[rank]
    whole = merged(ordered)
    if rank == 0:
        return whole
    # what was counted belongs to one of them; all know which samples are bad
    return {**whole, "guard": {**merged_guards([]), "known": whole["guard"]["known"]}}


def merged(states: Sequence[State]) -> dict[str, Any]:
    """The states of all ranks as that of a single one.

    Args:
        states: Of each rank in turn.
    """
    size = len(states)
    starts = [int(state["next"]) * size + rank for rank, state in enumerate(states)]
    first = min(starts)
    taken = {place for state in states for place in state.get("done", ()) if place >= first}
    for rank, start in enumerate(starts):
        taken.update(range(first + (rank - first) % size, start, size))
    done = {"done": sorted(taken)} if taken else {}
    own = {"next": first, "rank": 0, "world_size": 1, "guard": merged_guards([state["guard"] for state in states])}
    return {**{name: value for name, value in states[0].items() if name != "done"}, **own, **done}

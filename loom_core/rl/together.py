"""Several processes that share a round: each has prompts of its own, and all run their parts of one model in step.

How many packs a rank makes of its answers, and of the points that it learns from, follows from its prompts. A model
that is spread over the ranks runs in all of them at once, so that a rank with fewer packs runs one for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from ..errors import RankError
from ..training.ranks import Ranks

Value = TypeVar("Value")


class FailedTogetherError(Exception):
    """What one rank or several could not do, told on all of them at the same place.

    Args:
        reason: What to raise: a rank's own error, or word of another's.
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


def in_step(own: Sequence[Value], ranks: Ranks) -> Iterator[Value | None]:
    """What a rank has, followed by as many None as another one has more.

    Args:
        own: Of this rank.
        ranks: All of which call this together.
    """
    most = max(ranks.gather(len(own)))
    yield from own
    yield from [None] * (most - len(own))


def on_all(make: Callable[[], Value], ranks: Ranks) -> Value:
    """What a function gives that every rank calls for itself.

    Args:
        make: May fail here and not elsewhere, and has nothing to do with other ranks.
        ranks: All of which call this together.

    Raises:
        FailedTogetherError: It failed on a rank; all of them raise it.
    """
    failure: Exception | None = None
    made: list[Value] = []
    try:
        made.append(make())
    except Exception as error:  # the others wait for word of it, whatever it is
        failure = error
    words = ranks.gather(None if failure is None else str(failure) or type(failure).__name__)
    if failure is not None:
        raise FailedTogetherError(failure) from failure
    for rank, said in enumerate(words):
        if said is not None:
            raise FailedTogetherError(RankError(f"rank {rank}, which cannot go on: {said}"))
    return made[0]


def added(sums: Mapping[str, float], ranks: Ranks) -> dict[str, float]:
    """Sums by name over all ranks, some of which may lack a name."""
    total: dict[str, float] = {}
    for own in ranks.gather(dict(sums)):
        for name, value in own.items():
            total[name] = total.get(name, 0.0) + value
    return total

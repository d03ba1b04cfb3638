"""Refusing ranks that were started with different settings, which would train something that nobody asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ..errors import ConfigError

_MOST_NAMED = 5


class Gathering(Protocol):
    """The processes of a run."""

    def gather(self, value: Any) -> list[Any]:
        """The plain values of all ranks in their order, on each of them."""
        ...


def check_agreed(ranks: Gathering, settings: Mapping[str, Any], *, own: Iterable[str] = ()) -> None:
    """Refuse to go on unless all ranks have the same settings; each of them learns which differ.

    Args:
        ranks: All of them call this.
        settings: Of this rank, by dotted name.
        own: Names that every rank may set for itself.

    Raises:
        ConfigError: They differ, here and on every other rank.
    """
    kept = frozenset(own)
    words = {name: repr(value) for name, value in settings.items() if name not in kept}
    first, *others = ranks.gather(words)
    for rank, theirs in enumerate(others, start=1):
        wrong = [name for name in sorted(first.keys() | theirs.keys()) if first.get(name) != theirs.get(name)]
        if wrong:
            named = "; ".join(
                f"{name} is {theirs.get(name, 'absent')} there and {first.get(name, 'absent')} on rank 0"
                for name in wrong[:_MOST_NAMED]
            )
            more = f" and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
            raise ConfigError(
                f"rank {rank} with other settings than rank 0: {named}{more}",
                expected="the same on all ranks",
                fix="start all machines with the same command, config file and version of the code",
            )

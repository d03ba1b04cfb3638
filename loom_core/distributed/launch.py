"""Which of the processes of a run this one is, as torchrun says in the environment; without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ConfigError


@dataclass(frozen=True)
class Launch:
    """This process among those of its run.

    Args:
        rank: Its number, from 0.
        size: How many there are.
        local_rank: Its number on its own machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_single(self) -> bool:
        """Whether it is the only one."""
        return self.size == 1

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0


def find_launch(environment: Mapping[str, str] | None = None) -> Launch:
    """What torchrun says; a single process where it says nothing.

    Args:
        environment: Variables by name; None for the process's own.

    Raises:
        ConfigError: The variables make no sense.
    """
    values = os.environ if environment is None else environment
    if "WORLD_SIZE" not in values:
        return Launch()
    names = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": values.get("RANK", "0")}
    words = {name: values.get(name, usual) for name, usual in names.items()}
    try:
        rank, size, local_rank = map(int, words.values())
    except ValueError:
        rank, size, local_rank = -1, 0, -1
    if not 0 <= rank < size or local_rank < 0:
        said = ", ".join(f"{name}={word}" for name, word in words.items())
        raise ConfigError(
            f"{said} in the environment",
            expected="whole numbers, RANK from 0 and below WORLD_SIZE",
            fix="start the processes with torchrun, or unset these variables for a single one",
        )
    return Launch(rank, size, local_rank)

"""Ranks with different settings are refused, each of them with the same words."""

from __future__ import annotations

import pytest

from loom_core.distributed.agreement import check_agreed
from loom_core.errors import ConfigError


class Ranks:
    """What the others give is known beforehand."""

    def __init__(self, *others):
        self.others = others

    def gather(self, value):
        return [value, *({name: repr(setting) for name, setting in other.items()} for other in self.others)]


def test_equal_settings_go_on():
    settings = {"lr": 1e-4, "sets": (1, 2), "cache": "here"}
    others = [{name: value for name, value in settings.items() if name != "cache"}] * 2  # they leave out their own
    check_agreed(Ranks(*others), settings, own=("cache",))
    with pytest.raises(ConfigError, match="cache is absent there"):
        check_agreed(Ranks(*others), settings)


def test_the_rank_and_the_settings_are_named():
    settings = {"optimiser.lr": 1e-4, "seed": 1}
    with pytest.raises(ConfigError) as caught:
        check_agreed(Ranks(dict(settings), {"optimiser.lr": 2e-4, "new": True}), settings)
    said = str(caught.value)
    assert "rank 2 with other settings than rank 0" in said
    assert "optimiser.lr is 0.0002 there and 0.0001 on rank 0" in said
    assert "seed is absent there and 1 on rank 0" in said
    assert "new is True there and absent on rank 0" in said


def test_of_many_differences_the_first_are_named():
    settings = {f"setting {number}": number for number in range(8)}
    with pytest.raises(ConfigError, match=r"setting 4 is 0 there and 4 on rank 0 and 3 more"):
        check_agreed(Ranks(dict.fromkeys(settings, 0) | {"setting 0": -1}), settings)

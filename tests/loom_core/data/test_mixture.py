"""Which sample stands where: every one once an epoch, sets as often as they weigh, any position at once."""

from __future__ import annotations

import collections

import pytest

from loom_core.config.data import DataConfig, DataSetConfig
from loom_core.data.mixture import BLOCK, Mixture, set_weights
from loom_core.errors import ConfigError


def places(mixture, count, start=0):
    return [mixture[position] for position in range(start, start + count)]


def test_every_sample_once_an_epoch():
    mixture = Mixture([5, 7], [1, 3], seed=0)
    found = collections.defaultdict(list)
    for place in places(mixture, 3000):
        found[place.set_index].append(place)
    for set_index, length in enumerate((5, 7)):
        entries = found[set_index]
        for start in range(0, len(entries) - length + 1, length):
            epoch = entries[start : start + length]
            assert sorted(place.index for place in epoch) == list(range(length))
            assert {place.epoch for place in epoch} == {start // length}


def test_epochs_differ_in_order():
    mixture = Mixture([40], [1], seed=0)
    first, second = places(mixture, 40), places(mixture, 40, 40)
    assert [place.index for place in first] != [place.index for place in second]


def test_sets_come_as_often_as_they_weigh():
    mixture = Mixture([10, 10, 10], [0.5, 0.3, 0.2], seed=1)
    for start in (0, BLOCK, 5 * BLOCK):
        counts = collections.Counter(place.set_index for place in places(mixture, BLOCK, start))
        assert [counts[index] / BLOCK for index in range(3)] == pytest.approx([0.5, 0.3, 0.2], abs=1 / BLOCK)
    assert sum(mixture.counts) == BLOCK


def test_within_a_block_sets_are_spread():
    mixture = Mixture([10, 10], [1, 1], seed=0)
    for start in range(0, BLOCK, 256):
        share = sum(place.set_index for place in places(mixture, 256, start)) / 256
        assert 0.35 < share < 0.65


def test_a_set_that_weighs_almost_nothing_is_not_lost():
    mixture = Mixture([10, 10], [1, 1e-9], seed=0)
    assert mixture.counts == (BLOCK - 1, 1)
    assert sum(Mixture([1] * 3000, [1] * 2999 + [1e9], seed=0).counts) == BLOCK


def test_positions_follow_from_the_seed_alone():
    backwards = Mixture([50, 9], [2, 1], seed=3)
    found = [backwards[position] for position in reversed(range(9000))]
    assert found[::-1] == places(Mixture([50, 9], [2, 1], seed=3), 9000)
    assert found[::-1] != places(Mixture([50, 9], [2, 1], seed=4), 9000)


def test_a_place_far_on_is_known_at_once(monkeypatch):
    """No position before it is gone through: few permutations are made, whatever the position."""
    mixture = Mixture([2_882_998, 1000], [1, 1], seed=0)
    made = []
    make = mixture._make_order
    monkeypatch.setattr(mixture, "_order", lambda *args: made.append(args) or make(*args))
    place = mixture[10_000_000]
    assert len(made) == 1
    assert place.epoch == made[0][1] == (10_000_000 // BLOCK * BLOCK // 2) // mixture.lengths[place.set_index]


def test_clip_numbers_rise_by_one_an_epoch():
    mixture = Mixture([6], [1], seed=0)
    clips = collections.defaultdict(list)
    for place in places(mixture, 24):
        clips[place.index].append(place.clip)
    assert all([number - numbers[0] for number in numbers] == [0, 1, 2, 3] for numbers in clips.values())
    assert len({numbers[0] % 4 for numbers in clips.values()}) > 1  # and samples do not begin alike


@pytest.mark.parametrize("lengths", [[], [3, 0], [1] * (BLOCK + 1)])
def test_sets_that_make_no_stream(lengths):
    with pytest.raises(ConfigError, match="sets"):
        Mixture(lengths, [1.0] * len(lengths), seed=0)


def test_weights_of_groups_and_their_sets():
    """As the official loader: a group's weight is shared out among its sets."""

    def entry(name, weight=1.0, group=""):
        return DataSetConfig(kind="world", name=name, weight=weight, group=group)

    config = DataConfig(
        sets=(entry("a", 3, "edit"), entry("b", 1, "edit"), entry("c", 5)),
        group_weights={"edit": 2.0},
        sizes=((128, 128),),
    )
    assert set_weights(config) == pytest.approx([2 * 3 / 4 / 3, 2 * 1 / 4 / 3, 1 / 3])

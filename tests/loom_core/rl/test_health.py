"""What is watched beside the reward, and what stops a run."""

from __future__ import annotations

import json

import pytest
import torch

from loom_core.config.rl import StopSettings
from loom_core.rl.health import Stops, health, looks_of

SETTINGS = StopSettings(first_rounds=3, last_rounds=2)


def clip(*, moves=True, contrast=200):
    """A white square on black, which moves."""
    frames = torch.zeros(5, 24, 24, 3, dtype=torch.uint8)
    for index in range(5):
        start = 2 + 3 * index if moves else 5
        frames[index, 8:16, start : start + 8] = contrast
    return frames


def seen(outcomes):
    return health([looks_of(outcomes, group_size=2)])


def test_measures_are_parts_of_what_the_targets_have(make_outcome):
    truth = clip()
    same = seen([make_outcome(truth)] * 2)
    assert same == pytest.approx({"motion": 1.0, "sharpness": 1.0, "diversity": 0.0, "size": 1.0})
    frozen = [make_outcome(clip(moves=False, contrast=100), truth=truth)] * 2
    found = seen(frozen)
    assert found["motion"] == 0
    assert found["sharpness"] == pytest.approx(0.5)


def test_stills_say_nothing_of_motion(make_outcome):
    assert "motion" not in seen([make_outcome(clip()[:1])] * 2)


def test_diversity_is_within_groups_and_size_is_not(make_outcome):
    latents = [torch.full((1, 1, 2, 2), value) for value in (1.0, 3.0, 2.0, 2.0)]
    outcomes = [make_outcome(clip(), latents=each) for each in latents]
    found = seen(outcomes)
    assert found["diversity"] == pytest.approx(0.5**0.5)  # half of the answers are 1 from their mean
    assert found["size"] == pytest.approx((18 / 4) ** 0.5)


def test_answers_of_two_ranks_look_as_those_of_one(make_outcome):
    one = [make_outcome(clip(moves=index > 0, contrast=90 + 20 * index), truth=clip()) for index in range(4)]
    two = [make_outcome(clip()[:1], latents=torch.full((1, 1, 2, 2), value)) for value in (1.0, 4.0)]
    parts = [looks_of(outcomes, group_size=2) for outcomes in (one, two)]
    assert health(parts) == pytest.approx(seen(one + two))
    assert health(parts) != pytest.approx(seen(one))


def reasons(stops, rounds):
    return [stops.reason(measures) for measures in rounds]


BEGIN = {"reward": 0.2, "motion": 1.0, "sharpness": 0.9, "diversity": 0.5, "size": 1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": 0.6, "motion": 0.3}, "the reward rises while the result freezes: reward 0.2 at first, 0.6 now"),
        ({"reward": 0.6, "sharpness": 0.4}, "blurs"),
        ({"diversity": 0.01}, "all answers to a prompt become one"),
        ({"size": 2.0}, "clean latents grow: size 1 at first, 2 now"),
    ],
)
def test_known_failures_stop_a_run_once_they_last(changes, message):
    found = reasons(Stops(SETTINGS), [BEGIN] * 3 + [BEGIN | changes] * 2)
    assert found[:4] == [None] * 4
    assert message in found[4]


@pytest.mark.parametrize("changes", [{"reward": 0.6}, {"reward": 0.1, "motion": 0.3}, {"reward": 0.6, "motion": 0.8}])
def test_what_is_no_failure_stops_nothing(changes):
    assert set(reasons(Stops(SETTINGS), [BEGIN] * 3 + [BEGIN | changes] * 4)) == {None}


def test_one_bad_round_is_not_enough():
    bad = BEGIN | {"reward": 0.6, "motion": 0.45}
    good = BEGIN | {"reward": 0.6}
    assert set(reasons(Stops(SETTINGS), [BEGIN] * 3 + [good, bad, good, good])) == {None}


def test_a_limit_of_zero_never_stops():
    settings = StopSettings(first_rounds=1, last_rounds=1, least_motion=0, least_diversity=0, most_growth=0)
    worse = BEGIN | {"reward": 0.9, "motion": 0.0, "diversity": 0.0, "size": 90.0}
    assert set(reasons(Stops(settings), [BEGIN, worse, worse])) == {None}


def test_a_resumed_run_watches_on_from_where_it_was():
    rounds = [BEGIN] * 3 + [BEGIN | {"size": 2.0}] * 2
    stops = Stops(SETTINGS)
    reasons(stops, rounds[:4])
    again = Stops.from_state(SETTINGS, json.loads(json.dumps(stops.state())))
    assert again == stops
    assert "grow" in again.reason(rounds[4])
    assert Stops.from_state(SETTINGS, {}) == Stops(SETTINGS)

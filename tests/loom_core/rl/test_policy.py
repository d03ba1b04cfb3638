"""Three policies in one model."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from loom_core.errors import WeightsError
from loom_core.rl.policy import (
    REFERENCE_FILE,
    OldPolicy,
    Policy,
    keep_reference,
    old_policy_decay,
    read_reference,
    trained_weights,
)
from loom_core.training.ema import Ema


def set_mean(toy, value):
    with torch.no_grad():
        toy.mean.fill_(value)


def test_the_old_policy_is_the_policy_after_the_first_round_and_then_follows_slower(toy):
    old = OldPolicy(trained_weights(toy), limit=0.5, ramp=0.2)
    kept = []
    for value in (1.0, 2.0, 3.0, 4.0, 5.0):
        set_mean(toy, value)
        kept.append(old.next_decay())
        old.update(trained_weights(toy))
        if value == 1.0:
            assert old.weights["mean"].tolist() == [1.0, 1.0]
    assert kept == pytest.approx([0.0, 0.2, 0.4, 0.5, 0.5])
    assert float(old.weights["mean"][0]) < 5.0


def test_the_published_decay():
    assert [old_policy_decay(rounds, ramp=0.001, limit=0.5) for rounds in (0, 100, 900)] == [0.0, 0.1, 0.5]


def test_the_model_is_each_policy_for_a_while(toy):
    old = Ema({"mean": torch.tensor([1.0, 1.0])}, decay=0.5)
    reference = Ema({"mean": torch.tensor([2.0, 2.0])}, decay=0.0)
    set_mean(toy, 3.0)
    policy = Policy(toy, toy.velocities, old, partial(reference.swapped_into, toy))
    with policy.as_old():
        assert toy.mean.tolist() == [1.0, 1.0]
        assert not torch.is_grad_enabled()
    with policy.as_reference():
        assert toy.mean.tolist() == [2.0, 2.0]
    assert toy.mean.tolist() == [3.0, 3.0]
    with Policy(toy, toy.velocities).as_old():
        assert toy.mean.tolist() == [3.0, 3.0]


def test_only_what_is_trained_is_kept(toy):
    toy.frozen = nn.Parameter(torch.zeros(3), requires_grad=False)
    assert set(trained_weights(toy)) == {"mean"}


def test_the_reference_outlives_the_process(toy, tmp_path):
    set_mean(toy, 7.0)
    kept = keep_reference(tmp_path, toy)
    set_mean(toy, 8.0)
    for reference in (kept, read_reference(tmp_path, toy)):
        assert reference.weights["mean"].tolist() == [7.0, 7.0]


def test_a_run_that_goes_on_from_another_one_has_the_reference_of_that_one(toy, tmp_path):
    set_mean(toy, 7.0)
    keep_reference(tmp_path, toy)
    other = tmp_path / "other"
    other.mkdir()
    set_mean(toy, 8.0)
    keep_reference(other, toy)  # of a run that came to nothing
    for begun_in in (tmp_path, None, other):
        assert read_reference(other, toy, begun_in=begun_in).weights["mean"].tolist() == [7.0, 7.0]


def test_a_reference_that_is_gone_or_of_another_model(toy, tmp_path):
    with pytest.raises(WeightsError, match=r"reference.safetensors, which cannot be read"):
        read_reference(tmp_path, toy)
    keep_reference(tmp_path, nn.Linear(2, 2))
    with pytest.raises(WeightsError, match="another model"):
        read_reference(tmp_path, toy)
    (tmp_path / REFERENCE_FILE).write_bytes(b"torn")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_reference(tmp_path, toy)

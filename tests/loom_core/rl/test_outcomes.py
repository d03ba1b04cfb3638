"""Answers as pictures: source and target of a prompt are decoded once."""

from __future__ import annotations

from dataclasses import replace

import torch

from loom_core.rl.outcomes import Pictures
from loom_core.rl.rollout import Rollout


class Codec:
    """Pictures of the size of the latents, as grey as their mean."""

    tile_latents = None

    def __init__(self):
        self.calls = 0

    def decode(self, latents):
        self.calls += 1
        assert latents.dtype == torch.float32
        return latents.mean().clamp(-1, 1).expand(1, 3, 1, 4, 4)


def test_outcomes_have_what_was_asked_and_what_came(make_prompt):
    sample = replace(make_prompt(task="edit-image").sample, source=torch.zeros(1, 1, 2, 2))
    plain = make_prompt(1).sample
    codec = Codec()
    rollouts = [
        Rollout(prompt=number, sample=each, seed=turn, clean=torch.full((1, 1, 2, 2), -1.0 + turn))
        for number, each in enumerate((sample, plain))
        for turn in range(3)
    ]
    outcomes = Pictures(codec, device=torch.device("cpu"))(rollouts)
    assert codec.calls == 6 + 2 + 1
    assert [int(outcome.frames[0, 0, 0, 0]) for outcome in outcomes[:3]] == [0, 128, 255]
    assert all(outcome.frames.shape == (1, 4, 4, 3) and outcome.frames.dtype == torch.uint8 for outcome in outcomes)
    assert {int(outcome.truth.max()) for outcome in outcomes} == {255}
    assert [outcome.source is None for outcome in outcomes] == [False] * 3 + [True] * 3
    assert int(outcomes[0].source.max()) == 128
    assert outcomes[4].sample is plain
    assert outcomes[4].latents is rollouts[4].clean

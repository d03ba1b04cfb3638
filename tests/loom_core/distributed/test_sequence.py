"""A DiT over two processes predicts what it predicts in one."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch

from loom_core.config.model import DiTConfig
from loom_core.distributed.sequence import SequenceParallel
from loom_core.errors import ConfigError
from loom_core.models.dit import LoomDiT
from loom_core.models.initialise import initialise
from loom_core.sampling.denoise import denoise
from loom_core.sampling.guidance import guided_velocity
from loom_core.sampling.schedule import flow_schedule
from loom_core.sampling.solvers import get_solver
from loom_core.types import Branch, Condition, Reference

SIZES = DiTConfig(
    hidden_size=64, num_heads=4, head_dim=16, num_layers=2, ffn_dim=96, in_channels=8, out_channels=8,
    time_embed_dim=32, mllm_dim=24,
)  # fmt: skip


def made(*, references):
    """A model whose every weight does something, latents of 1 * 3 * 5 = 15 tokens, and conditions."""
    generator = torch.Generator().manual_seed(0)
    model = LoomDiT(SIZES)
    initialise(model, generator=generator)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))

    def noise(*shape):
        return torch.randn(*shape, generator=generator)

    latents = noise(len(references), 8, 1, 6, 10)
    conditions = [
        Condition(
            tuple(noise(5 + sample, 24) for _ in range(2)),
            noise(8, 1, 6, 10),
            tuple(Reference(noise(8, 1, 2 * rows, 4)) for rows in sizes),
        )
        for sample, sizes in enumerate(references)
    ]
    return model, latents, torch.full((len(references),), 700.0), conditions


@torch.no_grad()
def shared(_ranks, references):
    model, latents, timestep, conditions = made(references=references)
    prepared = model.prepare(conditions, latents)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # every rank would write torch's into the user's terminal
        return SequenceParallel(model)(latents, timestep, prepared)


@pytest.mark.parametrize(
    "references",
    [[()], [(1,)], [(1, 2)], [(9, 2)], [(), (1,)]],
    ids=["none", "one", "two, odd", "more than the target", "a batch with padding"],
)
@torch.no_grad()
def test_two_ranks_predict_as_one_does(processes, references):
    """15 target tokens and any number of reference tokens: runs begin and end anywhere."""
    model, latents, timestep, conditions = made(references=references)
    expected = model(latents, timestep, model.prepare(conditions, latents))
    for found in processes.in_ranks(shared, references):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


WEIGHTS = {Branch.UNCONDITIONAL: -0.5, Branch.VISUAL: -1.0, Branch.FULL: 2.5}


def denoised(_ranks, make):
    model, latents, _, (condition,) = made(references=[(1, 2)])
    branches = {
        Branch.FULL: condition,
        Branch.VISUAL: replace(condition, mllm_hidden_states=tuple(x[:2] for x in condition.mllm_hidden_states)),
        Branch.UNCONDITIONAL: Condition(condition.mllm_hidden_states),
    }
    with torch.no_grad():
        prepared = {branch: model.prepare([entry], latents) for branch, entry in branches.items()}
    return denoise(
        guided_velocity(make(model), prepared, WEIGHTS, dtype=torch.float32),
        latents,
        schedule=flow_schedule(6, shift=5.0),
        solver=get_solver("unipc"),
    )


def test_guided_latents_after_all_steps_are_those_of_one_process(processes):
    expected = denoised(None, lambda model: model)
    first, second = processes.in_ranks(denoised, SequenceParallel)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, expected, rtol=1e-6, atol=1e-6)


def three(_ranks):
    with pytest.raises(ConfigError, match="3 processes for a model of 4 attention heads"):
        SequenceParallel(LoomDiT(SIZES, device="meta"))
    return True


def test_heads_that_three_cannot_share_are_refused(processes):
    assert processes.in_ranks(three, size=3) == [True] * 3

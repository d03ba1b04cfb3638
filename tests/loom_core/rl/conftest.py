"""A policy of two parameters, whose distribution is known, and a DiT small enough to learn in a moment."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from loom_core.config.rl import RewardSettings, RLConfig, RLSettings, RolloutSettings
from loom_core.data.sample import EncodedSample
from loom_core.data.tasks import TRAINING_TASKS
from loom_core.rl.rewards.base import Outcome
from loom_core.rl.rollout import Prompt, Rollout, RolloutPlan
from loom_core.types import Branch, Condition

SPREAD = 0.5


def _training_fixtures():
    """The fixtures of the trainer's tests, which are no package."""
    path = Path(__file__).resolve().parent.parent / "training" / "conftest.py"
    spec = importlib.util.spec_from_file_location("training_fixtures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ToyPolicy(nn.Module):
    """The exact flow to a normal distribution of standard deviation 0.5, whose mean in each row is a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2))
        self.calls = []

    def velocities(self, latents, timestep, conditions, *, rounded_time=False):
        assert len(latents) == len(timestep) == len(conditions)
        self.calls.append(len(latents))
        return [self._velocity(*pair) for pair in zip(latents, timestep / 1000, strict=True)]

    def _velocity(self, latents, t):
        mean = self.mean.view(2, 1)
        scaled = (latents - (1 - t) * mean) / ((1 - t) ** 2 * SPREAD**2 + t**2)
        clean = mean + (1 - t) * SPREAD**2 * scaled
        return t * scaled - clean


@pytest.fixture
def toy() -> ToyPolicy:
    return ToyPolicy()


@pytest.fixture
def make_prompt() -> Callable[..., Prompt]:
    def prompt(seed: int = 0, *, task: str = "text-to-image") -> Prompt:
        sample = EncodedSample(
            key=f"prompt {seed}",
            task=TRAINING_TASKS[task],
            instruction="Be one.",
            target=torch.ones(1, 1, 2, 2),
            seed=seed,
        )
        return Prompt(sample, {Branch.FULL: Condition((torch.zeros(3, 1),))}, {Branch.FULL: 1.0})

    return prompt


@pytest.fixture
def make_plan() -> Callable[..., RolloutPlan]:
    def plan(*, noise_level: float = 0.0, token_budget: int = 16, **settings) -> RolloutPlan:
        chosen = {"group_size": 4, "num_inference_steps": 6, "shift": 1.0, **settings}
        return RolloutPlan(RolloutSettings(**chosen), token_budget, noise_level=noise_level)

    return plan


def shown(rollouts: list[Rollout]) -> list[Outcome]:
    """Outcomes whose pictures say nothing."""
    grey = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    return [Outcome(sample=each.sample, frames=grey, truth=grey, latents=each.clean) for each in rollouts]


@pytest.fixture
def outcomes_of() -> Callable[[list[Rollout]], list[Outcome]]:
    return shown


@pytest.fixture
def make_outcome(make_prompt) -> Callable[..., Outcome]:
    """An outcome of given pictures."""

    def outcome(frames, *, truth=None, source=None, latents=None, task="edit-video") -> Outcome:
        return Outcome(
            sample=make_prompt(task=task).sample,
            frames=frames,
            truth=frames if truth is None else truth,
            source=source,
            latents=torch.ones(1, 1, 2, 2) if latents is None else latents,
        )

    return outcome


@pytest.fixture
def training():
    """What the trainer's tests have: `micro_config`, `build_objective`, `MemoryPacks`, `Recorder`."""
    return _training_fixtures()


@pytest.fixture
def rl_settings() -> RLSettings:
    return RLSettings(
        rewards=(RewardSettings(kind="sharpness"),),
        rollout=RolloutSettings(group_size=4, num_inference_steps=3),
        kl=0.0,
        old_ramp=0.1,
    )


@pytest.fixture
def config(training, tmp_path, rl_settings) -> RLConfig:
    """An RL run of a DiT of two blocks on samples in memory."""
    plain = training.micro_config(tmp_path / "run", ema=0.5)
    values = {entry.name: getattr(plain, entry.name) for entry in fields(plain)}
    return RLConfig(**values, rl=rl_settings)


@pytest.fixture
def world(training, config, tmp_path) -> RLConfig:
    """The same on the procedural world, with the built-in MLLM and codec."""
    options = {"count": 8, "size": [64, 64], "frames": [5], "tasks": {"edit-video": 1.0, "text-to-image": 1.0}}
    sets = (replace(config.data.sets[0], options=options),)
    return replace(
        config,
        steps=2,
        data=replace(config.data, sets=sets, token_budget=600, max_samples_per_pack=2),
        model=replace(config.model, sizes={**config.model.sizes, "mllm_dim": 128}),
        rl=replace(
            config.rl,
            rewards=(RewardSettings(kind="world-unchanged"), RewardSettings(kind="sharpness", weight=0.5)),
            rollout=RolloutSettings(group_size=2, num_inference_steps=2),
            kl=1e-3,
        ),
    )

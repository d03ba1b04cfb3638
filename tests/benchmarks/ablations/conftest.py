"""Samples and prompt states for the small model of `benchmarks/conftest.py`, and results of runs that nobody made."""

from __future__ import annotations

import pytest
import torch

from loom_core.data.sample import EncodedSample
from loom_core.data.seeds import seeded_generator
from loom_core.data.tasks import TRAINING_TASKS
from loom_core.training.objective import ObjectiveSettings, PackObjective


def _read_prompts(contents):
    """States [5, 16] of two layers, each its own, that depend on the words."""
    states = []
    for content in contents:
        generator = seeded_generator("states", "".join(item for item in content if isinstance(item, str)))
        states.append(tuple(torch.randn(5, 16, generator=generator) for _ in range(2)))
    return states


@pytest.fixture
def make_sample():
    def make(index=0, *, task="edit-image", frames=1):
        kind = TRAINING_TASKS[task]
        generator = seeded_generator("sample", index)
        latents = torch.randn(4, 4, frames, 4, 6, generator=generator)
        return EncodedSample(
            key=f"sample {index}",
            task=kind,
            instruction=f"Do number {index}.",
            target=latents[0],
            source=latents[1] if kind.needs_source else None,
            references=(latents[2][:, :1], latents[3][:, :1]) if kind.needs_references else (),
            seed=index,
        )

    return make


@pytest.fixture
def samples(make_sample):
    """An edit, one with references, a clip from references, and a caption."""
    tasks = ("edit-image", "reference-edit", "reference-to-video", "text-to-image")
    return tuple(make_sample(index, task=task, frames=2 if "video" in task else 1) for index, task in enumerate(tasks))


@pytest.fixture
def objective(model) -> PackObjective:
    model.requires_grad_(True)
    return PackObjective(model, _read_prompts, ObjectiveSettings(shift_scale=0.5, noise_draws=2))


@pytest.fixture
def make_result():
    """`make_result(variant, seed, loss=..., right=...)`: a run of three measurements that ends there."""

    def make(variant, seed, *, loss, right=0.25, samples=120, tokens=1920, budget=2e12, fingerprint="f"):
        curve = [
            {
                "flops": budget * mark / 2,
                "samples": samples * mark // 2,
                "loss": loss * (3 - mark),
                "by_task": {"edit-image": loss + 0.01, "text-to-image": loss - 0.01},
                "by_noise": {"low": loss + 0.1, "mid": loss, "high": loss - 0.1},
            }
            for mark in range(3)
        ]
        return {
            "variant": variant, "seed": seed, "budget": budget, "fingerprint": fingerprint, "steps": 10,
            "samples": samples, "passes": 2 * samples, "tokens": tokens, "flops": budget, "processor_seconds": 50.0,
            "curve": curve, "software": "LoomVideo 0",
            "environment": {"torch": "2", "system": "any", "processor": "any", "threads": 1},
            "judged": {"right": right, "asked": right + 0.1, "samples": 100},
        }  # fmt: skip

    return make

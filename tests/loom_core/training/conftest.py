"""A run small enough to take a step in a moment: a DiT of two blocks, samples in memory, states of no real MLLM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from loom_core.config.data import DataConfig, DataSetConfig
from loom_core.config.training import (
    CheckpointSettings,  # noqa: F401 - for programs that load this file
    ModelSettings,
    OptimiserSettings,
    TrainingConfig,
    ValidationSettings,
)
from loom_core.data.packing import Pack
from loom_core.data.sample import EncodedSample
from loom_core.data.seeds import derive_seed, seeded_generator
from loom_core.data.tasks import TRAINING_TASKS
from loom_core.training.checkpoint import RunState
from loom_core.training.ema import Ema
from loom_core.training.objective import ObjectiveSettings, PackObjective
from loom_core.training.optimiser import Optimiser
from loom_core.training.starting import starting_model
from loom_core.training.trainer import Trainer
from loom_core.training.watch.observer import SilentObserver

SIZES = {
    "hidden_size": 64, "num_heads": 2, "head_dim": 32, "num_layers": 2, "ffn_dim": 96, "in_channels": 48,
    "out_channels": 48, "time_embed_dim": 32, "mllm_dim": 24,
}  # fmt: skip


def read_prompts(contents: Sequence[Sequence[object]]) -> list[tuple[torch.Tensor, ...]]:
    """States that depend on the words alone."""
    states = []
    for content in contents:
        text = "".join(item for item in content if isinstance(item, str))
        generator = seeded_generator("states", text)
        states.append(tuple(torch.randn(3, SIZES["mllm_dim"], generator=generator) for _ in range(SIZES["num_layers"])))
    return states


def encoded(index: int, *, seed: int, task: str = "edit-image", frames: int = 1, side: int = 4) -> EncodedSample:
    """One of a few samples, the same at every call but for its seed."""
    kind = TRAINING_TASKS[task]
    generator = seeded_generator("sample", index)
    latents = torch.randn(3, 48, frames, side, side, generator=generator)
    return EncodedSample(
        key=f"sample {index}",
        task=kind,
        instruction=f"Do number {index}.",
        target=latents[0],
        source=latents[1] if kind.needs_source else None,
        references=(latents[2][:, :1],) if kind.needs_references else (),
        seed=seed,
    )


class MemoryPacks:
    """Endless packs of a few samples in memory, from a position on."""

    def __init__(self, *, num_samples: int = 6, per_pack: int = 2, seed: int = 0, position: int = 0) -> None:
        self.num_samples, self.per_pack, self.seed, self.position = num_samples, per_pack, seed, position

    def __iter__(self) -> Iterator[Pack]:
        return self

    def __next__(self) -> Pack:
        tasks = ("edit-image", "text-to-image", "text-to-video", "reference-edit")
        places = range(self.position, self.position + self.per_pack)
        self.position += self.per_pack
        samples = tuple(
            encoded(
                place % self.num_samples,
                seed=derive_seed(self.seed, place),
                task=tasks[place % len(tasks)],
                frames=1 + place % 2,
            )
            for place in places
        )
        tokens = sum(sample.shift_tokens for sample in samples)
        return Pack(samples, tokens, {"position": self.position})


class Recorder(SilentObserver):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps, self.notes, self.checkpoints, self.validations, self.samples = [], [], [], [], []
        self.bad_samples = []
        self.is_closed = False

    def on_step(self, metrics):
        self.steps.append(metrics)

    def on_note(self, text):
        self.notes.append(text)

    def on_bad_samples(self, step, samples):
        self.bad_samples.append((step, samples))

    def on_checkpoint(self, step, path):
        self.checkpoints.append((step, path))

    def on_validation(self, metrics):
        self.validations.append(metrics)

    def on_samples(self, step, rows):
        self.samples.append((step, rows))

    def close(self):
        self.is_closed = True


def micro_config(run: Path, **changes) -> TrainingConfig:
    config = TrainingConfig(
        name="micro",
        run=run,
        steps=6,
        data=DataConfig(sets=(DataSetConfig(kind="world"),), sizes=((64, 64),), num_frames=5),
        model=ModelSettings(preset="tiny", sizes=SIZES),
        optimiser=OptimiserSettings(lr=1e-2, warmup=0),
        precision="fp32",
        gradient_checkpointing=False,
        ema=0.99,
        validation=ValidationSettings(every=0),
    )
    return replace(config, **changes)


def build_objective(model, **settings) -> PackObjective:
    return PackObjective(model, read_prompts, ObjectiveSettings(**{"shift_scale": 0.5, **settings}))


def build_trainer(config: TrainingConfig, *, state: RunState | None = None, **changes) -> Trainer:
    """A run from its start, with any of the trainer's arguments changed."""
    model = changes.pop("model", None) or starting_model(config)
    optimiser = changes.pop("optimiser", None) or Optimiser(model, config.optimiser)
    ema = Ema(optimiser.weights, decay=config.ema) if config.ema and "ema" not in changes else None
    arguments = {
        "model": model,
        "optimiser": optimiser,
        "ema": ema,
        "packs": MemoryPacks(seed=config.seed),
        "objective": build_objective(
            model,
            autocast=config.precision == "bf16-autocast",
            checkpointing=config.gradient_checkpointing,
            noise_draws=config.noise_draws,
        ),
        "state": state or RunState(),
    }
    return Trainer(config, **{**arguments, **changes})


@pytest.fixture
def model(config):
    """A model of the config's sizes whose every weight does something."""
    model = starting_model(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return model


@pytest.fixture
def config(tmp_path) -> TrainingConfig:
    return micro_config(tmp_path / "run")


@pytest.fixture
def world(config):
    """A few small pictures a step."""
    options = {"count": 8, "size": [64, 64], "frames": [5], "tasks": {"edit-image": 1.0, "text-to-video": 1.0}}
    held_out = DataSetConfig(kind="world", name="held-out", options={**options, "split": "held-out"})
    return replace(
        config,
        steps=2,
        data=DataConfig(
            sets=(DataSetConfig(kind="world", options=options),),
            sizes=((64, 64),),
            num_frames=5,
            token_budget=600,
            max_samples_per_pack=2,
            dropout_text=0.2,
        ),
        model=replace(config.model, sizes={**config.model.sizes, "mllm_dim": 128}),
        validation=ValidationSettings(sets=(held_out,), every=2, samples=2, picture_steps=2),
    )


@pytest.fixture
def sample_of() -> Callable[..., EncodedSample]:
    return encoded


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def make_objective() -> Callable[..., PackObjective]:
    return build_objective


@pytest.fixture
def make_packs() -> Callable[..., MemoryPacks]:
    return MemoryPacks


@pytest.fixture
def make_trainer(recorder) -> Callable[..., Trainer]:
    """`make_trainer(config, **changes)`, with the recorder as observer."""

    def make(config: TrainingConfig, **changes) -> Trainer:
        return build_trainer(config, **{"observer": recorder, **changes})

    return make

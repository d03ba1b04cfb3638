"""Make loom-tiny's DiT: random values, then a short warm-up on a handful of simple edits.

    python scripts/make_tiny_dit.py [--output FILE] [--steps N] [--state FILE]

This is **not** the recipe of the paper: a few thousand steps on one core, so that the built-in model has something to
show when it is tried. It learns to carry a source over and to change its colours as a whole; it obeys the phrases
below and little else. Material: the moving leaves that the codec was fitted on (see `fit_tiny_codec.py`), made from a
fixed seed; the right answer to each edit is computed from the source's pixels.

`--state` names a file from which an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from loom_core import __version__
from loom_core.bundle import BUILT_IN
from loom_core.config.model import DiTConfig
from loom_core.media.resize import to_frames
from loom_core.mllm.encoder import QwenEncoder
from loom_core.models.dit import LoomDiT
from loom_core.models.initialise import initialise
from loom_core.training.flow import noised_latents, pack_loss, velocity_target
from loom_core.training.timesteps import noise_levels
from loom_core.types import Clip, Condition, Reference, Task
from loom_core.vae.linear import LinearCodec
from loom_core.weights.saving import entries_of, save_safetensors

CONFIG = DiTConfig(
    hidden_size=320, num_heads=5, head_dim=64, num_layers=4, ffn_dim=640, time_embed_dim=256, mllm_dim=128
)
SEED = 0
NUM_CLIPS = 192
BATCH = 12
SHIFT = 2.0
PEAK_RATE, LAST_RATE, WARM_UP = 1e-3, 5e-5, 100
EMA_DECAY = 0.998
DROP_ALL, DROP_TEXT = 0.1, 0.2
REFERENCE_SHARE = 0.3
NEGATIVE_PROMPT = ""
GREY = torch.tensor([0.299, 0.587, 0.114])[:, None, None, None]
logger = logging.getLogger("make_tiny_dit")


def _grey(pixels: Tensor) -> Tensor:
    return (pixels * GREY).sum(0, keepdim=True).expand_as(pixels)


def _tinted(pixels: Tensor, red: float, blue: float) -> Tensor:
    return (pixels + torch.tensor([red, 0.0, blue])[:, None, None, None]).clamp(-1, 1)


EDITS: dict[str, Callable[[Tensor], Tensor]] = {
    "Keep everything as it is.": lambda pixels: pixels,
    "Make it black and white.": _grey,
    "Make it warmer.": lambda pixels: _tinted(pixels, 0.35, -0.35),
    "Make it colder.": lambda pixels: _tinted(pixels, -0.35, 0.35),
    "Make it darker.": lambda pixels: pixels * 0.5 - 0.5,
}
"""Instruction -> what it does to pixels [3, F, H, W] in [-1, 1]."""

REFERENCE_EDIT = "Paint everything in the colour of @Image 1."


def painted(pixels: Tensor, reference: Tensor) -> Tensor:
    """The source's light and dark in the mean colour of the reference; both [3, F, H, W] in [-1, 1]."""
    colour = reference.mean(dim=(1, 2, 3), keepdim=True)
    return (colour + 0.8 * (_grey(pixels) - _grey(pixels).mean())).clamp(-1, 1)


def load_leaves() -> ModuleType:
    """The neighbouring script that makes the material."""
    spec = importlib.util.spec_from_file_location("fit_tiny_codec", Path(__file__).with_name("fit_tiny_codec.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Sample:
    """One training sample: a condition for each branch, and the right answer [C, F, H, W]."""

    full: Condition
    visual: Condition
    target: Tensor


class Material:
    """All samples that training draws from, encoded once."""

    def __init__(self, encoder: QwenEncoder, codec: LinearCodec) -> None:
        generator = torch.Generator().manual_seed(SEED)
        leaves = load_leaves()
        self._encoder, self._codec = encoder, codec
        self.clips = [leaves.moving_leaves(generator) for _ in range(NUM_CLIPS)]
        self.unconditional = Condition(self._states(Task.TEXT_TO_IMAGE, NEGATIVE_PROMPT, unconditional=True))
        self._known: dict[tuple[int, int], Sample] = {}

    def _states(self, task: Task, prompt: str, *, unconditional: bool = False) -> tuple[Tensor, ...]:
        encoded = self._encoder.encode(task, prompt, negative_prompt=NEGATIVE_PROMPT)
        return encoded.negative if unconditional else encoded.full

    def _latents(self, pixels: Tensor) -> Tensor:
        return self._codec.encode(pixels[None])[0]

    def sample(self, clip: int, edit: int) -> Sample:
        """Sample of a clip and an edit; the number after the last edit is the one with a reference."""
        if (clip, edit) not in self._known:
            self._known[clip, edit] = self._make(clip, edit)
        return self._known[clip, edit]

    def _make(self, clip: int, edit: int) -> Sample:
        pixels = self.clips[clip]
        source = Clip(to_frames(pixels), 24.0)
        task, references, pictures = Task.EDIT_VIDEO, (), []
        if edit == len(EDITS):
            still = self.clips[(clip * 7 + 3) % NUM_CLIPS][:, :1]
            task, prompt, target = Task.REFERENCE_EDIT, REFERENCE_EDIT, painted(pixels, still)
            references = (Reference(self._latents(still)),)
            pictures = [Clip(to_frames(still), 0.0, is_image=True)]
        else:
            prompt = list(EDITS)[edit]
            target = EDITS[prompt](pixels)
        states = self._encoder.encode(task, prompt, negative_prompt=NEGATIVE_PROMPT, source=source, references=pictures)
        latents = self._latents(pixels)
        assert states.visual is not None
        return Sample(
            full=Condition(states.full, latents, references),
            visual=Condition(states.visual, latents, references),
            target=self._latents(target),
        )

    def batch(self, generator: torch.Generator) -> tuple[list[Condition], Tensor]:
        """Conditions, some of them dropped, and right answers [B, C, F, H, W]."""
        conditions, targets = [], []
        for _ in range(BATCH):
            chance = torch.rand(3, generator=generator)
            edit = len(EDITS) if chance[0] < REFERENCE_SHARE else int(chance[1] * len(EDITS))
            clip = int(torch.randint(NUM_CLIPS, (1,), generator=generator))
            sample = self.sample(clip, edit)
            if chance[2] < DROP_ALL:
                conditions.append(self.unconditional)
            else:
                conditions.append(sample.visual if chance[2] < DROP_TEXT else sample.full)
            targets.append(sample.target)
        return conditions, torch.stack(targets)


def rate(step: int, steps: int) -> float:
    """Learning rate: up over the first steps, then down a cosine."""
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    done = (step - WARM_UP) / max(1, steps - WARM_UP)
    return LAST_RATE + (PEAK_RATE - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))


def train(model: LoomDiT, material: Material, *, steps: int, state_file: Path | None) -> dict[str, Tensor]:
    """Warm the model up; returns its averaged weights."""
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = 0
    if state_file is not None and state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average, first = state["average"], state["step"]
    losses: list[float] = []
    for step in range(first, steps):
        generator = torch.Generator().manual_seed(SEED + 1 + step)
        conditions, clean = material.batch(generator)
        noise = torch.randn(clean.shape, generator=generator)
        level = noise_levels(1.2 * torch.randn(BATCH, generator=generator), torch.full((BATCH,), SHIFT))
        noised = noised_latents(clean, noise, level)
        prediction = model(noised, level * 1000, model.prepare(conditions, noised))
        loss = pack_loss([prediction], [velocity_target(clean, noise)])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = rate(step, steps)
        optimiser.step()
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            average[name].lerp_(tensor, 1 - decay)
        losses.append(loss.item())
        if (step + 1) % 50 == 0:
            logger.info("step %d of %d: loss %.4f", step + 1, steps, sum(losses[-50:]) / len(losses[-50:]))
        if state_file is not None and (step + 1) % 200 == 0:
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "average": average}
            torch.save({**state, "step": step + 1}, state_file)
    return average


def main() -> None:
    """Make the weights and write them in bfloat16."""
    parser = argparse.ArgumentParser(description="Make loom-tiny's DiT.")
    parser.add_argument("--output", type=Path, default=BUILT_IN / "dit.safetensors")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--state", type=Path, help="file from which an interrupted run goes on")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    encoder = QwenEncoder.load(
        BUILT_IN / "mllm", num_blocks=CONFIG.num_layers, dtype=torch.float32, device=torch.device("cpu")
    )
    material = Material(encoder, LinearCodec.load(BUILT_IN / "codec.safetensors"))
    model = LoomDiT(CONFIG)
    initialise(model, generator=torch.Generator().manual_seed(SEED))
    weights = train(model, material, steps=arguments.steps, state_file=arguments.state)
    told = {"steps": arguments.steps, "batch": BATCH, "clips": NUM_CLIPS, "edits": [*EDITS, REFERENCE_EDIT]}
    metadata = {
        "format": "loomvideo-dit",
        "format_version": "1",
        "config": CONFIG.to_json(),
        "made_by": f"scripts/make_tiny_dit.py, loom_core {__version__}",
        "training": json.dumps(told),
    }
    save_safetensors(arguments.output, entries_of(weights, dtype=torch.bfloat16), metadata=metadata)


if __name__ == "__main__":
    main()

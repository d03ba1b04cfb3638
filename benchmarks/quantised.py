"""What quantised weights save and lose: bytes of files and in memory, and how far answers move.

Of the built-in model every form is held against the same weights in float32. Beside it stands what computing in
bfloat16 alone does. Recorded cases and the released models' sizes have modules of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from loom_core.bundle import ModelFiles, find_model
from loom_core.compute import Compute
from loom_core.config.presets import get_preset
from loom_core.request import Request
from loom_core.sampling.denoise import initial_noise
from loom_core.training.flow import noised_latents
from loom_core.weights.convert import convert_checkpoint
from loom_core.weights.quantise import SCHEMES, Scheme

from . import quantised_golden, quantised_sizes
from .reference import relative_error
from .registry import Benchmark
from .report import Comparison, Figure
from .shortcuts import DEMO, EXACT, WAYS, prepare

LEVELS = (0.9, 0.5, 0.1)
"""Noise levels at which velocities are compared."""
MEGA = 1e6
REQUEST = Request(prompt="Make the blue square red.", source=DEMO / "shapes.png")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model says.

    Args:
        velocities: Of all branches at all levels, in one row.
        latents: The result.
    """

    velocities: Tensor
    latents: Tensor


@torch.no_grad()
def answer(files: ModelFiles, *, dtype: torch.dtype, about: Tensor | None = None) -> Answer:
    """What a model says to the request.

    Args:
        files: Of the model.
        dtype: In which it computes.
        about: Clean latents that are noised for the velocities; None for its own result.
    """
    prepared = prepare(REQUEST, files, preset=get_preset("tiny"), compute=Compute(dtype=dtype))
    latents, _ = prepared.denoise(WAYS[EXACT])
    clean = (latents if about is None else about).float()
    noise = initial_noise(tuple(clean.shape), seed=0, device=clean.device)
    found = []
    for level in LEVELS:
        given = noised_latents(clean, noise, torch.full((1,), level)).to(dtype)
        for conditions in prepared.conditions.values():
            velocity = prepared.model(given, torch.full((1,), 1000 * level), conditions)
            found.append(velocity.float().flatten())
    return Answer(velocities=torch.cat(found), latents=latents.float())


def quantised_file(files: ModelFiles, scheme: Scheme | None, folder: Path) -> Path:
    """The DiT's weights in a form; without one in bfloat16."""
    name = "bf16" if scheme is None else scheme.name
    target = folder / f"{name}.{'gguf' if name.startswith('gguf') else 'safetensors'}"
    convert_checkpoint(files.dit, target, dtype=torch.bfloat16, scheme=scheme)
    return target


def _compared(key: str, title: str, first: Figure, second: Figure, unit: str) -> Comparison:
    conditions = f"loom-tiny, {REQUEST.prompt!r}, an image edit at the tiny preset; the blocks' matrices quantised"
    return Comparison(key=key, title=title, first=first, second=second, unit=unit, conditions=conditions)


def measure() -> Iterator[Comparison]:
    """Sizes, then errors of each form, of recorded models and of the built-in one."""
    yield from quantised_sizes.measure()
    yield from quantised_golden.measure()
    files = find_model()
    exact = answer(files, dtype=torch.float32)
    rounded = answer(files, dtype=torch.bfloat16, about=exact.latents)
    with TemporaryDirectory() as folder:
        plain = quantised_file(files, None, Path(folder)).stat().st_size / MEGA
        for name, scheme in SCHEMES.items():
            word = name.replace("-", "_")
            path = quantised_file(files, scheme, Path(folder))
            size = Figure(name, path.stat().st_size / MEGA)
            yield _compared(f"quantised_size_{word}", f"file of the DiT, {name}", Figure("bf16", plain), size, "MB")
            found = answer(replace(files, dit=path), dtype=torch.float32, about=exact.latents)
            for part in ("velocities", "latents"):
                errors = (
                    Figure(label, relative_error(getattr(one, part), getattr(exact, part)))
                    for label, one in (("computed in bf16", rounded), (name, found))
                )
                title = f"relative error of {'the velocities' if part == 'velocities' else 'the result'}, {name}"
                yield _compared(f"quantised_{part}_{word}", title, *errors, "relative")


def _missing() -> str | None:
    return None if find_spec("gguf") else "it needs the Python package gguf: pip install gguf"


BENCHMARK = Benchmark(about="bytes and errors of quantised weights", seconds=15, measure=measure, missing=_missing)

"""Small models that are run while their live tensors are counted, and what is planned for the same run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.flash_operations import FlashOperations
from benchmarks.live_memory import peak_live_bytes
from loom_core import pipeline
from loom_core.compute import Compute
from loom_core.config.model import LOOMVIDEO_5B, DiTConfig
from loom_core.config.sampling import SamplingConfig
from loom_core.geometry import latent_shape
from loom_core.models.dit import LoomDiT
from loom_core.offload.blocks import streamed
from loom_core.planning.denoise import Denoising, forward_bytes
from loom_core.planning.plan import DENOISE, Measures, Setting, phase_of
from loom_core.planning.run import RunSizes
from loom_core.planning.sizes import FORMATS, ModelSizes, WeightFormat, dit_weights
from loom_core.planning.streaming import block_bytes
from loom_core.request import Plan, Request
from loom_core.types import Branch, Condition, Reference, Task
from loom_core.weights.convert import convert_checkpoint
from loom_core.weights.loading import load_dit
from loom_core.weights.quantise import SCHEMES, Scheme
from loom_core.weights.saving import entries_of, save_safetensors

SMALL = DiTConfig(
    hidden_size=96, num_heads=4, head_dim=24, num_layers=3, ffn_dim=416, in_channels=16, out_channels=16,
    time_embed_dim=32, mllm_dim=80,
)  # fmt: skip
STEPS = 3  # enough for a solver to have its whole history


def pipeline_plan(run: RunSizes) -> Plan:
    """The plan of a run as the pipeline knows it; its files are never opened."""
    source = Path("source.mp4") if run.has_source else None
    request = Request(
        prompt="a boat", source=source, references=tuple(Path(f"{n}.png") for n in range(run.num_references))
    )
    return Plan(
        request=request,
        task=Task.EDIT_VIDEO,
        width=run.width,
        height=run.height,
        num_frames=run.num_frames,
        fps=24.0,
        sampling=SamplingConfig(num_inference_steps=STEPS, guidance_scale=2.5, visual_guidance_scale=1.5),
    )


def random_conditions(run: RunSizes, config: DiTConfig, dtype: torch.dtype) -> dict[Branch, Condition]:
    """Conditions of all branches, of the sizes of a run."""

    def latents(frames: int) -> torch.Tensor:
        shape = latent_shape(frames, run.height, run.width)
        return torch.randn(config.in_channels, shape.frames, shape.height, shape.width)

    source = latents(run.num_frames) if run.has_source else None
    references = tuple(Reference(latents(1)) for _ in range(run.num_references))

    def condition(branch: Branch, length: int) -> Condition:
        states = tuple(torch.randn(length, config.mllm_dim, dtype=dtype) for _ in range(config.num_layers))
        return Condition(states) if branch is Branch.UNCONDITIONAL else Condition(states, source, references)

    return {branch: condition(branch, length) for branch, length in run.branches.items()}


def small_model(config: DiTConfig, dtype: torch.dtype) -> LoomDiT:
    """Random weights, small enough for finite latents."""
    model = LoomDiT(config, dtype=dtype).requires_grad_(False)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.02)
    return model


def requantised(model: LoomDiT, scheme: Scheme, folder: Path) -> LoomDiT:
    """A model's weights in another form, loaded as a run loads them."""
    plain = folder / "plain.safetensors"
    metadata = {"format": "loomvideo-dit", "config": model.config.to_json()}
    save_safetensors(plain, entries_of(model.state_dict()), metadata=metadata)
    path = folder / "quantised"
    convert_checkpoint(plain, path, scheme=scheme)
    return load_dit(path, dtype=model.patch_embedding.weight.dtype)


def form_of(dtype: torch.dtype) -> WeightFormat:
    return FORMATS["fp32" if dtype == torch.float32 else "bf16"]


@pytest.fixture(scope="session")
def packed_peaks() -> Callable[..., tuple[int, int]]:
    """(measured, predicted) most bytes of one forward pass of all branches of a run."""

    def measure(run: RunSizes, *, dtype: torch.dtype) -> tuple[int, int]:
        model, conditions = small_model(SMALL, dtype), list(random_conditions(run, SMALL, dtype).values())
        shape = run.target
        latents = torch.randn(len(conditions), SMALL.in_channels, shape.frames, shape.height, shape.width, dtype=dtype)
        with torch.no_grad():
            prepared = model.prepare(conditions, latents)
        timestep = torch.full((len(conditions),), 500.0)
        model(latents, timestep, prepared)  # makes the table of complex turns, which stays
        denoising = Denoising(config=SMALL, run=run, form=form_of(dtype), on_gpu=False)
        return peak_live_bytes(lambda: model(latents, timestep, prepared)), forward_bytes(denoising.together())[1]

    return measure


@pytest.fixture(scope="session")
def denoise_peaks(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[int, int]]:
    """(measured, predicted) most bytes that denoising makes, of preparing and sampling as the pipeline does them."""

    def measure(
        run: RunSizes,
        *,
        dtype: torch.dtype = torch.float32,
        keeps_keys_values: bool = True,
        streamed_blocks: int = 0,
        scheme: str | None = None,
        **changes: Any,
    ) -> tuple[int, int]:
        config = replace(SMALL, **changes)
        plan = pipeline_plan(run)
        compute = Compute(dtype=dtype, keeps_keys_values=keeps_keys_values, streamed_blocks=streamed_blocks)
        model, form = small_model(config, dtype), form_of(dtype)
        if scheme is not None:
            model = requantised(model, SCHEMES[scheme], tmp_path_factory.mktemp("quantised"))
            form = replace(FORMATS[scheme], itemsize=dtype.itemsize)
        conditions = random_conditions(run, config, dtype)

        def denoise() -> torch.Tensor:
            with streamed(model, "blocks", device=compute.device, count=streamed_blocks):
                prepared = pipeline.prepare_branches(plan, conditions, model=model, compute=compute)
                return pipeline.sample(plan, prepared, model=model, compute=compute)

        setting = Setting(run=run, model=ModelSizes(dit=config), form=form, on_gpu=False)
        measures = Measures(keeps_keys_values=keeps_keys_values, streamed_blocks=streamed_blocks)
        phase = phase_of(DENOISE, setting, measures)
        resident = (config.num_layers - streamed_blocks) * block_bytes(config, setting.form)
        outside = setting.form.num_bytes(dit_weights(config)) - config.num_layers * block_bytes(config, setting.form)
        # what was there before the phase is not counted, the slots are
        return peak_live_bytes(denoise), phase.new + phase.peak.weights - resident - outside

    return measure


@pytest.fixture(scope="session")
def released_dit() -> LoomDiT:
    """The released model's sizes, without values; attention as a fused kernel, as on every real device."""
    return LoomDiT(LOOMVIDEO_5B, operations=FlashOperations, device="meta", dtype=torch.bfloat16).requires_grad_(False)


@pytest.fixture(scope="session")
def plan_of() -> Callable[[RunSizes], Plan]:
    return pipeline_plan

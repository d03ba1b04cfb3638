"""This engine against a checkout of the official code, whose folder LOOMVIDEO_OFFICIAL names; needs diffusers.

Only its DiT is used: `LoomVideo.forward_gen`, called without the rest of the model, with our weights under its names.
Modules that its file imports but a forward pass never reaches (flash-attn, its MLLM) are replaced by empty ones.

Counts are at full size on the meta device, where its attention is given the kernel that a CPU would choose, as ours is.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from loom_core.config.model import LOOMVIDEO_5B, DiTConfig
from loom_core.geometry import LatentShape
from loom_core.models.dit import LoomDiT
from loom_core.types import Branch, Condition
from loom_core.weights.key_maps import to_diffusers

from .flash_operations import FlashOperations
from .flops import count_flops
from .live_memory import peak_live_bytes
from .operator_counts import count_operators
from .pointwise_bytes import pointwise_bytes
from .reference import error_figures, in_dtype, relative_error
from .registry import Benchmark
from .report import Comparison, Figure
from .timing import median, ratio_spread, take_turns
from .twin import make_run, random_model
from .workloads import TWIN_IMAGE, TWIN_VIDEO, Workload, full_size_edits, random_condition

VARIABLE = "LOOMVIDEO_OFFICIAL"
PACKAGE = "src.models.transformers"
UNREACHED = {
    "flash_attn": ("flash_attn_varlen_func",),
    f"{PACKAGE}.qwen3vl": ("Qwen3VLForConditionalGeneration",),
    "src.models.utils": ("unfreeze_model",),
}
"""Modules that a forward pass never reaches -> what is imported from them."""
TEXT_DIM, TEXT_TOKENS = 4096, 10
"""Of the T5 embedding, which enters no block."""
GIGA, TERA = 1e9, 1e12
ROUNDS = 3
SMALL = Workload(
    name="small",
    config=DiTConfig(hidden_size=192, num_heads=4, head_dim=48, num_layers=4, ffn_dim=512, mllm_dim=128),
    target=LatentShape(3, 8, 8),
    context_tokens=40,
    references=(LatentShape(1, 8, 6), LatentShape(2, 4, 4)),
)
"""For differences, which need no large model."""

TWINS = {
    "video": TWIN_VIDEO,
    "video_4ref": replace(TWIN_VIDEO, references=(replace(TWIN_VIDEO.target, frames=1),) * 4, context_tokens=608),
    "image": TWIN_IMAGE,
}
"""Edits with the twin; with references the context is a quarter of the 2432 tokens of such an edit at full size."""


class FlashOnMeta(TorchFunctionMode):
    """Has `scaled_dot_product_attention` use the CPU's fused kernel, which the meta device would take apart."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace one function, and pass on all others."""
        options = dict(kwargs or {})
        if func is functional.scaled_dot_product_attention:
            given = [*args, *(options[name] for name in ("query", "key", "value") if name in options)]
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*given[:3])[0]
        return func(*args, **options)


@dataclass(frozen=True)
class OfficialDiT:
    """Their DiT.

    Args:
        model: The transformer with the projector and the source embedding.
        forward_gen: Their forward pass, a method of the whole model.
    """

    model: nn.Module
    forward_gen: Callable[..., Tensor]

    def forward(self, latents: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Velocity [1, C, F, H, W], as `LoomVideo.generate` asks for it.

        Args:
            latents: [1, C, F, H, W].
            timestep: [1].
            condition: With a source; its strength is 1.
        """
        states = [one[None].to(latents) for one in condition.mllm_hidden_states]
        holder = SimpleNamespace(
            und_model=SimpleNamespace(model=SimpleNamespace(language_model=SimpleNamespace(layers=states))),
            gen_model=self.model,
            config=SimpleNamespace(model=SimpleNamespace(und=SimpleNamespace(only_last_hidden_states=False))),
        )
        references = [one.latents[None].to(latents) for one in condition.references]
        return self.forward_gen(
            holder,
            all_und_hidden_states=states,
            gen_hidden_states=latents,
            gen_timestep=timestep,
            gen_encoder_hidden_states=latents.new_zeros(1, TEXT_TOKENS, TEXT_DIM),
            source_hidden_states=cast("Tensor", condition.source_latents)[None].to(latents),
            source_scale=(timestep / 1000).to(latents),
            ref_hidden_states=references or None,
        )


def _modules(checkout: Path) -> tuple[ModuleType, ModuleType]:
    """Their `wan22` and `loomvideo`, with what a forward pass never reaches left out."""
    for name, contents in UNREACHED.items():
        empty = ModuleType(name)
        empty.__spec__ = ModuleSpec(name, None)
        for entry in contents:
            setattr(empty, entry, None)
        sys.modules.setdefault(name, empty)
    sys.path.insert(0, str(checkout))
    try:
        return importlib.import_module(f"{PACKAGE}.wan22"), importlib.import_module(f"{PACKAGE}.loomvideo")
    finally:
        sys.path.remove(str(checkout))


def official_dit(
    checkout: Path, config: DiTConfig, *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> OfficialDiT:
    """Their DiT of our sizes, without weights of its own.

    Args:
        checkout: Folder of their repository.
        config: Sizes.
        device: Where it is made.
        dtype: Of its weights.
    """
    wan22, loomvideo = _modules(checkout)
    with torch.device(device):
        model = wan22.WanTransformer3DModel(
            num_attention_heads=config.num_heads,
            attention_head_dim=config.head_dim,
            in_channels=config.in_channels,
            out_channels=config.out_channels,
            text_dim=TEXT_DIM,
            freq_dim=config.time_embed_dim,
            ffn_dim=config.ffn_dim,
            num_layers=config.num_layers,
            eps=config.eps,
        )
        model.mllm_embedder = loomvideo.PixArtAlphaTextProjectionNorm(config.mllm_dim, config.hidden_size)
        model.source_patch_embedding = nn.Conv3d(
            config.in_channels, config.hidden_size, kernel_size=config.patch_size, stride=config.patch_size
        )
    return OfficialDiT(model.to(dtype).eval().requires_grad_(False), loomvideo.LoomVideo.forward_gen)


def fill(official: OfficialDiT, model: LoomDiT) -> None:
    """Give their DiT the weights of ours; the text embedder, which enters no block, keeps its own.

    Raises:
        RuntimeError: A weight of either has no place in the other.
    """
    state = {to_diffusers(name): tensor for name, tensor in model.state_dict().items()}
    missing, unexpected = official.model.load_state_dict(state, strict=False)
    missing = [name for name in missing if ".text_embedder." not in name]
    if missing or unexpected:
        raise RuntimeError(f"the official DiT lacks {unexpected} and is not given {missing}")


def missing() -> str | None:
    """Why it cannot run here."""
    checkout = os.environ.get(VARIABLE)
    if not checkout:
        return f"It needs a checkout of the official code: set {VARIABLE} to its folder."
    if not Path(checkout, *PACKAGE.split("."), "wan22.py").is_file():
        return f"{VARIABLE} ({checkout}) is no checkout of the official code: it has no {PACKAGE.replace('.', '/')}."
    return None if importlib.util.find_spec("diffusers") else "The official DiT needs diffusers."


def _counted(checkout: Path) -> Iterator[Comparison]:
    options: dict[str, Any] = {"device": "meta", "dtype": torch.bfloat16}
    official = official_dit(checkout, LOOMVIDEO_5B, **options)
    model = LoomDiT(LOOMVIDEO_5B, operations=FlashOperations, **options).requires_grad_(False)
    for key, branches in full_size_edits().items():
        workload, shape = branches[Branch.FULL], branches[Branch.FULL].target
        condition = random_condition(workload, **options)
        latents = torch.empty(1, LOOMVIDEO_5B.in_channels, shape.frames, shape.height, shape.width, **options)
        timestep = torch.full((1,), 500.0, device="meta")
        with torch.no_grad():
            prepared = model.prepare([condition], latents)

        def theirs() -> Tensor:
            with FlashOnMeta():
                return official.forward(latents, timestep, condition)  # noqa: B023 - called before the next round

        def ours() -> Tensor:
            return model(latents, timestep, prepared)  # noqa: B023 - as above

        counts = [count_operators(way) for way in (theirs, ours)]
        measures: dict[str, tuple[str, str, list[float]]] = {
            "flops": ("FLOPs", "TFLOP", [count_flops(way) / TERA for way in (theirs, ours)]),
            "memory": ("peak of live tensors", "GB", [peak_live_bytes(way) / GIGA for way in (theirs, ours)]),
            "bytes": ("elementwise bytes moved", "GB", [pointwise_bytes(way) / GIGA for way in (theirs, ours)]),
            "kernels": ("kernels called", "calls", [one.kernels for one in counts]),
            "products": ("matrix products", "calls", [one.matrix_products for one in counts]),
        }
        for name, (title, unit, (first, second)) in measures.items():
            yield Comparison(
                key=f"official_{name}_{key}",
                title=f"{title} in one forward, {workload.name}",
                first=Figure("official code", first),
                second=Figure("this engine, prepared once", second),
                unit=unit,
                conditions=f"released 5B sizes on meta, bfloat16; {workload.sizes()}; full branch",
            )


@torch.no_grad()
def errors(checkout: Path, workload: Workload, dtype: torch.dtype) -> float:
    """Relative difference of our velocity to theirs, from equal random weights in a dtype."""
    run = make_run(random_model(workload), workload)
    official = official_dit(checkout, workload.config)
    fill(official, run.model)
    model, condition, latents = run.model.to(dtype), in_dtype(run.condition, dtype), run.latents.to(dtype)
    expected = replace(official, model=official.model.to(dtype)).forward(latents, run.timestep, condition)
    return relative_error(model(latents, run.timestep, model.prepare([condition], latents)), expected)


def _timed(checkout: Path) -> Iterator[Comparison]:
    model, official = random_model(TWIN_VIDEO), official_dit(checkout, TWIN_VIDEO.config)
    fill(official, model)
    for key, workload in TWINS.items():
        run = make_run(model, workload)
        theirs = partial(official.forward, run.latents, run.timestep, run.condition)
        seconds = take_turns({"theirs": theirs, "ours": run.cached}, rounds=ROUNDS)
        yield Comparison(
            key=f"official_time_{key}",
            title=f"processor time of one forward, {key.replace('_', ' ')}",
            first=Figure("official code", median(seconds["theirs"])),
            second=Figure("this engine, prepared once", median(seconds["ours"])),
            unit="s",
            conditions=f"quarter-size twin, CPU, float32, random weights; {workload.sizes()}; 1 thread, in turns, "
            f"median of {ROUNDS}",
            spread=ratio_spread(seconds["theirs"], seconds["ours"]),
        )


def measure() -> Iterator[Comparison]:
    """Differences, counts, then times."""
    checkout = Path(os.environ[VARIABLE]).resolve()
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        first, second = error_figures(errors(checkout, SMALL, dtype), dtype)
        yield Comparison(
            key=f"official_error_{name}",
            title="relative difference of the velocity to the official code's, from equal random weights",
            first=first,
            second=second,
            unit="relative",
            conditions=f"a small model, CPU; {SMALL.sizes()}",
        )
    yield from _counted(checkout)
    yield from _timed(checkout)


BENCHMARK = Benchmark(
    about="this engine against a checkout of the official code: difference, counts at full size, time on the twin",
    seconds=90,
    measure=measure,
    missing=missing,
)

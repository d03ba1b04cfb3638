"""One forward pass of the DiT: velocity, and the tensors inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from einops import repeat
from torch import Tensor, nn

from ..models.block import LoomBlock
from ..models.dit import LoomDiT, PreparedConditions
from ..models.rope import RopeTable
from .cases import Case, dit_condition, load_model
from .report import CaseReport

VELOCITY_ATOL = 2e-5
INSIDE_ATOL = 5e-5
BF16_RELATIVE = 1.5e-2


def full_table(half: Tensor) -> Tensor:
    """A half-width table [1, L, d / 2] as recorded: [1, L, 1, d], each angle twice in a row."""
    return repeat(half, "b l d -> b l 1 (d two)", two=2)


@contextmanager
def _taps(model: LoomDiT) -> Iterator[dict[str, Tensor]]:
    """Collects what flows through the model while it is open, under the names of the recorded tensors."""
    seen: dict[str, Tensor] = {}

    def output(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, result: Tensor) -> None:
            seen[name] = result

        return hook

    def first_input(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            seen[name] = args[0]

        return hook

    block = cast("LoomBlock", model.blocks[0])
    handles = [
        model.time_embedding.register_forward_hook(output("temb")),
        model.time_projection.register_forward_hook(output("timestep_proj")),
        block.register_forward_pre_hook(first_input("tokens")),
    ]
    handles += [other.register_forward_hook(output(f"block.{i}")) for i, other in enumerate(model.blocks)]
    for name, part in (("attn1", block.self_attn), ("attn2", block.cross_attn), ("ffn", block.ffn)):
        handles.append(part.register_forward_pre_hook(first_input(f"block0.{name}_in")))
        handles.append(part.register_forward_hook(output(f"block0.{name}")))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _modulation_reach(seen: dict[str, Tensor], prepared: PreparedConditions, name: str) -> Tensor:
    """Largest absolute modulation of every token [1, L + R]: the timestep's for targets, none for references."""
    reach = seen[name].abs().amax(-1)  # [1]
    tokens = prepared.rope.cos.shape[1]
    return torch.cat((reach.expand(prepared.shape.tokens), reach.new_zeros(tokens - prepared.shape.tokens)))[None]


def _inside(case: Case, model: LoomDiT, prepared: PreparedConditions, seen: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every recorded intermediate, from taps, prepared conditions and the model's own parts."""
    condition = dit_condition(case, model.config.num_layers)
    inside = dict(seen)
    inside["patch_embed"] = model.patch_embedding(case.tensors["latents"]).flatten(2).mT
    if prepared.source is not None:
        inside["source_embed"] = prepared.source
    start = 0
    for index, reference in enumerate(condition.references):
        length = reference.latents[0, :, ::2, ::2].numel()
        if prepared.references is not None:
            inside[f"ref_patch_embed.{index}"] = prepared.references.tokens[:, start : start + length]
        start += length
    inside["rope_cos"], inside["rope_sin"] = full_table(prepared.rope.cos), full_table(prepared.rope.sin)
    contexts = [model.mllm_embedder(states[None]) for states in condition.mllm_hidden_states]
    inside.update({f"context.{i}": context for i, context in enumerate(contexts)})
    inside["timestep_proj_tokens_absmax"] = _modulation_reach(seen, prepared, "timestep_proj")
    inside["temb_tokens_absmax"] = _modulation_reach(seen, prepared, "temb")
    return inside


@torch.no_grad()
def check_forward(case: Case, report: CaseReport) -> None:
    """A `dit_forward` case: exact and rounded rotary tables, and every recorded intermediate."""
    tensors = case.tensors
    latents, timestep = tensors["latents"], tensors["timestep"]
    for precision, expected in (("bf16", "velocity_bf16_rope_tables"), ("exact", "velocity")):
        if expected not in tensors:
            continue
        model = load_model(case.root, case.about["model"], rope_precision=precision)
        prepared = model.prepare([dit_condition(case, model.config.num_layers)], latents)
        with _taps(model) as seen:
            velocity = model(latents, timestep, prepared)
        report.close(expected, velocity, tensors[expected], atol=VELOCITY_ATOL)
    outside = {name for name, entry in case.about["tensors"].items() if entry["role"] != "intermediate"}
    inside = _inside(case, model, prepared, seen)
    for name in tensors.keys() - outside:
        if name in inside:
            recorded = tensors[name]
            if name == f"block.{model.config.num_layers - 1}":
                recorded = recorded[:, : prepared.shape.tokens]  # of the references it makes keys and values alone
            report.close(name, inside[name], recorded, atol=1e-6 if name.startswith("rope") else INSIDE_ATOL)
        else:
            report.failed(f"no tap for the recorded tensor {name}")


@torch.no_grad()
def check_bf16(case: Case, report: CaseReport) -> None:
    """A `bf16_cpu` case: the forward case of the same name with weights, tables and inputs in bfloat16."""
    inputs = case.sibling(f"dit_forward/{case.stem}")
    model = load_model(case.root, case.about["model"], rope_precision="bf16", dtype=torch.bfloat16)
    latents = inputs.tensors["latents"].bfloat16()
    prepared = model.prepare([dit_condition(inputs, model.config.num_layers, dtype=torch.bfloat16)], latents)
    velocity = model(latents, inputs.tensors["timestep"], prepared)
    report.relative("velocity", velocity, case.tensors["velocity"], limit=BF16_RELATIVE)


def table_error(table: RopeTable, tensors: dict[str, Tensor], prefix: str, report: CaseReport) -> None:
    """Compare a rotary table with the recorded pair prefix + "_cos", prefix + "_sin"."""
    report.close(f"{prefix}_cos", full_table(table.cos), tensors[f"{prefix}_cos"], atol=1e-6, rtol=0.0)
    report.close(f"{prefix}_sin", full_table(table.sin), tensors[f"{prefix}_sin"], atol=1e-6, rtol=0.0)

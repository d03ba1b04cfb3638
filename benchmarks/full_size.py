"""Counts at the released model's full size, on the meta device: no weights, no memory, no noise.

Counted are operations (FLOPs), tensors alive, and calls of kernels. Nothing is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from loom_core.config.model import LOOMVIDEO_5B
from loom_core.models.dit import LoomDiT, PreparedConditions
from loom_core.models.kernels import chosen_kernels
from loom_core.types import Branch, Condition

from .concatenation import concatenate_source, concatenated_flops, concatenated_workload, forward_whole
from .flash_operations import FlashOperations
from .flops import count_flops, forward_flops, prepare_flops
from .live_memory import peak_live_bytes
from .operator_counts import OperatorCounts, count_operators
from .pointwise_bytes import pointwise_bytes
from .registry import Benchmark
from .report import Comparison, Figure
from .row_per_token import forward_row_per_token
from .workloads import Workload, full_size_edits, random_condition

OFFICIAL_TFLOP = {
    "edit_480p81": 104.02,
    "edit_480p81_4ref": 144.07,
    "edit_720p121": 541.67,
    "edit_image1024": 16.71,
}
"""One forward pass of the full branch by the official code, counted once with the same counter on the meta device."""

OFFICIAL_POINTWISE_KIB = 1172
"""KiB a token and block that elementwise operations of the official code move, counted once on the meta device."""
OFFICIAL_PEAK_GB = {"edit_480p81": 1.64, "edit_720p121": 5.46}
"""Peak of live tensors in one forward pass of the official code, counted once on the meta device."""

CONCATENATED = ("edit_480p81", "edit_720p121")
TERA, GIGA = 1e12, 1e9
DTYPE = torch.bfloat16


@dataclass(frozen=True)
class Counted:
    """FLOPs of one branch: what is prepared, and what each step costs then."""

    prepare: int
    forward: int


def inputs_of(workload: Workload) -> tuple[Condition, Tensor, Tensor]:
    """Condition, latents [1, C, F, H, W] and timestep [1] on the meta device."""
    shape = workload.target
    size = (1, workload.config.in_channels, shape.frames, shape.height, shape.width)
    condition = random_condition(workload, device="meta", dtype=DTYPE)
    return condition, torch.empty(size, device="meta", dtype=DTYPE), torch.full((1,), 500.0, device="meta")


def count_workload(model: LoomDiT, workload: Workload, *, concatenated: bool = False) -> Counted:
    """Count preparing and one forward pass, and hold both against the closed formulas.

    Args:
        model: On the meta device.
        workload: Sizes.
        concatenated: Put the source into the sequence.

    Raises:
        RuntimeError: Counter and formula differ by one operation or more: one of them is wrong.
    """
    condition, latents, timestep = inputs_of(workload)
    forward: Callable[..., Tensor] = model
    formula = forward_flops(workload)
    if concatenated:
        forward, formula = partial(forward_whole, model), concatenated_flops(workload)
        condition, workload = concatenate_source(condition), concatenated_workload(workload)
    with torch.no_grad():
        prepared = model.prepare([condition], latents)
    counted = Counted(
        prepare=count_flops(lambda: model.prepare([condition], latents)),
        forward=count_flops(lambda: forward(latents, timestep, prepared)),
    )
    expected = Counted(prepare_flops(workload), formula)
    if counted != expected:
        raise RuntimeError(f"{workload.name}: counted {counted}, by the formula {expected}")
    return counted


def _flops(model: LoomDiT) -> Iterator[Comparison]:
    for key, branches in full_size_edits().items():
        counted = {branch: count_workload(model, workload) for branch, workload in branches.items()}
        full = branches[Branch.FULL]
        conditions = f"released 5B sizes on meta; {full.name}: {full.sizes()}"
        cached = Figure("prepared once", counted[Branch.FULL].forward / TERA)
        uncached = Figure("prepared in every forward", (cached.value * TERA + counted[Branch.FULL].prepare) / TERA)
        whole = counted[Branch.FULL].prepare + forward_flops(full, drops_references=False)
        yield Comparison(
            key=f"flops_forward_{key}",
            title=f"FLOPs of one forward, {full.name}",
            first=uncached,
            second=cached,
            unit="TFLOP",
            conditions=f"{conditions}; full branch",
        )
        yield Comparison(
            key=f"flops_official_{key}",
            title=f"official code's FLOPs of one forward, {full.name}",
            first=Figure("official code, recorded", OFFICIAL_TFLOP[key]),
            second=Figure("prepared in every forward, with all of the last block", whole / TERA),
            unit="TFLOP",
            conditions=f"{conditions}; full branch; checks the counting, 1 is right",
        )
        yield Comparison(
            key=f"flops_step_{key}",
            title=f"FLOPs of one step of three branches, {full.name}",
            first=Figure(
                "prepared in every forward", sum(one.forward + one.prepare for one in counted.values()) / TERA
            ),
            second=Figure("prepared once", sum(one.forward for one in counted.values()) / TERA),
            unit="TFLOP",
            conditions=conditions,
        )
        if key in CONCATENATED:
            concatenated = count_workload(model, full, concatenated=True)
            yield Comparison(
                key=f"flops_concatenated_{key}",
                title=f"FLOPs of one forward by how the source enters, {full.name}",
                first=Figure("source tokens concatenated", concatenated.forward / TERA),
                second=Figure("Scale-and-Add", cached.value),
                unit="TFLOP",
                conditions=f"{conditions}; full branch, contexts prepared once in both",
            )
            yield Comparison(
                key=f"flops_concatenated_leaving_{key}",
                title=f"FLOPs of one forward by how the source enters, {full.name}",
                first=Figure(
                    "concatenated, the last block makes its keys and values alone",
                    forward_flops(concatenated_workload(full)) / TERA,
                ),
                second=Figure("Scale-and-Add", cached.value),
                unit="TFLOP",
                conditions=f"{conditions}; full branch, contexts prepared once in both; closed formula",
            )


def _live_memory(model: LoomDiT) -> Iterator[Comparison]:
    for key, branches in full_size_edits().items():
        workload = branches[Branch.FULL]
        condition, latents, timestep = inputs_of(workload)
        with torch.no_grad():
            prepared = model.prepare([condition], latents)
        peaks = _peaks(model, latents, timestep, prepared)
        conditions = f"released 5B sizes on meta, bfloat16; {workload.name}: {workload.sizes()}"
        yield Comparison(
            key=f"live_memory_{key}",
            title=f"peak of live tensors in one forward, {workload.name}",
            first=Figure("a modulation row a token", peaks[1] / GIGA),
            second=Figure("two rows", peaks[0] / GIGA),
            unit="GB",
            conditions=f"{conditions}; weights and prepared conditions not counted",
        )
        kept = sum(prepared_bytes(model, one) for one in branches.values()) / GIGA
        yield Comparison(
            key=f"prepared_memory_{key}",
            title=f"price of preparing once: bytes held over the run, {workload.name}",
            first=Figure("held by the conditions of three branches", kept),
            second=Figure("peak of live tensors in one forward", peaks[0] / GIGA),
            unit="GB",
            conditions=conditions,
        )


def _peaks(model: LoomDiT, latents: Tensor, timestep: Tensor, prepared: PreparedConditions) -> tuple[int, int]:
    """Peak bytes with two rows and with a row a token."""
    return (
        peak_live_bytes(lambda: model(latents, timestep, prepared)),
        peak_live_bytes(lambda: forward_row_per_token(model, latents, timestep, prepared)),
    )


def prepared_bytes(model: LoomDiT, workload: Workload) -> int:
    """Bytes of keys, values, source and reference tokens that a run of the workload holds."""
    condition, latents, _ = inputs_of(workload)
    with torch.no_grad():
        prepared = model.prepare([condition], latents)
    tensors = [tensor for context in prepared.contexts for tensor in context]
    if prepared.source is not None:
        tensors.append(prepared.source)
    if prepared.references is not None:
        tensors.append(prepared.references.tokens)
    return sum(tensor.nbytes for tensor in tensors)


def _operators(model: LoomDiT) -> Iterator[Comparison]:
    for key in ("edit_480p81", "edit_480p81_4ref"):
        workload = full_size_edits()[key][Branch.FULL]
        condition, latents, timestep = inputs_of(workload)
        with torch.no_grad():
            prepared = model.prepare([condition], latents)

        def cached() -> Tensor:
            return model(latents, timestep, prepared)  # noqa: B023 - called before the next round

        def uncached() -> Tensor:
            return model(latents, timestep, model.prepare([condition], latents))  # noqa: B023 - as above

        fewer, more = count_operators(cached), count_operators(uncached)
        counts: dict[str, Callable[[OperatorCounts], int]] = {
            "kernels": lambda count: count.kernels,
            "matrix_products": lambda count: count.matrix_products,
        }
        for name, read in counts.items():
            yield Comparison(
                key=f"{name}_{key}",
                title=f"{name.replace('_', ' ')} asked for in one forward, {workload.name}",
                first=Figure("prepared in every forward", read(more)),
                second=Figure("prepared once", read(fewer)),
                unit="calls",
                conditions=f"released 5B sizes on meta, bfloat16, eager; {workload.sizes()}; full branch",
            )


def _pointwise(model: LoomDiT, fused: LoomDiT) -> Iterator[Comparison]:
    """Bytes and calls with plain torch and with the Triton kernels and fused projections, against the official code."""
    for key, workload in {name: branches[Branch.FULL] for name, branches in full_size_edits().items()}.items():
        condition, latents, timestep = inputs_of(workload)
        with torch.no_grad():
            prepared = model.prepare([condition], latents)
        tokens = workload.target.tokens + workload.reference_tokens
        official = OFFICIAL_POINTWISE_KIB * 1024 * tokens * workload.config.num_layers / GIGA
        conditions = f"released 5B sizes on meta, bfloat16; {workload.sizes()}; full branch"
        for name, kernels, one in (("eager", "torch", model), ("fused", "triton", fused)):

            def forward() -> Tensor:
                return one(latents, timestep, prepared)  # noqa: B023 - called before the next round

            with chosen_kernels(kernels):
                moved, counts = pointwise_bytes(forward) / GIGA, count_operators(forward)
                peak = peak_live_bytes(forward) / GIGA
            pairs = [("pointwise_bytes", "GB", official, moved)]
            if key in OFFICIAL_PEAK_GB:
                pairs.append(("official_peak", "GB", OFFICIAL_PEAK_GB[key], peak))
            for measure, unit, first, second in pairs:
                yield Comparison(
                    key=f"{measure}_{name}_{key}",
                    title=f"{measure.replace('_', ' ')} of one forward, {name}, {workload.name}",
                    first=Figure("official code, recorded", first),
                    second=Figure(name, second),
                    unit=unit,
                    conditions=conditions,
                )
            if kernels == "triton":
                with chosen_kernels("torch"):
                    plain = count_operators(lambda: model(latents, timestep, prepared))  # noqa: B023 - as above
                for measure, first, second in (
                    ("kernels", plain.kernels, counts.kernels),
                    ("matrix_products", plain.matrix_products, counts.matrix_products),
                ):
                    yield Comparison(
                        key=f"{measure}_fused_{key}",
                        title=f"{measure.replace('_', ' ')} asked for in one forward, {workload.name}",
                        first=Figure("plain torch", first),
                        second=Figure("Triton kernels, fused projections", second),
                        unit="calls",
                        conditions=conditions,
                    )


def measure() -> Iterator[Comparison]:
    """All counts at full size."""
    model = LoomDiT(LOOMVIDEO_5B, operations=FlashOperations, device="meta", dtype=DTYPE).requires_grad_(False)
    yield from _flops(model)
    yield from _live_memory(model)
    yield from _operators(model)
    fused = LoomDiT(LOOMVIDEO_5B, operations=FlashOperations, device="meta", dtype=DTYPE).requires_grad_(False)
    fused.fuse_projections()
    yield from _pointwise(model, fused)


BENCHMARK = Benchmark(
    about="operations, live tensors and kernel calls of the released model, counted on the meta device",
    seconds=30,
    measure=measure,
)

"""A plan as lines of text, and as data."""

from __future__ import annotations

from typing import Any

from .choice import GIGA, MemoryPlan, branches_together
from .moments import Moment

_PARTS = ("weights", "held", "cache", "conditions", "latents", "activations")
_FIRST, _CELL = 9, 12


def plan_lines(plan: MemoryPlan) -> list[str]:
    """What each phase takes, in GB (10^9 bytes), and why."""
    setting = plan.setting
    model = f"{setting.run.describe()}; {setting.form.name} weights; a {'GPU' if setting.on_gpu else 'CPU'}"
    lines = [
        model + ("" if plan.budget is None else f" with {plan.budget / GIGA:.1f} GB free"),
        _row("phase", *_PARTS, "peak", "needed") + "  at its largest",
    ]
    for entry in plan.fitted:
        peak = entry.phase.peak
        place = " (in the processor's memory)" if entry.phase.on_cpu else ""
        lines.append(_row(entry.phase.name, *map(_gigabytes, _numbers(peak))) + f"  {peak.name}{place}")
    lines += [f"{entry.phase.name + ':':{_FIRST}}{entry.reason}" for entry in plan.fitted]
    needs = f"The device needs {plan.needed / GIGA:.1f} GB free: peaks with a tenth more of all but weights. "
    if plan.measures.streamed_blocks:
        lines.append(f"{needs}Branches of guidance run in lockstep, so that weights come once for all of them.")
    else:
        more = branches_together(setting, plan.measures)
        lines.append(
            f"{needs}Branches of guidance run one after another; together, as ComfyUI can run them, they take "
            f"{more / GIGA:.2f} GB more."
        )
    return lines


def plan_data(plan: MemoryPlan) -> dict[str, Any]:
    """The same for programs; all sizes in bytes."""
    measures = plan.measures
    return {
        "run": plan.setting.run.describe(),
        "weights": plan.setting.form.name,
        "device": "gpu" if plan.setting.on_gpu else "cpu",
        "budget": plan.budget,
        "needed": plan.needed,
        "measures": {
            "mllm_on_cpu": measures.mllm_on_cpu,
            "keeps_keys_values": measures.keeps_keys_values,
            "encode_tile_latents": measures.encode_tile,
            "decode_tile_latents": measures.decode_tile,
            "streamed_blocks": measures.streamed_blocks,
            "streams_mllm": measures.streams_mllm,
        },
        "phases": [
            {
                "name": entry.phase.name,
                "moment": entry.phase.peak.name,
                "on_cpu": entry.phase.on_cpu,
                "reason": entry.reason,
                **dict(zip((*_PARTS, "peak", "needed"), _numbers(entry.phase.peak), strict=True)),
            }
            for entry in plan.fitted
        ],
    }


def _numbers(moment: Moment) -> list[int]:
    return [*(getattr(moment, part) for part in _PARTS), moment.total, moment.needed]


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / GIGA:.2f}"


def _row(first: str, *cells: str) -> str:
    return f"{first:{_FIRST}}" + "".join(f"{cell:>{_CELL}}" for cell in cells)

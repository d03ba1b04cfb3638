"""Whole denoising runs: schedule, branches, guidance, every step's latents, and the schedules alone."""

from __future__ import annotations

import json
from collections import defaultdict

import torch
from einops import rearrange
from torch import Tensor

from ..sampling.denoise import denoise
from ..sampling.guidance import branch_weights, guided_velocity
from ..sampling.schedule import flow_schedule
from ..sampling.solvers import unipc
from ..types import Branch, Condition, Reference
from .cases import Case, load_model
from .codec import load_codec
from .report import CaseReport

LATENTS_ATOL = 1e-4
DEFAULT_SHIFT = 5.0
_BRANCH_NAMES = {Branch.FULL: "full", Branch.UNCONDITIONAL: "uncond", Branch.VISUAL: "visual"}


def _conditions(inputs: Case, num_layers: int) -> dict[Branch, Condition]:
    """The branches' conditions; without visual input there is no visual branch."""
    tensors = inputs.tensors
    source = tensors["source_latents"][0] if "source_latents" in tensors else None
    references = tuple(Reference(latents[0]) for latents in inputs.numbered("ref_latents"))
    conditions: dict[Branch, Condition] = {}
    for branch, name in _BRANCH_NAMES.items():
        states = tuple(layer[0] for layer in inputs.numbered(f"und_hidden_{name}"))[-num_layers:]
        if not states:
            continue
        if branch is Branch.UNCONDITIONAL:
            conditions[branch] = Condition(states)
        else:
            conditions[branch] = Condition(states, source, references)
    return conditions


@torch.no_grad()
def check_run(case: Case, report: CaseReport) -> None:
    """A `cfg_sampling` case: the same noise must take the same way."""
    if "schedules" in case.about:
        _check_schedules(case, report)
        return
    about, tensors = case.about, case.tensors
    inputs = case.sibling(about["inputs_shared_with"]) if about.get("inputs_shared_with") else case
    model = load_model(case.root, about["model"])
    noise = tensors["initial_noise"]
    prepared = {
        branch: model.prepare([condition], noise)
        for branch, condition in _conditions(inputs, model.config.num_layers).items()
    }
    weights = branch_weights(
        about["guidance_scale"], about["guidance_scale_visual"], has_visual=Branch.VISUAL in prepared
    )
    recorded: dict[str, list[Tensor]] = defaultdict(list)

    def recording(latents: Tensor, timestep: Tensor, conditions: Branch) -> Tensor:
        prediction = model(latents, timestep, prepared[conditions])
        recorded[f"pred_{_BRANCH_NAMES[conditions]}"].append(prediction)
        return prediction

    names = {branch: branch for branch in prepared}  # what `recording` is given as the conditions
    guided = guided_velocity(recording, names, weights, dtype=torch.float32)

    def velocity(latents: Tensor, timestep: Tensor) -> Tensor:
        if recorded["pred_guided"]:
            recorded["latents"].append(latents)
        recorded["pred_guided"].append(guided(latents, timestep))
        return recorded["pred_guided"][-1]

    schedule = flow_schedule(about["num_inference_steps"], shift=_recorded_shift(case))
    latents = denoise(velocity, noise, schedule=schedule, solver=unipc)
    recorded["latents"].append(latents)
    report.equal("timesteps", schedule.timesteps, tensors["timesteps"])
    report.close("sigmas", schedule.sigmas, tensors["sigmas"], atol=1e-6, rtol=0.0)
    for name, steps in recorded.items():
        if name in tensors:
            report.close(name, torch.stack(steps), tensors[name], atol=LATENTS_ATOL)
    if "video" in tensors:
        decoded = load_codec(case.root, about["model"]).decode(latents)[0]
        video = rearrange(decoded / 2 + 0.5, "c f h w -> f h w c").clamp(0, 1)
        report.close("video", video, tensors["video"], atol=LATENTS_ATOL)


def _recorded_shift(case: Case) -> float:
    """The shift of the scheduler that the model was recorded with."""
    path = case.root / "models" / case.about["model"] / "scheduler" / "scheduler_config.json"
    return json.loads(path.read_text(encoding="utf-8"))["flow_shift"] if path.exists() else DEFAULT_SHIFT


def _check_schedules(case: Case, report: CaseReport) -> None:
    """Timesteps and sigmas of many step counts."""
    shift = case.about["scheduler_config"]["flow_shift"]
    for steps, expected in case.about["schedules"].items():
        schedule = flow_schedule(int(steps), shift=shift)
        report.equal(f"{steps} timesteps", schedule.timesteps.tolist(), expected["timesteps"])
        report.close(f"{steps} sigmas", schedule.sigmas, torch.tensor(expected["sigmas"]), atol=1e-6, rtol=0.0)

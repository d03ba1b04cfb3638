"""The training forward: noised latents, predictions, loss, gradients; and the functions around it."""

from __future__ import annotations

import re

import torch

from ..geometry import IMAGE_BUCKETS, VIDEO_BUCKETS, closest_bucket
from ..models.dit import LoomDiT
from ..models.source import NUM_TRAIN_TIMESTEPS
from ..sampling.schedule import token_shift
from ..training.flow import noised_latents
from ..training.packed import Draws, pack_errors
from ..training.timesteps import noise_levels
from ..types import Condition, Reference
from ..weights.key_maps import to_native
from .cases import Case, load_model
from .report import CaseReport

PREDICTION_ATOL = 2e-5


def check_training(case: Case, report: CaseReport) -> None:
    """A `training` case."""
    if "dynamic_shift" in case.about:
        _check_functions(case, report)
    else:
        _check_pack(case, report)


def _check_pack(case: Case, report: CaseReport) -> None:
    """Samples of different sizes as one sequence; one loss and its gradients. Each sample alone predicts the same."""
    tensors = case.tensors
    model = load_model(case.root, case.about["model"]).requires_grad_(True)
    all_samples = range(len(case.about["samples"]))
    samples = [index for index in all_samples if f"sample{index}.latents" in tensors]  # some may have no target
    levels = tensors["t_step"]
    levels = levels[samples] if levels.shape == (len(all_samples),) else levels.expand(len(samples))
    timestep = levels * NUM_TRAIN_TIMESTEPS
    report.close("gen_timestep", timestep, tensors["gen_timestep"], atol=1e-3)
    clean, noises = ([tensors[f"sample{index}.{name}"][0] for index in samples] for name in ("latents", "noise"))
    conditions = [_condition(case, f"sample{index}") for index in samples]
    noised = [noised_latents(*parts) for parts in zip(clean, noises, levels, strict=True)]
    velocities = model(noised, timestep, conditions)
    for place, index in enumerate(samples):
        recorded = tensors[f"sample{index}.pred"][0]
        report.close(f"sample{index}.z_t", noised[place], tensors[f"sample{index}.z_t"][0], atol=1e-6)
        report.close(f"sample{index}.pred", velocities[place], recorded, atol=PREDICTION_ATOL)
        with torch.no_grad():
            alone = model(noised[place][None], timestep[place : place + 1], [conditions[place]])
        report.close(f"sample{index}.pred alone", alone[0], recorded, atol=PREDICTION_ATOL)
    errors = pack_errors(model, clean, conditions, Draws(levels, tuple(noises)))
    loss = errors.sum() / sum(target.numel() for target in clean)
    report.close("gen_loss", loss, tensors["gen_loss"], atol=0.0)
    _check_gradients(case, report, model, loss)


def _condition(case: Case, sample: str) -> Condition:
    source = case.tensors.get(f"{sample}.source_latents")
    return Condition(
        mllm_hidden_states=tuple(states[0] for states in case.numbered(f"{sample}.und_hidden")),
        source_latents=None if source is None else source[0],
        references=tuple(Reference(latents[0]) for latents in case.numbered(f"{sample}.ref_latents")),
    )


def _check_gradients(case: Case, report: CaseReport, model: LoomDiT, loss: torch.Tensor) -> None:
    """Recorded gradients and gradient norms, by official parameter name."""
    names = [name for name in case.tensors if name.startswith(("grad.", "grad_norm."))]
    official = {name: name.split(".", 1)[1] for name in names}
    parameters = dict(model.named_parameters())
    wanted = [parameters[to_native(key) or key] for key in official.values()]
    gradients = torch.autograd.grad(loss, wanted)
    for name, gradient in zip(names, gradients, strict=True):
        if name.startswith("grad_norm."):
            report.close(name, gradient.norm(), case.tensors[name], atol=1e-8, rtol=1e-4)
        else:
            report.close(name, gradient, case.tensors[name], atol=1e-6, rtol=1e-4)


def _check_functions(case: Case, report: CaseReport) -> None:
    """Timestep shift, noise levels and size buckets."""
    for settings, entry in case.about["dynamic_shift"].items():
        values = dict(pair.split("=") for pair in settings.split(","))
        for tokens, expected in entry["shift"].items():
            shift = token_shift(
                int(tokens),
                scale=float(values["scale"]),
                base_shift=float(values["base"]),
                base_tokens=int(values["tokens0"]),
            )
            report.close(f"shift {settings} {tokens}", torch.tensor(shift), torch.tensor(expected), atol=1e-6)
    draws = {name: torch.tensor(case.about["timestep_sampling"][name]) for name in ("n", "shift", "t")}
    report.close("noise levels", noise_levels(draws["n"], draws["shift"]), draws["t"], atol=1e-6)
    tables = {"image": IMAGE_BUCKETS, "video": VIDEO_BUCKETS}
    for kind, table in tables.items():
        recorded = {int(side): tuple(map(tuple, sizes)) for side, sizes in case.about["bucket_tables"][kind].items()}
        report.equal(f"{kind} buckets", table, recorded)
    for settings, sizes in case.about["closest_resolution"]["table"].items():
        kind, allowed = settings.split(",", 1)
        sides = tuple(map(int, re.findall(r"\d+", allowed))) or None
        for size, (height, width) in sizes.items():
            found = closest_bucket(*map(int, size.split("x")), buckets=tables[kind], allowed_sides=sides)
            report.equal(f"bucket {settings} {size}", found, (width, height))

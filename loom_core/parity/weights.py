"""Checkpoints in every official layout: what they load as, and how the 5B's keys are renamed."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ..config.model import LOOMVIDEO_5B, DiTConfig
from ..models.dit import LoomDiT
from ..weights.key_maps import to_native
from ..weights.loading import load_dit
from .cases import Case, dit_condition
from .dit import VELOCITY_ATOL
from .report import CaseReport


def _files(root: Path) -> dict[str, tuple[Path, bool]]:
    """Recorded velocity -> (path, whether EMA weights are preferred)."""
    return {
        "velocity.latest": (root / "gen_model.pth", False),
        "velocity.latest, safetensors": (root / "gen_model.safetensors", False),
        "velocity.latest, mixed dtypes": (root / "gen_model_mixed_dtype.pth", False),
        "velocity.latest, folder": (root / "ckpt", False),
        "velocity.ema": (root / "ckpt", True),
        "velocity.full_file": (root / "full_model.pt", False),
    }


def check_weights(case: Case, report: CaseReport) -> None:
    """A `weights` case."""
    checks = {
        "load_check": _check_loading,
        "loomvideo_5b_keys": _check_shapes,
        "wan22_ti2v_5b_key_map": _check_names,
        "layout": _check_layout,
    }
    if case.stem in checks:
        checks[case.stem](case, report)
    else:
        report.failed(f"no check for weights/{case.stem}")


@torch.no_grad()
def _check_loading(case: Case, report: CaseReport) -> None:
    """The velocity after loading each layout."""
    config = DiTConfig.from_diffusers(case.about["dit_config"], mllm_dim=case.about["und_dim"])
    tensors = case.tensors
    for name, (path, ema) in _files(case.root / "weights").items():
        if not path.exists():
            continue
        model = load_dit(path, config=config, dtype=torch.float32, ema=ema)
        prepared = model.prepare([dit_condition(case, config.num_layers)], tensors["latents"])
        velocity = model(tensors["latents"], tensors["timestep"], prepared)
        report.close(name, velocity, tensors[name.split(",")[0]], atol=VELOCITY_ATOL)


def _check_shapes(case: Case, report: CaseReport) -> None:
    """Every parameter of the 5B, by name and size."""
    native = {to_native(key): tuple(shape) for key, shape in case.about["keys"].items()}
    native.pop(None, None)
    ours = {name: tuple(parameter.shape) for name, parameter in LoomDiT(LOOMVIDEO_5B, device="meta").named_parameters()}
    report.equal("names and shapes of the 5B", ours, native)


def _check_names(case: Case, report: CaseReport) -> None:
    """The renaming table, key by key; the text embedder, which nothing reads, has no name of ours."""
    expected = {k: None if "text_embed" in k else v for k, v in case.about["mapping"].items()}
    report.equal("renamed keys", {key: to_native(key) for key in expected}, expected)


def _check_layout(case: Case, report: CaseReport) -> None:
    """Keys of the small checkpoint as they are listed."""
    path = case.root / "weights" / "gen_model.pth"
    if path.exists():
        state = torch.load(path, weights_only=True, map_location="cpu")
        shapes = {key: list(value.shape) for key, value in state.items()}
        report.equal("keys", json.dumps(shapes, sort_keys=True), json.dumps(case.about["keys"], sort_keys=True))

"""Quantised weights on recorded cases: how far each form moves what the official code answered.

The recorded models have bfloat16 weights, and their answers were computed from these in float32. So it is done here,
and the difference is what quantising alone changes; in one more way bfloat16 weights compute in bfloat16.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from loom_core.mllm.convert import convert_qwen
from loom_core.mllm.encoder import QwenEncoder
from loom_core.mllm.loading import read_config
from loom_core.models.dit import LoomDiT
from loom_core.parity.cases import Case, dit_condition, find_cases
from loom_core.parity.mllm import recorded_content
from loom_core.weights.convert import convert_checkpoint
from loom_core.weights.loading import load_dit
from loom_core.weights.quantise import SCHEMES, Scheme
from loom_core.weights.torchao_layers import CONFIGS, quantise_loaded

from .reference import relative_error
from .report import Comparison, Figure

FOLDER = Path(os.environ.get("LOOM_GOLDEN_DIR", Path(__file__).parents[1] / "tests" / "golden"))
"""Cases of the official code; the variable names a larger set of the same layout."""
KEY = "quantised_golden_"
_CONDITIONS = "small random model of the recorded cases; the blocks' matrices quantised, computed in float32"


@torch.no_grad()
def velocity(case: Case, model: LoomDiT) -> Tensor:
    """What a DiT answers to a `dit_forward` case, in the dtype of its weights."""
    dtype = model.patch_embedding.weight.dtype
    latents = case.tensors["latents"].to(dtype)
    prepared = model.prepare([dit_condition(case, model.config.num_layers, dtype=dtype)], latents)
    return model(latents, case.tensors["timestep"], prepared)


def states(case: Case, encoder: QwenEncoder) -> Tensor:
    """What an MLLM answers to a `deepstack` case: the states of all layers in a row."""
    found = encoder.hidden_states(encoder.reader.read(recorded_content(case)))
    return torch.cat([state.flatten() for state in found])


def _open_dit(path: Path, dtype: torch.dtype) -> LoomDiT:
    return load_dit(path, dtype=dtype)


def _open_mllm(path: Path, dtype: torch.dtype) -> QwenEncoder:
    layers = read_config(path / "config.json", needed=True)["text_config"]["num_hidden_layers"]
    return QwenEncoder.load(path, num_blocks=layers, dtype=dtype, device=torch.device("cpu"))


def quantised(source: Path, folder: Path, scheme: Scheme) -> Path:
    """Weights of a recorded model in a form: of a DiT its file, of an MLLM its folder."""
    if source.is_dir():
        convert_qwen(source, folder / scheme.name, scheme=scheme)
        return folder / scheme.name
    target = folder / f"{scheme.name}.{'gguf' if scheme.is_gguf else 'safetensors'}"
    convert_checkpoint(source, target, scheme=scheme)
    return target


def _recorded(case: Case) -> Tensor:
    if case.kind == "dit_forward":
        return case.tensors["velocity"]
    return torch.cat([state.flatten() for state in case.numbered("hidden_states")])


def errors(source: Path, cases: list[Case], answer: Callable[[Case, Any], Tensor]) -> dict[str, dict[str, float]]:
    """Relative errors of a recorded model, by way and case.

    Args:
        source: Its weights.
        cases: That were recorded with it.
        answer: What a model says to a case.
    """
    load: Callable[[Path, torch.dtype], Any] = _open_mllm if source.is_dir() else _open_dit
    with TemporaryDirectory() as name:
        paths = {scheme.name: quantised(source, Path(name), scheme) for scheme in SCHEMES.values()}
        models = {way: load(path, torch.float32) for way, path in paths.items()}
        models["computed in bf16"] = load(source, torch.bfloat16)
        if not source.is_dir() and find_spec("torchao"):
            for way in CONFIGS:
                models[way] = _open_dit(source, torch.float32)
                quantise_loaded(models[way], way, device=torch.device("cpu"))
        return {
            way: {case.stem: relative_error(answer(case, model), _recorded(case)) for case in cases}
            for way, model in models.items()
        }


def measure() -> Iterator[Comparison]:
    """Errors of each form on each case there is."""
    groups = [
        ("dit_forward", "gen_model.safetensors", "velocity of the DiT", velocity),
        ("deepstack", "qwen", "states of the MLLM", states),
    ]
    for kind, weights, what, answer in groups:
        cases = list(find_cases(FOLDER, kind))
        for model in sorted({case.about["model"] for case in cases}):
            own = [case for case in cases if case.about["model"] == model]
            found = errors(FOLDER / "models" / model / weights, own, answer)
            rounded = found.pop("computed in bf16")
            for case in own:
                for way, by_case in found.items():
                    yield Comparison(
                        key=f"{KEY}{kind}_{case.stem}{_ending(way)}",
                        title=f"relative error of the {what}, case {case.stem}, {way}",
                        first=Figure("computed in bf16", rounded[case.stem]),
                        second=Figure(way, by_case[case.stem]),
                        unit="relative",
                        conditions=_CONDITIONS,
                    )


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Results as a table, a row a case."""
    names = [*SCHEMES, *(name for name in CONFIGS if any(key.endswith(_ending(name)) for key in results))]
    rows = ["| case | weights bf16, computed in bf16 | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    first = _ending(names[0])
    for key, found in results.items():
        if key.startswith(KEY) and key.endswith(first):
            case = key.removesuffix(first)
            others = (results.get(case + _ending(name)) for name in names)
            values = [found["first"]["value"], *(other and other["second"]["value"] for other in others)]
            cells = " | ".join("-" if value is None else f"{100 * value:.2g} %" for value in values)
            rows.append(f"| {case.removeprefix(KEY)} | {cells} |")
    return "\n".join(rows)


def _ending(name: str) -> str:
    """Of the keys of a way."""
    return "_" + name.replace("-", "_")

"""Reading recorded cases and the small models they were made with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..models.dit import LoomDiT
from ..types import Condition, Reference
from ..weights.loading import load_dit


@dataclass(frozen=True)
class Case:
    """One recorded case: its description and, read when asked for, its tensors."""

    root: Path
    kind: str
    stem: str

    @property
    def name(self) -> str:
        """As "kind/stem"."""
        return f"{self.kind}/{self.stem}"

    @cached_property
    def about(self) -> dict[str, Any]:
        """The JSON beside the tensors."""
        return json.loads((self.root / self.kind / f"{self.stem}.json").read_text(encoding="utf-8"))

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Tensors by name."""
        return load_file(self.root / self.kind / f"{self.stem}.safetensors")

    def sibling(self, name: str) -> Case:
        """Another case of the same folder, by its "kind/stem"."""
        kind, stem = name.split("/")
        return Case(self.root, kind, stem)

    def numbered(self, prefix: str) -> list[Tensor]:
        """Tensors called prefix.0, prefix.1 ... in order."""
        found = sorted((int(key[len(prefix) + 1 :]), key) for key in self.tensors if key.startswith(f"{prefix}."))
        return [self.tensors[key] for _, key in found]


def find_cases(root: Path, kind: str) -> Iterator[Case]:
    """All cases of a kind, by name."""
    for path in sorted((root / kind).glob("*.json")):
        yield Case(root, kind, path.stem)


@lru_cache(maxsize=8)
def load_model(
    root: Path, name: str, *, rope_precision: Literal["exact", "bf16"] = "exact", dtype: torch.dtype = torch.float32
) -> LoomDiT:
    """The DiT of `models/<name>`, in float32 unless told otherwise."""
    model = load_dit(root / "models" / name / "gen_model.safetensors", dtype=dtype)
    model.config = dataclasses.replace(model.config, rope_precision=rope_precision)
    return model


def mllm_layers(case: Case, num_layers: int) -> list[int]:
    """The MLLM layer that each of `num_layers` blocks reads."""
    total = case.about["und_layers"]
    if case.about.get("only_last_hidden_states"):
        return [total - 1] * num_layers
    return list(range(total - num_layers, total))


def dit_condition(case: Case, num_layers: int, *, dtype: torch.dtype = torch.float32) -> Condition:
    """The condition of a single forward case."""
    tensors = case.tensors
    return Condition(
        mllm_hidden_states=tuple(tensors[f"und_hidden.{i}"][0].to(dtype) for i in mllm_layers(case, num_layers)),
        source_latents=tensors["source_latents"][0].to(dtype) if "source_latents" in tensors else None,
        references=tuple(Reference(latents[0].to(dtype)) for latents in case.numbered("ref_latents")),
    )

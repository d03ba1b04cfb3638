"""A tiny Qwen3-VL with the official code's numbers, and golden cases by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def qwen_dir(golden_dir: Path) -> Path:
    return golden_dir / "models" / "tiny" / "qwen"


@pytest.fixture(scope="session")
def golden_case(golden_dir: Path) -> Callable[[str], tuple[dict[str, Any], dict[str, Tensor]]]:
    """Sidecar and tensors of "folder/case"; skips where the golden set at hand lacks it."""
    from safetensors.torch import load_file

    def load(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        path = golden_dir / f"{name}.json"
        if not path.is_file():
            pytest.skip(f"{name} is not in this golden set (LOOM_GOLDEN_DIR names a larger one)")
        return json.loads(path.read_text(encoding="utf-8")), load_file(path.with_suffix(".safetensors"))

    return load


@pytest.fixture(scope="session")
def golden_strings(golden_dir: Path) -> dict[str, Any]:
    return json.loads((golden_dir / "visual_only_prompt" / "prompts.json").read_text(encoding="utf-8"))


@pytest.fixture
def pictures() -> Callable[..., Tensor]:
    """Random uint8 frames [T, height, width, 3]."""

    def make(num_frames: int, height: int, width: int, *, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (num_frames, height, width, 3), generator=generator, dtype=torch.uint8)

    return make

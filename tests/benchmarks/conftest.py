"""A workload that runs in a moment."""

import pytest
import torch

from benchmarks.workloads import Workload
from loom_core.config.model import DiTConfig
from loom_core.geometry import LatentShape


@pytest.fixture
def workload() -> Workload:
    config = DiTConfig(
        hidden_size=24, num_heads=2, head_dim=12, num_layers=2, ffn_dim=40, in_channels=4, out_channels=4,
        time_embed_dim=16, mllm_dim=16,
    )  # fmt: skip
    return Workload(
        name="small",
        config=config,
        target=LatentShape(2, 4, 6),
        context_tokens=5,
        references=(LatentShape(1, 2, 4),),
    )


@pytest.fixture
def model(workload):
    from benchmarks.twin import random_model

    with torch.no_grad():
        return random_model(workload)

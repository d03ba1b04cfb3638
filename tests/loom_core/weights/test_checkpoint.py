"""The lazy view itself (opening files: test_reading.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from loom_core.errors import WeightsError
from loom_core.weights.checkpoint import Checkpoint, TensorInfo
from loom_core.weights.identify import ModelKind


@pytest.fixture
def loads():
    return []


@pytest.fixture
def checkpoint(loads):
    def load(name):
        loads.append(name)
        return torch.ones(2, 3, dtype=torch.bfloat16)

    names = ("gen_model.proj_out.weight", "gen_model.text_embedding.0.bias", "und_model.x")
    infos = {name: TensorInfo((2, 3), torch.bfloat16) for name in names}
    return Checkpoint(Path("x"), (Path("x"),), "test", infos, load)


def test_sizes_need_no_data(checkpoint, loads):
    assert len(checkpoint) == 3
    assert list(checkpoint) == list(checkpoint.infos)
    assert "und_model.x" in checkpoint
    assert checkpoint.num_parameters == 18
    assert checkpoint.num_bytes == 36
    assert checkpoint.dtypes == {torch.bfloat16: 3}
    assert checkpoint.kind is ModelKind.UNKNOWN
    assert loads == []


def test_the_native_view_renames_drops_and_stays_lazy(checkpoint, loads):
    native = checkpoint.native()
    assert list(native) == ["head.head.weight"]
    assert loads == []
    assert native.tensor("head.head.weight").shape == (2, 3)
    assert loads == ["gen_model.proj_out.weight"]
    with pytest.raises(WeightsError):
        native.tensor("und_model.x")


def test_a_scalar_has_one_element():
    assert TensorInfo((), torch.float32).num_bytes == 4

"""Counting on the meta device, at a small size."""

import pytest
import torch

from benchmarks import full_size
from benchmarks.flash_operations import FlashOperations
from benchmarks.flops import forward_flops, prepare_flops
from loom_core.models.dit import LoomDiT


@pytest.fixture
def meta_model(workload):
    return LoomDiT(workload.config, operations=FlashOperations, device="meta", dtype=torch.bfloat16)


@pytest.mark.parametrize("concatenated", [True, False])
def test_counts_agree_with_the_formulas(meta_model, workload, concatenated):
    counted = full_size.count_workload(meta_model, workload, concatenated=concatenated)
    if not concatenated:
        assert counted == full_size.Counted(prepare_flops(workload), forward_flops(workload))


def test_a_wrong_formula_is_noticed(meta_model, workload, monkeypatch):
    monkeypatch.setattr(full_size, "forward_flops", lambda workload: forward_flops(workload) + 2)
    with pytest.raises(RuntimeError, match="by the formula"):
        full_size.count_workload(meta_model, workload)


def test_prepared_bytes(meta_model, workload):
    contexts = 2 * 2 * 5 * 24  # layers, keys and values, tokens, width
    assert full_size.prepared_bytes(meta_model, workload) == 2 * (contexts + 12 * 24 + 2 * 24)  # bfloat16

"""The formula at sizes where every token can be counted, and that it is held against batches."""

from dataclasses import replace

import pytest
import torch

from benchmarks import scaling
from benchmarks.flash_operations import FlashOperations
from benchmarks.flops import forward_flops
from loom_core.models.dit import LoomDiT


@pytest.mark.parametrize("size", [1, 3])
def test_a_batch_costs_its_samples(workload, size):
    model = LoomDiT(workload.config, operations=FlashOperations, device="meta", dtype=torch.bfloat16)
    assert scaling.count_batch(model, workload, size) == size * forward_flops(workload)


def test_what_grows_is_named():
    workloads = scaling.full_workloads()
    assert len(workloads) == len(scaling.REFERENCES) + len(scaling.FRAMES) + len(scaling.SIZES)
    assert workloads["references_4"].reference_tokens == 4 * 390 * 4 / 4 == 4 * 390
    assert workloads["frames_121"].target.frames == 31
    assert workloads["size_1280x704"].target.tokens == 21 * 22 * 40


@pytest.mark.parametrize("key", scaling.TWINS)
def test_one_thing_grows_at_a_time(key):
    larger, base = scaling.TWINS[key], scaling.TWIN
    assert larger.target.tokens + larger.reference_tokens > base.target.tokens
    kept = {"references": replace(larger, references=()), "frames": None, "size": None}[key]
    assert kept in (None, base)

"""Velocities and what flows inside, in float32 and in bfloat16."""

from __future__ import annotations

import pytest
import torch

from loom_core.parity.dit import full_table


@pytest.mark.parametrize(
    "name", ["velocity", "velocity_bf16_rope_tables", "block.2", "context.0", "rope_sin", "tokens"]
)
def test_a_changed_number_is_noticed(recheck, failed, name):
    def change(tensors, _about):
        tensors[name].view(-1)[5] += 1e-3

    assert failed(recheck("dit_forward/ref1", change)) == [name]


def test_a_recorded_tensor_that_nothing_computes_is_a_failure(recheck):
    def change(tensors, about):
        tensors["surprise"] = torch.zeros(1)
        about["tensors"]["surprise"] = {"role": "intermediate"}

    report = recheck("dit_forward/ref1", change)
    assert not report.ok
    assert any("no tap for the recorded tensor surprise" in check.note for check in report.checks)


def test_bfloat16_is_judged_by_distance(recheck, failed):
    assert recheck("bf16_cpu/t2v").ok

    def change(tensors, _about):
        tensors["velocity"] *= 1.02

    assert failed(recheck("bf16_cpu/t2v", change)) == ["velocity"]


def test_full_tables_repeat_each_angle():
    assert full_table(torch.tensor([[[1.0, 2.0]]])).tolist() == [[[[1.0, 1.0, 2.0, 2.0]]]]

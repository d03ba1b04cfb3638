"""Memory of each rank, against what FSDP2 really gives a rank and against sums by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loom_core.config.training import LoraSettings, ModelSettings, OptimiserSettings
from loom_core.distributed.sharding import local_part
from loom_core.models.dit import LoomDiT
from loom_core.training.estimate import training_needs
from loom_core.training.rank_memory import rank_needs, rows_of_first_rank

GB = 10**9


def counted(ranks, config):
    model = LoomDiT(config.model.dit_config())
    ranks.shard(model)
    return sum(local_part(weight).numel() for weight in model.parameters())


def test_a_rank_has_the_rows_that_are_counted(config, processes):
    model = LoomDiT(config.model.dit_config(), device="meta")
    found = processes.in_ranks(counted, config, size=3)
    assert max(found) == found[0] == rows_of_first_rank(model.parameters(), 3)
    whole = sum(weight.numel() for weight in model.parameters())
    assert sum(found) == whole == rows_of_first_rank(model.parameters(), 1)


@pytest.fixture
def large(config):
    """The 5B as it is trained, on the GPU."""
    return replace(
        config, model=ModelSettings(preset="5b"), precision="bf16", gradient_checkpointing=True, ema=0.9999,
        optimiser=OptimiserSettings(device="model"),
    )  # fmt: skip


def test_one_rank_needs_what_a_single_process_needs(large):
    lora = replace(large, starts_from=large.run, lora=LoraSettings(rank=8, whole=("source_patch_embedding",)))
    on_cpu = OptimiserSettings(device="cpu")
    muon = [replace(each, optimiser=OptimiserSettings(kind="muon")) for each in (large, lora)]
    for config in (large, replace(large, optimiser=on_cpu), replace(large, precision="fp32"), lora, *muon):
        (alone,), whole = rank_needs(config, [1]), training_needs(config)
        assert alone.on_gpu == whole.on_model_device
        assert alone.on_cpu == whole.on_cpu
        assert alone.gathered == 0


def test_what_is_spread_falls_with_the_number_and_the_rest_stays(large):
    one, eight, many = rank_needs(large, [1, 8, 64])
    for name in ("weights", "gradients", "optimiser", "ema"):
        assert getattr(eight, name) == pytest.approx(getattr(one, name) / 8, rel=0.01)
        assert getattr(many, name) == pytest.approx(getattr(one, name) / 64, rel=0.02)
    assert eight.activations == many.activations == one.activations
    # two blocks of 153 M weights and 170 M outside of them, gradients of the largest of these
    assert eight.gathered == many.gathered
    assert 1.5 * GB < eight.gathered < 2.5 * GB
    assert one.optimiser + one.gradients == pytest.approx(16 * 5.04 * GB, rel=0.05)


def test_a_lora_spreads_frozen_weights_and_updates_few(large):
    lora = replace(large, starts_from=large.run, lora=LoraSettings(rank=8))
    (whole,), (few,) = rank_needs(large, [8]), rank_needs(lora, [8])
    assert whole.weights < few.weights < 1.02 * whole.weights
    assert few.updating < whole.updating / 100
    assert few.gathered < whole.gathered, "gradients of a block are few"


def test_an_optimiser_on_the_cpu_leaves_the_gpu(large):
    (needs,) = rank_needs(replace(large, optimiser=OptimiserSettings(device="cpu")), [8])
    assert needs.on_cpu == needs.updating + needs.weights
    assert needs.on_gpu == needs.weights + needs.gathered + needs.activations

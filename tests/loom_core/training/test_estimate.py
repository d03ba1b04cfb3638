"""Memory and disk by arithmetic."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from loom_core.config.data import DataConfig, DataSetConfig
from loom_core.config.training import LoraSettings, ModelSettings, read_training_config
from loom_core.training.checkpoint import newest_checkpoint
from loom_core.training.estimate import cache_needs, memory_of, training_needs


@pytest.fixture
def large(repo_root):
    return read_training_config(repo_root / "configs" / "training" / "stage2.yaml")


def test_the_5b_takes_18_bytes_a_weight_and_4_for_averages(large):
    needs = training_needs(replace(large, optimiser=replace(large.optimiser, device="model")))
    assert needs.parameters == pytest.approx(5.05e9, rel=0.02)
    assert needs.weights + needs.optimiser == (2 + 4 + 4 + 8 + 4) * needs.parameters
    assert needs.on_model_device > 110e9
    assert needs.on_cpu == needs.weights, "while averages are measured"


def test_the_official_place_of_the_optimiser_leaves_a_gpu_weights_and_activations(large):
    assert large.optimiser.device == "cpu"
    needs = training_needs(large)
    assert needs.on_model_device == needs.weights + needs.activations
    assert needs.on_model_device < 24e9
    assert needs.on_cpu == (4 + 4 + 8 + 4 + 2) * needs.parameters
    assert training_needs(large, on_gpu=False).on_model_device > 110e9, "a CPU has but one memory"


def test_a_float32_model_has_a_copy_only_where_the_optimiser_is_elsewhere(large):
    autocast = replace(large, precision="bf16-autocast")
    needs = training_needs(autocast)
    assert (needs.masters, needs.casts) == (4 * needs.parameters, 2 * needs.parameters)
    assert training_needs(autocast, on_gpu=False).masters == 0
    assert training_needs(replace(large, precision="fp32")).casts == 0


def test_a_pack_at_several_noise_levels_keeps_more_and_its_prompts_once(large):
    """The states of prompts are the smaller part from two levels on."""
    one, two, four = (training_needs(replace(large, noise_draws=draws)).activations for draws in (1, 2, 4))
    assert one < two < 2 * one
    assert four == 2 * two


def test_frozen_parts_are_as_large_as_their_files(config, tmp_path):
    folder = tmp_path / "mllm"
    folder.mkdir()
    for name, size in (("a.safetensors", 5), ("b.safetensors", 7), ("tokenizer.json", 100)):
        (folder / name).write_bytes(bytes(size))
    codec = tmp_path / "vae.safetensors"
    codec.write_bytes(bytes(30))
    needs = training_needs(config, frozen=(folder, codec))
    assert needs.frozen == 42
    assert needs.on_model_device - training_needs(config).on_model_device == 42


@pytest.mark.parametrize(
    "kind",
    [
        "adamw",
        pytest.param(
            "muon", marks=pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")
        ),
    ],
)
def test_the_disk_is_what_is_written(config, make_trainer, kind):
    config = replace(config, steps=1, optimiser=replace(config.optimiser, kind=kind))
    make_trainer(config).run()
    written = sum(path.stat().st_size for path in newest_checkpoint(config.run).iterdir())
    assert training_needs(config).checkpoint == pytest.approx(written, rel=0.1)
    kept = load_file(newest_checkpoint(config.run) / "optimiser.safetensors")
    moments = sum(tensor.numel() for name, tensor in kept.items() if not name.startswith("step."))
    assert training_needs(config).moments == 4 * moments


def test_muon_keeps_one_moment_of_a_matrix(large):
    needs = training_needs(replace(large, optimiser=replace(large.optimiser, kind="muon")))
    time_embedding = 256 * 3072 + 3072 * 3072
    assert 4 * (needs.parameters + time_embedding) < needs.moments < 4.02 * needs.parameters
    assert training_needs(large).checkpoint - needs.checkpoint == training_needs(large).moments - needs.moments


@pytest.mark.parametrize(
    ("task", "options", "size"),
    [
        ("text-to-video", {}, 4.64e6),  # as docs/training.md has it
        ("edit-video", {}, 2 * 4.64e6 + 8 * 1.2e6),
        ("edit-video", {"source_to_mllm": False, "latent_dtype": "fp32"}, 4 * 4.64e6),
        ("edit-video", {"source_to_dit": False}, 4.64e6 + 8 * 1.2e6),
        ("reconstruct-video", {}, 4.64e6 + 8 * 1.2e6),
        ("reference-to-video", {}, 4.64e6 + 4.64e6 / 31 + 1.2e6),
        ("text-to-image", {}, 4.64e6 / 31),
    ],
)
def test_the_cache_is_what_its_samples_take(large, tmp_path, task, options, size):
    sets = (DataSetConfig(kind="manifest", path=tmp_path, tasks=(task,)),)
    data = DataConfig(sets=sets, sizes=((480, 480), (832, 480)), cache=tmp_path, clip_variants=3, **options)
    starts = 1 if task.endswith("image") else 3
    assert cache_needs(replace(large, data=data), [100]) == pytest.approx(100 * starts * size, rel=0.01)


def test_the_cache_holds_whatever_its_sets_may_have(large, tmp_path):
    any_task = DataSetConfig(kind="manifest", path=tmp_path, name="any")
    world = DataSetConfig(kind="world", options={"tasks": {"text-to-image": 1.0}})
    data = DataConfig(sets=(any_task, world), buckets=(256, 640), cache=tmp_path)
    both = cache_needs(replace(large, data=data), [1, 10])
    largest = cache_needs(replace(large, data=replace(data, sets=(replace(any_task, tasks=("reference-edit",)),))), [1])
    assert largest < both < 1.2 * largest


def test_checkpointing_and_half_precision_keep_less(config):
    config = replace(config, model=ModelSettings(preset="tiny"))
    kept = training_needs(config).activations
    assert training_needs(replace(config, gradient_checkpointing=True)).activations < kept / 2
    assert training_needs(replace(config, precision="bf16-autocast")).activations == kept // 2


def test_states_of_the_mllm_are_counted_where_they_are_larger(large):
    """4,096 numbers a token and block of the 5B, beside 3,072 of its own."""
    needs = training_needs(large)
    assert needs.activations > 16_384 * 30 * 4096 * 2


def test_the_memory_of_a_device():
    assert memory_of(torch.device("cpu")) > 2**28
    assert memory_of(torch.device("meta")) is None


@pytest.mark.parametrize("gigabytes", [24, 16])
def test_the_loras_fit_the_cards_that_they_are_for_as_their_comments_count(repo_root, gigabytes):
    """Beside the VAE's weights in bf16; of its 2^30 bytes a GB a card wants one or two GB for the driver and torch."""
    path = repo_root / "configs" / "training" / f"lora-{gigabytes}gb.yaml"
    needs = training_needs(read_training_config(path))
    together = needs.on_model_device + 1.41e9
    (told,) = re.findall(r"^#   together +([\d.]+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert together / 1e9 == pytest.approx(float(told), abs=0.02)
    assert together < (gigabytes - 2) * 2**30


def test_a_checkpoint_of_a_lora_is_the_lora_and_what_trains_it(large):
    lora = replace(large, lora=LoraSettings())
    needs = training_needs(lora)
    assert needs.parameters == 30 * 32 * (8 * (3072 + 3072) + 2 * (3072 + 14336)) == 80_609_280
    assert needs.total == training_needs(large).parameters + 80_609_280
    assert needs.checkpoint == (2 + 4 + 8 + 4) * 80_609_280
    assert needs.gradients == 4 * 80_609_280
    assert needs.on_cpu == (4 + 4 + 8 + 4 + 2) * 80_609_280


def test_kept_prompts_take_no_memory_beside_the_model(large, tmp_path):
    kept = replace(large, data=replace(large.data, cache=tmp_path), prompt_cache=tmp_path)
    assert training_needs(large).activations - training_needs(kept).activations == 16_384 * 30 * (4096 - 3072) * 2

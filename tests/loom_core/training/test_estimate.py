"""Memory and disk by arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loom_core.config.training import ModelSettings, read_training_config
from loom_core.training.checkpoint import newest_checkpoint
from loom_core.training.estimate import training_needs


def test_the_5b_takes_16_bytes_a_weight_beside_ema_and_activations(repo_root):
    needs = training_needs(read_training_config(repo_root / "configs" / "training" / "stage2.yaml"))
    assert needs.parameters == pytest.approx(5.05e9, rel=0.02)
    assert needs.weights + needs.gradients + needs.optimiser == (2 + 4 + 4 + 8) * needs.parameters
    assert needs.ema == 4 * needs.parameters
    assert needs.memory > 110e9


def test_the_disk_is_what_is_written(config, make_trainer):
    make_trainer(replace(config, steps=1)).run()
    written = sum(path.stat().st_size for path in newest_checkpoint(config.run).iterdir())
    assert training_needs(config).checkpoint == pytest.approx(written, rel=0.1)


def test_checkpointing_and_half_precision_keep_less(config):
    config = replace(config, model=ModelSettings(preset="tiny"))
    kept = training_needs(config).activations
    assert training_needs(replace(config, gradient_checkpointing=True)).activations < kept / 2
    assert training_needs(replace(config, precision="bf16-autocast")).activations == kept // 2

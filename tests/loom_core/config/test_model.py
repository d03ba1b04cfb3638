"""Sizes of the DiT: they fit together, and survive both forms of JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from loom_core.config.model import LOOMVIDEO_5B, QUARTER_TWIN, DiTConfig
from loom_core.errors import ConfigError


@pytest.mark.parametrize("config", [LOOMVIDEO_5B, QUARTER_TWIN, replace(QUARTER_TWIN, has_source=False, eps=1e-5)])
def test_json_gives_the_same_back(config):
    assert DiTConfig.from_mapping(json.loads(config.to_json())) == config


def test_the_official_configuration_becomes_the_5b(golden_dir):
    about = json.loads((golden_dir / "weights" / "load_check.json").read_text())
    official = {**about["dit_config"], "num_attention_heads": 24, "attention_head_dim": 128, "num_layers": 30}
    official |= {"ffn_dim": 14336, "freq_dim": 256, "in_channels": 48, "out_channels": 48, "eps": 1e-6}
    assert replace(DiTConfig.from_diffusers(official, mllm_dim=4096), rope_precision="bf16") == LOOMVIDEO_5B


def test_output_channels_default_to_those_of_the_input():
    values = {"num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 1, "ffn_dim": 8, "freq_dim": 4}
    assert DiTConfig.from_diffusers({**values, "in_channels": 16, "out_channels": None}, mllm_dim=8).out_channels == 16


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_heads": 5}, "hidden_size 768 with 5 heads"),
        ({"head_dim": 3, "num_heads": 256}, "head_dim 3"),
        ({"head_dim": 4, "num_heads": 192}, "head_dim 4"),
        ({"rope_precision": "fp8"}, "rope_precision 'fp8'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        replace(QUARTER_TWIN, **change)


def test_unknown_and_missing_settings_are_named():
    values = json.loads(QUARTER_TWIN.to_json())
    with pytest.raises(ConfigError, match=r"unknown model settings \['depth'\]"):
        DiTConfig.from_mapping({**values, "depth": 3})
    del values["ffn_dim"]
    with pytest.raises(ConfigError, match="ffn_dim"):
        DiTConfig.from_mapping(values)

"""Names in files are those that the host's loader looks for."""

from __future__ import annotations

import pytest

from loom_core.lora.naming import file_name_of


@pytest.mark.parametrize(
    ("weight", "part", "name"),
    [
        ("blocks.3.self_attn.q.weight", "lora_A.weight", "diffusion_model.blocks.3.self_attn.q.lora_A.weight"),
        ("blocks.3.ffn.2.weight", "alpha", "diffusion_model.blocks.3.ffn.2.alpha"),
        ("source_patch_embedding.weight", "diff", "diffusion_model.source_patch_embedding.diff"),
        ("source_patch_embedding.bias", "diff", "diffusion_model.source_patch_embedding.diff_b"),
        ("blocks.3.modulation", "diff", "diffusion_model.blocks.3.modulation.diff"),
    ],
)
def test_names(weight, part, name):
    assert file_name_of(weight, part) == name

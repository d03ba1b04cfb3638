"""Patterns mean layers of the model, or are refused with what was meant."""

from __future__ import annotations

import pytest

from loom_core.config.model import LOOMVIDEO_5B
from loom_core.config.training import LoraSettings
from loom_core.errors import ConfigError
from loom_core.lora.targets import choose
from loom_core.models.dit import LoomDiT


@pytest.fixture(scope="module")
def meta(small):
    return LoomDiT(small, device="meta")


def test_of_the_5b_attention_and_feed_forward_are_chosen():
    targets = choose(LoomDiT(LOOMVIDEO_5B, device="meta"), LoraSettings())
    assert len(targets.layers) == 30 * (4 + 4 + 2)
    assert targets.weights == {}


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        (["blocks.0.self_attn.q"], {"blocks.0.self_attn.q"}),
        (["blocks.1.ffn"], {"blocks.1.ffn.0", "blocks.1.ffn.2"}),
        (["blocks.*.cross_attn.[kv]"], {f"blocks.{n}.cross_attn.{part}" for n in (0, 1) for part in "kv"}),
        (["mllm_embedder", "head"], {"mllm_embedder.linear_1", "mllm_embedder.linear_2", "head.head"}),
    ],
)
def test_a_pattern_names_layers_or_what_they_lie_in(meta, modules, expected):
    assert set(choose(meta, LoraSettings(rank=2, modules=tuple(modules))).layers) == expected


def test_norms_and_convolutions_are_no_layers_of_low_rank_but_may_be_trained_whole(meta):
    settings = LoraSettings(
        rank=2, modules=(), whole=("source_patch_embedding", "blocks.*.norm3.weight", "*modulation")
    )
    assert set(choose(meta, settings).weights) == {
        "source_patch_embedding.weight", "source_patch_embedding.bias", "blocks.0.norm3.weight",
        "blocks.1.norm3.weight", "blocks.0.modulation", "blocks.1.modulation", "head.modulation",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="names none of the model's"):
        choose(meta, LoraSettings(rank=2, modules=("blocks.0.norm3",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modules": ("blocks.*.self_atn",)},
         r"'blocks\.\*\.self_atn' under lora\.modules.*did you mean 'blocks\.\d\.self_attn"),
        ({"whole": ("mllm_embeder",)}, r"under lora\.whole, which names none.*did you mean 'mllm_embedder'"),
        ({"whole": ("blocks.0.ffn.0",)},
         r"2 weights named by lora\.modules and lora\.whole.*blocks\.0\.ffn\.0\.weight"),
        ({"rank": 25}, r"rank 25, larger than 20 of the chosen layers \(blocks.*has 24\).*24 or less"),
        ({"modules": ("mllm_embedder",), "rank": 9}, r"\(mllm_embedder\.linear_1 has 8\)"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(meta, changes, message):
    with pytest.raises(ConfigError, match=message):
        choose(meta, LoraSettings(**{"rank": 4, **changes}))

"""Numbers of weights, against the models themselves on the meta device."""

import json
from dataclasses import replace

import pytest
from torch import nn

from loom_core.config.model import LOOM_TINY, LOOMVIDEO_5B, QUARTER_TWIN
from loom_core.errors import ConfigError
from loom_core.mllm.loading import QWEN3_VL_8B, build_empty
from loom_core.models.dit import LoomDiT
from loom_core.planning.sizes import FORMATS, MLLMSizes, Weights, dit_weights, weight_format


def counted(model, matrices):
    total = sum(weight.numel() for weight in model.parameters())
    large = sum(matrix.numel() for matrix in matrices)
    return Weights(large, total - large)


@pytest.mark.parametrize(
    "config", [LOOMVIDEO_5B, QUARTER_TWIN, replace(LOOM_TINY, has_source=False, has_projector=False)]
)
def test_a_dit(config):
    model = LoomDiT(config, device="meta")
    linears = [module for module in model.blocks.modules() if isinstance(module, nn.Linear)]
    assert dit_weights(config) == counted(model, [weight for linear in linears for weight in linear.parameters()])


def test_the_mllm(golden_dir):
    pytest.importorskip("transformers", reason="Qwen3-VL comes from transformers")
    tiny = json.loads((golden_dir / "models" / "tiny" / "qwen" / "config.json").read_text(encoding="utf-8"))
    for values in (tiny, QWEN3_VL_8B):
        model = build_empty(values)
        linears = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
        assert MLLMSizes.from_config(values).weights == counted(model, linears)
    assert MLLMSizes.from_config(QWEN3_VL_8B) == MLLMSizes()


def test_a_format_of_eight_bits_is_for_the_matrices_alone():
    weights = Weights(matrices=1000, others=10)
    assert FORMATS["bf16"].num_bytes(weights) == 2020
    assert FORMATS["fp32"].num_bytes(weights) == 4040
    assert FORMATS["fp8"].num_bytes(weights) == FORMATS["int8"].num_bytes(weights) == 1020
    assert FORMATS["gguf-q8_0"].num_bytes(weights) == 1082 and FORMATS["gguf-q4_0"].num_bytes(weights) == 582
    assert FORMATS["gguf-q4_0"].widening(3, 5) == 30 and FORMATS["fp16"].widening(3, 5) == 0
    with pytest.raises(ConfigError, match="weights 'q4'"):
        weight_format("q4")

"""A file is known by its names and shapes, whatever it is called."""

from __future__ import annotations

import pytest

from loom_core.weights.identify import ModelKind, identify
from loom_core.weights.reading import open_checkpoint

WAN = {"blocks.0.self_attn.q.weight": (8, 8), "patch_embedding.weight": (8, 48, 1, 2, 2)}
DIFFUSERS_WAN = {"blocks.0.attn1.to_q.weight": (8, 8), "patch_embedding.weight": (8, 48, 1, 2, 2)}
PROJECTOR = {"mllm_embedder.norm.weight": (4,)}
SOURCE = {"source_patch_embedding.bias": (8,)}
WAN_14B = {"blocks.0.self_attn.q.weight": (8, 8), "patch_embedding.weight": (8, 16, 1, 2, 2)}


def prefixed(prefix, shapes):
    return {prefix + name: shape for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [
        ({}, ModelKind.EMPTY),
        (WAN | PROJECTOR | SOURCE, ModelKind.LOOMVIDEO),
        (DIFFUSERS_WAN | PROJECTOR | SOURCE, ModelKind.LOOMVIDEO),
        (prefixed("gen_model.", WAN | PROJECTOR | SOURCE) | {"und_model.visual.x": (1,)}, ModelKind.LOOMVIDEO),
        (WAN | PROJECTOR, ModelKind.LOOMVIDEO_STAGE_1),
        (WAN, ModelKind.WAN_22_5B),
        (prefixed("model.diffusion_model.", WAN), ModelKind.WAN_22_5B),
        (WAN_14B, ModelKind.WAN_OTHER),
        ({"blocks.0.attn1.to_q.lora_A.weight": (4, 8)}, ModelKind.LORA),
        ({"diffusion_model.blocks.0.self_attn.q.lora_down.weight": (4, 8)}, ModelKind.LORA),
        ({"decoder.conv1.weight": (8, 48, 3, 3, 3), "conv2.weight": (48, 48, 1, 1, 1)}, ModelKind.WAN_22_VAE),
        ({"decoder.conv1.weight": (8, 16, 3, 3, 3), "conv2.weight": (16, 16, 1, 1, 1)}, ModelKind.WAN_21_VAE),
        ({"decoder.conv_in.weight": (8, 16), "post_quant_conv.weight": (16, 16, 1, 1, 1)}, ModelKind.WAN_21_VAE),
        ({"decoder.conv_in.weight": (8, 4), "post_quant_conv.weight": (4, 4, 1, 1)}, ModelKind.OTHER_VAE),
        ({"decoder.conv_in.weight": (8, 4), "encoder.conv_in.weight": (8, 4)}, ModelKind.OTHER_VAE),
        ({"vae.decoder.conv_in.weight": (8, 48), "vae.conv2.weight": (48, 48, 1, 1, 1)}, ModelKind.WAN_22_VAE),
        ({"image.synthesis": (768, 128), "clip.synthesis": (3072, 112)}, ModelKind.LINEAR_CODEC),
        ({"model.language_model.layers.0.self_attn.q_norm.weight": (8,)}, ModelKind.QWEN3_VL),
        ({"visual.deepstack_merger_list.0.norm.weight": (8,)}, ModelKind.QWEN3_VL),
        ({"visual.merger.ln_q.weight": (8,), "model.layers.0.self_attn.q_proj.bias": (8,)}, ModelKind.QWEN2_VL),
        ({"model.visual.merger.ln_q.weight": (8,)}, ModelKind.QWEN2_VL),
        ({"encoder.block.0.layer.0.SelfAttention.q.weight": (8, 8), "decoder.block.0": (1,)}, ModelKind.UMT5),
        ({"blocks.0.pos_embedding.embedding.weight": (32, 8)}, ModelKind.UMT5),
        ({"conv1.weight": (64, 3, 7, 7)}, ModelKind.UNKNOWN),
    ],
)
def test_known_by_names_and_shapes(shapes, kind):
    assert identify(shapes) is kind


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("models/tiny/gen_model.safetensors", ModelKind.LOOMVIDEO),
        ("models/tiny/vae", ModelKind.WAN_22_VAE),
        ("models/tiny/qwen", ModelKind.QWEN3_VL),
        ("weights/full_model.pt", ModelKind.LOOMVIDEO),
    ],
)
def test_real_files(golden_dir, path, kind):
    assert open_checkpoint(golden_dir / path).kind is kind

"""Which model a file holds, told from the names and shapes of its tensors alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum

from .key_maps import native_names, strip_vae_prefix

Shapes = Mapping[str, Sequence[int]]


class ModelKind(Enum):
    """What a file seems to be; the values complete "this is ..."."""

    LOOMVIDEO = "a LoomVideo DiT"
    LOOMVIDEO_STAGE_1 = "a LoomVideo DiT without source embedding (stage 1)"
    WAN_22_5B = "a plain Wan 2.2 TI2V-5B DiT (48 latent channels, without LoomVideo's additions)"
    WAN_OTHER = "another Wan DiT (not of 48 latent channels; 1.3B and 14B have 16)"
    WAN_22_VAE = "a Wan 2.2 VAE (48 latent channels)"
    WAN_21_VAE = "a Wan 2.1 VAE (16 latent channels)"
    OTHER_VAE = "a VAE of another kind"
    LINEAR_CODEC = "a linear codec of LoomVideo (the built-in model's)"
    QWEN3_VL = "a Qwen3-VL language model"
    QWEN2_VL = "a Qwen2.5-VL or Qwen2-VL language model"
    UMT5 = "a UMT5 text encoder"
    LORA = "a LoRA (changes to a model, not a model)"
    EMPTY = "a file without tensors"
    UNKNOWN = "no model known here"

    @property
    def is_loomvideo(self) -> bool:
        """Whether it is a LoomVideo DiT of any stage."""
        return self in {ModelKind.LOOMVIDEO, ModelKind.LOOMVIDEO_STAGE_1}


CHANNELS_OF_WAN_22 = 48
CHANNELS_OF_WAN_21 = 16

_LORA_NAME = re.compile(r"lora(_linear_layer)?[._](A|B|up|down)\b|\.(lokr|hada)_w|\.diff(_b)?$")
_WAN_ATTENTION = re.compile(r"blocks\.\d+\.(self_attn|cross_attn)\.[qkvo]\.")
_LATENT_CONVOLUTIONS = ("post_quant_conv.weight", "conv2.weight")
"""Last layer before the VAE's decoder, [C, C, 1, 1, 1], in diffusers and in Wan naming."""
_LINEAR_CODEC_MARKS = ("image.synthesis", "clip.synthesis")
_QWEN3_VL_MARKS = ("deepstack_merger_list.", "language_model.layers.0.self_attn.q_norm")
_QWEN2_VL_MARK = "visual.merger.ln_q."
_UMT5_MARKS = ("encoder.block.0.layer.0.SelfAttention.q.weight", "blocks.0.pos_embedding.embedding.weight")
"""The second is the naming of Wan's own file: UMT5, unlike T5, has a position table in every block."""


def identify(shapes: Shapes) -> ModelKind:
    """Tell which model a set of tensors is.

    Args:
        shapes: Name -> shape, named in any accepted way.
    """
    if not shapes:
        return ModelKind.EMPTY
    if any(_LORA_NAME.search(name) for name in shapes):
        return ModelKind.LORA
    return _identify_dit(shapes) or _identify_vae(shapes) or _identify_text_model(shapes) or ModelKind.UNKNOWN


def _identify_dit(shapes: Shapes) -> ModelKind | None:
    sources = native_names(shapes).sources
    if not any(_WAN_ATTENTION.match(name) for name in sources):
        return None
    if any(name.startswith("mllm_embedder.") for name in sources):
        has_source = any(name.startswith("source_patch_embedding.") for name in sources)
        return ModelKind.LOOMVIDEO if has_source else ModelKind.LOOMVIDEO_STAGE_1
    patch_embedding = shapes.get(sources.get("patch_embedding.weight", ""), ())
    is_wan_22_5b = tuple(patch_embedding[1:2]) == (CHANNELS_OF_WAN_22,)
    return ModelKind.WAN_22_5B if is_wan_22_5b else ModelKind.WAN_OTHER


def _identify_vae(shapes: Shapes) -> ModelKind | None:
    if any(mark in shapes for mark in _LINEAR_CODEC_MARKS):
        return ModelKind.LINEAR_CODEC
    names = {strip_vae_prefix(name): name for name in shapes}
    if not any(name.startswith("decoder.") for name in names) or any(".SelfAttention." in name for name in names):
        return None
    latent_convolution = next((names[name] for name in _LATENT_CONVOLUTIONS if name in names), None)
    if latent_convolution is None:
        return ModelKind.OTHER_VAE if any(name.startswith("encoder.") for name in names) else None
    channels = shapes[latent_convolution][0]
    is_video = len(shapes[latent_convolution]) == 5  # noqa: PLR2004 - a 3-D convolution's weight has five axes
    if is_video and channels == CHANNELS_OF_WAN_22:
        return ModelKind.WAN_22_VAE
    return ModelKind.WAN_21_VAE if is_video and channels == CHANNELS_OF_WAN_21 else ModelKind.OTHER_VAE


def _identify_text_model(shapes: Shapes) -> ModelKind | None:
    if any(mark in name for name in shapes for mark in _QWEN3_VL_MARKS):
        return ModelKind.QWEN3_VL
    if any(_QWEN2_VL_MARK in name for name in shapes):
        return ModelKind.QWEN2_VL
    if any(name.endswith(mark) for name in shapes for mark in _UMT5_MARKS):
        return ModelKind.UMT5
    return None

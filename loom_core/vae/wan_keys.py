"""Names of the Wan 2.2 VAE's weights: those of the original file, and those of diffusers' `AutoencoderKLWan`.

The table is data: dotted module names, longest first match wins, and the rest of the key stays. It holds for four
stages of two (encoder) and three (decoder) residual blocks, which every released Wan 2.2 VAE has.

Source: `wan/modules/vae2_2.py` in Wan-Video/Wan2.2 and diffusers' `autoencoder_kl_wan.py`.
"""

from __future__ import annotations

_STAGES = range(4)
_RESIDUAL_BLOCK = {
    "residual.0": "norm1",
    "residual.2": "conv1",
    "residual.3": "norm2",
    "residual.6": "conv2",
    "shortcut": "conv_shortcut",
}
_RESIDUAL_BLOCKS = {
    "encoder.middle.0": "encoder.mid_block.resnets.0",
    "encoder.middle.2": "encoder.mid_block.resnets.1",
    "decoder.middle.0": "decoder.mid_block.resnets.0",
    "decoder.middle.2": "decoder.mid_block.resnets.1",
    **{
        f"encoder.downsamples.{stage}.downsamples.{block}": f"encoder.down_blocks.{stage}.resnets.{block}"
        for stage in _STAGES
        for block in range(2)
    },
    **{
        f"decoder.upsamples.{stage}.upsamples.{block}": f"decoder.up_blocks.{stage}.resnets.{block}"
        for stage in _STAGES
        for block in range(3)
    },
}
ORIGINAL_TO_DIFFUSERS: dict[str, str] = {
    "conv1": "quant_conv",
    "conv2": "post_quant_conv",
    "encoder.conv1": "encoder.conv_in",
    "decoder.conv1": "decoder.conv_in",
    "encoder.middle.1": "encoder.mid_block.attentions.0",
    "decoder.middle.1": "decoder.mid_block.attentions.0",
    "encoder.head.0": "encoder.norm_out",
    "encoder.head.2": "encoder.conv_out",
    "decoder.head.0": "decoder.norm_out",
    "decoder.head.2": "decoder.conv_out",
    **{f"encoder.downsamples.{stage}.downsamples.2": f"encoder.down_blocks.{stage}.downsampler" for stage in _STAGES},
    **{f"decoder.upsamples.{stage}.upsamples.3": f"decoder.up_blocks.{stage}.upsampler" for stage in _STAGES},
    **{
        f"{original}.{inner}": f"{renamed}.{renamed_inner}"
        for original, renamed in _RESIDUAL_BLOCKS.items()
        for inner, renamed_inner in _RESIDUAL_BLOCK.items()
    },
}
"""Module of the original file -> module of diffusers."""
DIFFUSERS_TO_ORIGINAL: dict[str, str] = {renamed: original for original, renamed in ORIGINAL_TO_DIFFUSERS.items()}
"""The same the other way round."""


def rename(key: str, table: dict[str, str]) -> str:
    """Rename the module that a key begins with; a key of no module in the table stays as it is.

    Args:
        key: Dotted name of a weight.
        table: `ORIGINAL_TO_DIFFUSERS` or `DIFFUSERS_TO_ORIGINAL`.
    """
    module = key
    while module:
        if module in table:
            return table[module] + key[len(module) :]
        module = module.rpartition(".")[0]
    return key

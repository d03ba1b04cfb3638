from safetensors import safe_open

from loom_core.vae.wan_keys import DIFFUSERS_TO_ORIGINAL, ORIGINAL_TO_DIFFUSERS, rename

# Written by hand from the original module, one name of every kind.
PAIRS = {
    "conv1.weight": "quant_conv.weight",
    "conv2.bias": "post_quant_conv.bias",
    "encoder.conv1.weight": "encoder.conv_in.weight",
    "decoder.conv1.bias": "decoder.conv_in.bias",
    "encoder.downsamples.0.downsamples.0.residual.0.gamma": "encoder.down_blocks.0.resnets.0.norm1.gamma",
    "encoder.downsamples.1.downsamples.0.shortcut.weight": "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
    "encoder.downsamples.1.downsamples.2.resample.1.weight": "encoder.down_blocks.1.downsampler.resample.1.weight",
    "encoder.downsamples.2.downsamples.2.time_conv.bias": "encoder.down_blocks.2.downsampler.time_conv.bias",
    "encoder.downsamples.3.downsamples.1.residual.6.bias": "encoder.down_blocks.3.resnets.1.conv2.bias",
    "encoder.middle.0.residual.3.gamma": "encoder.mid_block.resnets.0.norm2.gamma",
    "encoder.middle.1.to_qkv.weight": "encoder.mid_block.attentions.0.to_qkv.weight",
    "encoder.middle.2.residual.2.weight": "encoder.mid_block.resnets.1.conv1.weight",
    "encoder.head.0.gamma": "encoder.norm_out.gamma",
    "decoder.head.2.weight": "decoder.conv_out.weight",
    "decoder.upsamples.0.upsamples.2.residual.2.weight": "decoder.up_blocks.0.resnets.2.conv1.weight",
    "decoder.upsamples.0.upsamples.3.time_conv.weight": "decoder.up_blocks.0.upsampler.time_conv.weight",
    "decoder.upsamples.3.upsamples.0.shortcut.bias": "decoder.up_blocks.3.resnets.0.conv_shortcut.bias",
}


def test_one_name_of_every_kind_both_ways():
    for original, renamed in PAIRS.items():
        assert rename(original, ORIGINAL_TO_DIFFUSERS) == renamed
        assert rename(renamed, DIFFUSERS_TO_ORIGINAL) == original


def test_every_key_of_a_real_vae_goes_there_and_back(golden_dir):
    path = golden_dir / "models" / "tiny" / "vae" / "diffusion_pytorch_model.safetensors"
    with safe_open(path, framework="pt") as handle:
        keys = list(handle.keys())
    originals = [rename(key, DIFFUSERS_TO_ORIGINAL) for key in keys]
    assert len(keys) == len(set(originals)) == 196
    assert not set(keys) & set(originals)
    assert [rename(key, ORIGINAL_TO_DIFFUSERS) for key in originals] == keys


def test_a_foreign_key_stays():
    assert rename("blocks.0.conv1.weight", ORIGINAL_TO_DIFFUSERS) == "blocks.0.conv1.weight"
    assert rename("conv10.weight", ORIGINAL_TO_DIFFUSERS) == "conv10.weight"

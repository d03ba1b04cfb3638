"""What the phases of the VAE take, against live tensors on the CPU."""

import pytest
import torch

from benchmarks.live_memory import peak_live_bytes
from loom_core import pipeline
from loom_core.geometry import latent_shape
from loom_core.pipeline import Media
from loom_core.planning.plan import DECODE, ENCODE, Measures, Setting, phase_of
from loom_core.planning.run import RunSizes
from loom_core.planning.sizes import FORMATS, ModelSizes
from loom_core.protocols import EncodedPrompt
from loom_core.types import Clip
from loom_core.vae.memory import VaeSizes
from loom_core.vae.wan import WanCodec

RELEASED = {
    "in_channels": 12, "out_channels": 12, "z_dim": 48, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2,
    "temperal_downsample": [False, True, True], "is_residual": True, "patch_size": 2, "scale_factor_spatial": 16,
}  # fmt: skip
"""Of the released VAE but for its widths. Source: config.json in Wan2.2-TI2V-5B-Diffusers/vae."""
SMALL = VaeSizes(encoder_width=16, decoder_width=24, num_weights=6_667_300)


@pytest.fixture(scope="module")
def codec():
    diffusers = pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")
    model = diffusers.AutoencoderKLWan(base_dim=SMALL.encoder_width, decoder_base_dim=SMALL.decoder_width, **RELEASED)
    assert sum(weight.numel() for weight in model.parameters()) == SMALL.num_weights
    return WanCodec(model)


def clip(num_frames, run):
    return Clip(torch.randint(0, 256, (num_frames, run.height, run.width, 3), dtype=torch.uint8), 24.0)


def setting_of(run):
    return Setting(run=run, model=ModelSizes(vae=SMALL), form=FORMATS["fp32"], on_gpu=False)


@pytest.mark.parametrize(
    ("sizes", "tile"),
    [
        ({"num_frames": 9, "has_source": True}, None),
        ({"num_frames": 33, "has_source": True}, None),
        ({"num_frames": 5, "has_source": True, "num_references": 2, "width": 160, "height": 128}, None),
        ({"num_frames": 1, "num_references": 3, "width": 160, "height": 128}, None),
        ({"num_frames": 9, "has_source": True, "width": 160, "height": 128}, 4),
    ],
)
def test_encoding_within_a_tenth(codec, plan_of, sizes, tile):
    run = RunSizes(**{"width": 96, "height": 64, **sizes})
    media = Media(
        source=clip(run.num_frames, run) if run.has_source else None,
        references=tuple(clip(1, run) for _ in range(run.num_references)),
    )
    codec.tile_latents = tile
    prompt = EncodedPrompt(full=(), negative=(), visual=())
    measured = peak_live_bytes(lambda: pipeline.encode_conditions(plan_of(run), media, prompt, codec=codec))
    predicted = phase_of(ENCODE, setting_of(run), Measures(encode_tile=tile)).new
    assert predicted == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize(
    ("sizes", "tile"),
    [
        ({"num_frames": 9}, None),
        ({"num_frames": 17, "width": 160, "height": 128}, None),
        ({"num_frames": 1, "width": 160, "height": 128}, None),
        ({"num_frames": 9, "width": 160, "height": 128}, 4),
        ({"num_frames": 9, "width": 192, "height": 96}, 6),
    ],
)
def test_decoding_within_a_tenth(codec, sizes, tile):
    run = RunSizes(**{"width": 96, "height": 64, **sizes})
    shape = latent_shape(run.num_frames, run.height, run.width)
    latents = torch.randn(1, 48, shape.frames, shape.height, shape.width)
    codec.tile_latents = tile

    def decode():
        for pictures in pipeline.decode_frames(latents, codec):
            del pictures

    measured = peak_live_bytes(decode)
    predicted = phase_of(DECODE, setting_of(run), Measures(decode_tile=tile)).new
    assert predicted == pytest.approx(measured, rel=0.1)

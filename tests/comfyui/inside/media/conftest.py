"""The built-in VAE, a small one of the host's own kind, and pictures to encode."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch


@pytest.fixture
def part(pack):
    """A module of the pack by its name."""
    return lambda name: import_module(f"{pack.__name__}.{name}")


@pytest.fixture
def errors(part):
    return part("loom_core.errors")


@pytest.fixture
def codec_path(part):
    return part("loom_core.bundle").BUILT_IN / "codec.safetensors"


@pytest.fixture
def built_in(part):
    return part("nodes.adapter.media.vae").load_vae("built-in: loom-tiny")


@pytest.fixture
def codec(part, codec_path):
    return part("loom_core.vae.linear").LinearCodec.load(codec_path)


@pytest.fixture
def wan(built_in):
    """The host's own Wan 2.2 VAE with few and random weights, behind the host's VAE."""
    from comfy import model_management
    from comfy.ldm.wan.vae2_2 import WanVAE
    from comfy.model_patcher import CoreModelPatcher

    torch.manual_seed(0)
    with torch.inference_mode(False), torch.no_grad():
        model = WanVAE(
            dim=8, dec_dim=8, z_dim=48, dim_mult=[1, 2, 4, 4], num_res_blocks=1, temperal_downsample=[False, True, True]
        ).eval()
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.1)
    built_in.first_stage_model, built_in.disable_offload = model, False
    model_management.archive_model_dtypes(model)
    built_in.memory_used_encode = lambda shape, _: 3300 * shape[3] * shape[4] * 4
    built_in.patcher = CoreModelPatcher(model, built_in.device, model_management.vae_offload_device())
    return built_in


@pytest.fixture
def picture():
    """Makes IMAGE frames of smooth noise that changes slowly, [frames, height, width, channels] in [0, 1]."""

    def make(frames=1, height=64, width=96, channels=3, seed=0):
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand(1, channels, 2, max(1, height // 32), max(1, width // 32), generator=generator)
        size = (max(2, frames), height, width)
        return torch.nn.functional.interpolate(coarse, size=size, mode="trilinear")[0, :, :frames].movedim(0, -1)

    return make


@pytest.fixture
def cancel():
    """Cancels the running prompt, as the button does; nothing stays cancelled after the test."""
    from comfy import model_management

    yield model_management.interrupt_current_processing
    model_management.interrupt_current_processing(False)


@pytest.fixture(scope="session")
def make_video(tmp_path_factory):
    """Makes a file of numbered frames; see `frame_number`. With `seconds_of_sound` above 0 it beeps from 0.5 to 0.6."""
    from fractions import Fraction

    import av
    import numpy as np

    folder = tmp_path_factory.mktemp("videos")

    def make(name, frames, *, fps=30, width=128, height=96, seconds_of_sound=0.0, times=None):
        path, unit = folder / name, Fraction(1, 1000) if times else 1 / Fraction(fps)
        with av.open(str(path), "w") as output:
            stream = output.add_stream("libx264", rate=Fraction(fps), options={"qp": "0"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = unit
            if seconds_of_sound:
                sound = output.add_stream("aac", rate=48000)
                sound.codec_context.layout = "stereo"
            for number in range(frames):
                pixels = np.full((height, width, 3), 64, np.uint8)
                for bit in range(8):
                    pixels[: height // 2, bit * width // 8 : (bit + 1) * width // 8] = 255 * (number >> bit & 1)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = round(times[number] * 1000) if times else number, unit
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
            if seconds_of_sound:
                moments = np.arange(round(seconds_of_sound * 48000)) / 48000
                beep = 0.4 * np.sin(2 * np.pi * 440 * moments) * ((moments >= 0.5) & (moments < 0.6))
                block = av.AudioFrame.from_ndarray(np.stack([beep, beep]).astype(np.float32), "fltp", "stereo")
                block.sample_rate, block.time_base, block.pts = 48000, Fraction(1, 48000), 0
                output.mux(sound.encode(block))
                output.mux(sound.encode(None))
        return path

    return make


@pytest.fixture
def frame_number():
    """The number that a frame of `make_video` shows, after lossy coding and resizing; [height, width, 3]."""

    def read(frame):
        height, width, _ = frame.shape
        middles = [int((bit + 0.5) * width / 8) for bit in range(8)]
        return sum(int(frame[height // 4, column].mean() > 0.5) << bit for bit, column in enumerate(middles))

    return read


@pytest.fixture
def shown(part, monkeypatch):
    """What a node shows below its title."""
    texts = []
    monkeypatch.setattr(part("nodes.adapter.progress").NodeProgress, "text", lambda self, text, **_: texts.append(text))
    return texts

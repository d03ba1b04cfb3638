"""A source in memory and a codec that averages, so that streams and packs are tested without files and weights."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from loom_core.data.mixture import Mixture
from loom_core.data.problems import BadSampleGuard
from loom_core.data.sample import EncodedSample, Sample, SampleError, SampleFacts
from loom_core.data.stream import SampleStream
from loom_core.data.tasks import training_task
from loom_core.types import Clip


class AveragingCodec:
    """Wan geometry, one channel a colour: every latent is the mean of its pixels."""

    latent_channels = 3
    tile_latents = None

    def __init__(self):
        self.calls = 0

    def encode(self, pixels, *, generator=None):
        self.calls += 1
        first = torch.nn.functional.avg_pool3d(pixels[:, :, :1], (1, 16, 16))
        if pixels.shape[2] == 1:
            return first
        return torch.cat([first, torch.nn.functional.avg_pool3d(pixels[:, :, 1:], (4, 16, 16))], dim=2)


class MemorySource:
    """Stills whose red tells their index; some are broken. Notes every decode in a file, so that workers count too."""

    def __init__(self, count, *, name="memory", broken=(), task="text-to-image", size=32, log=None, references=0):
        self.name = name
        self.fingerprint = f"{name}-{count}-{size}"
        self._count, self._broken, self._size = count, set(broken), size
        self._task, self._log, self._references = training_task(task), log, references

    def __len__(self):
        return self._count

    def describe(self, index):
        return SampleFacts(f"{self.fingerprint} {index}", has_variants=True)

    def load(self, index, *, generator):
        if self._log is not None:
            with Path(self._log).open("a") as file:
                file.write(f"{self.name} {index}\n")
        if index in self._broken:
            raise SampleError(f"{self.name}/{index}", "unreadable: made so")
        frames = torch.full((1, self._size, self._size, 3), index % 256, dtype=torch.uint8)
        clip = Clip(frames, 0.0, is_image=True)
        source = clip if self._task.needs_source else None
        return Sample(
            key=f"{self.name}/{index}",
            task=self._task,
            instruction=f"number {index}",
            target=clip,
            source=source,
            references=(clip,) * self._references,
        )


def encode(sample):
    """One latent of 2 x 2 a 32 x 32 pixels, without a codec."""
    height, width = sample.target.frames.shape[1:3]
    latents = torch.full((1, sample.target.num_frames, height // 16, width // 16), float(sample.key.split("/")[1]))
    return EncodedSample(
        key=sample.key,
        task=sample.task,
        instruction=sample.instruction,
        target=latents,
        references=tuple(latents for _ in sample.references),
        mllm_references=sample.references,
    )


def make_stream(sources, *, seed=0, weights=None, guard=None, **kwargs):
    mixture = Mixture([len(source) for source in sources], weights or [1.0] * len(sources), seed=seed)
    guard = guard or BadSampleGuard(max_share=0.5, min_bad=1000)
    return SampleStream(sources, mixture, **{"encode": encode, **kwargs}, guard=guard)


@pytest.fixture
def codec():
    return AveragingCodec()


@pytest.fixture(scope="session")
def memory_source():
    return MemorySource


@pytest.fixture(scope="session")
def stream():
    """Makes a stream over sources."""
    return make_stream


@pytest.fixture(scope="session")
def make_clip():
    """Encodes frames into a file with plain PyAV."""
    path = Path(__file__).parent.parent / "media" / "conftest.py"
    spec = importlib.util.spec_from_file_location("media_clips", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.make_clip


@pytest.fixture(scope="session")
def save_picture():
    """Writes a picture of one colour."""

    def save(path, *, size=(64, 48), colour=(200, 30, 30)):
        from PIL import Image

        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path)
        return path

    return save


@pytest.fixture(scope="session")
def counting_clip(make_clip):
    """Writes a clip whose brightness tells the number of a frame: 5 levels a frame."""

    def save(path, *, frames=24, size=(64, 48), rate=24):
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures = [np.full((size[1], size[0], 3), 5 * number + 16, np.uint8) for number in range(frames)]
        return make_clip(path, pictures, rate=rate, options={"crf": "4"})

    return save

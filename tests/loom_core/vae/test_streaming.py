import pytest
import torch

from loom_core.errors import ConfigError
from loom_core.vae.streaming import StreamingCodec


class Counter(StreamingCodec):
    """Paints each latent frame in its own grey."""

    def to(self, device):
        raise NotImplementedError

    def _decode_frames(self, latents):
        batch, _, frames, height, width = latents.shape
        for index in range(frames):
            yield torch.full((batch, 3, 4 if index else 1, height * 16, width * 16), index / 10)


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_decode_is_the_chunks_in_order(frames):
    latents = torch.zeros(2, 48, frames, 1, 2)
    pixels = Counter().decode(latents)
    assert pixels.shape == (2, 3, 4 * frames - 3, 16, 32)
    assert torch.equal(pixels, torch.cat(list(Counter().decode_chunks(latents)), dim=2))


def test_bad_latents_are_refused_at_the_call():
    with pytest.raises(ConfigError, match="48"):
        Counter().decode_chunks(torch.zeros(1, 16, 1, 2, 2))

import pytest
import torch

from loom_core.errors import ConfigError
from loom_core.vae.latents import (
    WAN22_STATISTICS,
    LatentStatistics,
    check_latents,
    check_pixels,
    denormalise,
    middle_frame,
    normalise,
)


def test_statistics_are_those_of_the_released_vae():
    assert len(WAN22_STATISTICS.mean) == len(WAN22_STATISTICS.std) == 48
    assert (WAN22_STATISTICS.mean[0], WAN22_STATISTICS.mean[-1]) == (-0.2289, -0.0667)
    assert (WAN22_STATISTICS.std[0], WAN22_STATISTICS.std[-1]) == (0.4765, 0.7744)
    assert sum(WAN22_STATISTICS.mean) == pytest.approx(-0.5589, abs=1e-6)  # sums of the official list: no digit lost
    assert sum(WAN22_STATISTICS.std) == pytest.approx(32.5360, abs=1e-6)


def test_normalise_works_per_channel_and_back():
    statistics = LatentStatistics(mean=(1.0, -2.0), std=(0.5, 4.0))
    raw = torch.tensor([2.0, 2.0]).reshape(1, 2, 1, 1, 1)
    latents = normalise(raw, statistics)
    assert latents.flatten().tolist() == [2.0, 1.0]
    assert torch.equal(denormalise(latents, statistics), raw)


@pytest.mark.parametrize("shape", [(1, 3, 1, 16, 16), (2, 3, 5, 32, 48)])
def test_good_pixels_pass(shape):
    check_pixels(torch.zeros(shape))


@pytest.mark.parametrize(
    ("shape", "offer"),
    [
        ((1, 3, 98, 32, 32), "97 or 101"),
        ((1, 3, 0, 32, 32), "1 for an image"),
        ((1, 3, 5, 40, 32), "use 32x48"),
        ((1, 3, 5, 32, 8), "use 16x32"),
        ((1, 4, 5, 32, 32), "rearrange"),
        ((3, 5, 32, 32), "rearrange"),
    ],
)
def test_bad_pixels_are_refused_with_an_offer(shape, offer):
    with pytest.raises(ConfigError, match=offer):
        check_pixels(torch.zeros(shape))


def test_integer_pixels_are_refused():
    with pytest.raises(ConfigError, match="uint8"):
        check_pixels(torch.zeros(1, 3, 1, 16, 16, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(1, 16, 2, 2, 2), (48, 2, 2, 2), (1, 48, 0, 2, 2)])
def test_bad_latents_are_refused(shape):
    with pytest.raises(ConfigError, match="48"):
        check_latents(torch.zeros(shape))


def test_middle_frame():
    assert [middle_frame(torch.zeros(48, frames, 1, 1)) for frames in (1, 2, 9)] == [0, 1, 4]
    with pytest.raises(ConfigError):
        middle_frame(torch.zeros(1, 48, 1, 1, 1))

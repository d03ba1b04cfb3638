import torch

from loom_core.vae.preview import ColourMap, calibration_pictures, fit_colour_map


def test_pictures_are_colourful_and_always_the_same():
    pictures = calibration_pictures(2)
    assert pictures.shape == (2, 3, 1, 192, 192)
    assert torch.equal(pictures, calibration_pictures(2))
    assert pictures.abs().max() <= 1
    assert 0.2 < pictures.std() < 0.8
    assert (pictures[:, 0] - pictures[:, 1]).std() > 0.1


def test_a_linear_relation_is_found():
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 48, 1, 12, 12, generator=generator)
    truth = 0.1 * torch.randn(3, 48, generator=generator)
    means = torch.einsum("rc,bcfhw->brfhw", truth, latents) + 0.25
    pixels = means.repeat_interleave(16, dim=3).repeat_interleave(16, dim=4)
    fitted = fit_colour_map(latents, pixels)
    assert torch.allclose(fitted.weight, truth, atol=1e-2)
    assert torch.allclose(fitted.bias, torch.full((3,), 0.25), atol=1e-2)


def test_colours_are_rounded_and_clipped():
    colours = ColourMap(torch.eye(3), torch.zeros(3)).colours(torch.tensor([-2.0, 0.0, 2.0]).reshape(3, 1, 1))
    assert colours.dtype is torch.uint8
    assert colours.tolist() == [[[0, 128, 255]]]

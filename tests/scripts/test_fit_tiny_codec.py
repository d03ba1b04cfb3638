import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from loom_core.bundle import BUILT_IN
from loom_core.vae.linear import LinearCodec


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("fit_tiny_codec")


@pytest.fixture(scope="module")
def clips(script):
    return torch.stack(list(script.material(4)))


def test_material_is_lively_and_always_the_same(script, clips):
    assert clips.shape == (4, 3, 9, 128, 128)
    assert clips.abs().max() <= 1
    assert clips.std() > 0.2
    assert clips.diff(dim=2).abs().mean() > 1e-3  # something moves
    assert torch.equal(next(script.material(1)), clips[0])


def test_a_fit_on_little_material_makes_a_working_codec(script, clips, repo_root):
    tensors = script.fit(clips)
    shipped = load_file(repo_root / "loom_core" / "assets" / "loom_tiny" / "codec.safetensors")
    assert {name: (value.shape, value.dtype) for name, value in tensors.items()} == {
        name: (value.shape, value.dtype) for name, value in shipped.items()
    }
    codec = LinearCodec.from_tensors(tensors)
    latents = codec.encode(clips)
    assert latents.std() == pytest.approx(1, abs=0.1)
    error = (codec.decode(latents) - clips).square().mean()
    assert error < 0.05 * clips.var()


def test_the_built_in_codec_is_fitted_on_as_many_clips_as_are_used_by_default(script):
    with safe_open(BUILT_IN / "codec.safetensors", framework="pt") as file:
        assert f" {script.CLIPS} clips" in file.metadata()["recipe"]


def test_a_reduced_rank_is_cut_off_in_targets_not_in_weights(script):
    generator = torch.Generator().manual_seed(0)
    sizes = torch.logspace(1, -1, 12, dtype=torch.float64)
    inputs = torch.randn(400, 12, generator=generator).double() * sizes
    weights = torch.randn(12, 20, generator=generator).double() / sizes[:, None].sqrt()
    targets = inputs @ weights  # so only the rank can make an error
    into, out = script.reduced_rank(inputs.mT @ inputs, inputs.mT @ targets, rank=4)
    assert into.shape == (12, 4)
    torch.testing.assert_close(out.mT @ out, torch.eye(4, dtype=torch.float64))
    error = (inputs @ into @ out.mT - targets).square().sum()
    torch.testing.assert_close(error, torch.linalg.svdvals(targets)[4:].square().sum())  # the least, Eckart and Young
    left, values, right = torch.linalg.svd(weights)
    truncated = left[:, :4] * values[:4] @ right[:4]
    assert error < 0.9 * (inputs @ truncated - targets).square().sum()


def test_patterns_shared_and_own(script):
    image = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    clip = torch.rand(3, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    first, following = script.choose_patterns(image, clip)
    assert torch.equal(first[: script.SHARED], following[: script.SHARED])
    assert len({tuple(row) for row in first.tolist()}) == len({tuple(row) for row in following.tolist()}) == 48
    assert (following[script.SHARED :, 1] > 0).all()
    strongest = following[0]
    assert clip[tuple(strongest)] == clip[:, 0].max()

"""Scale-and-Add."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from loom_core.errors import ConfigError
from loom_core.models.source import add_source, curve_factor, patchify, source_curves, source_tokens
from loom_core.types import Condition


@pytest.fixture
def embedding():
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv3d(4, 6, kernel_size=(1, 2, 2), stride=(1, 2, 2))
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return layer.requires_grad_(False)


def latents(*size, seed=1):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def test_tokens_run_over_time_rows_and_columns(embedding):
    clip = latents(1, 4, 2, 4, 6)
    tokens = patchify(embedding, clip)
    assert tokens.shape == (1, 2 * 2 * 3, 6)
    assert tokens.is_contiguous()  # every sum and norm of the blocks takes its order in memory from these
    frame, row, column = 1, 0, 2
    patch = clip[0, :, frame, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
    expected = torch.einsum("dchw,chw->d", embedding.weight[:, :, 0], patch) + embedding.bias
    torch.testing.assert_close(tokens[0, frame * 6 + row * 3 + column], expected)


def test_without_a_source_the_bias_stays(embedding):
    """parity: zero latents are embedded, bias and all."""
    tokens = source_tokens(embedding, [Condition(())], latents(1, 4, 1, 2, 2))
    torch.testing.assert_close(tokens, embedding.bias.expand(1, 1, 6))


def test_each_sample_has_its_own_source_and_strength(embedding):
    target, source = latents(2, 4, 1, 4, 4), latents(4, 1, 4, 4, seed=2)
    conditions = [Condition((), source, (), 0.25), Condition((), source)]
    weak, full = source_tokens(embedding, conditions, target)
    torch.testing.assert_close(full, patchify(embedding, source[None])[0])
    torch.testing.assert_close(weak, full * 0.25)


def test_a_source_of_another_size_is_refused(embedding):
    with pytest.raises(ConfigError, match=r"\(4, 1, 4, 2\).*expected.*\(4, 1, 4, 4\)"):
        source_tokens(embedding, [Condition((), latents(4, 1, 4, 2))], latents(1, 4, 1, 4, 4))


def test_the_noise_level_scales_what_is_added():
    tokens, source = torch.ones(3, 2, 4), torch.full((3, 2, 4), 8.0)
    added = add_source(tokens, source, torch.tensor([1000, 250, 0]))
    assert added[:, 0, 0].tolist() == [9.0, 3.0, 1.0]
    assert added.shape == tokens.shape


def test_a_curve_has_straight_lines_between_its_points_and_is_level_beyond_them():
    curve = ((0.9, 2.0), (0.5, 1.0), (0.4, 0.0))
    sigma = torch.tensor([1.0, 0.9, 0.7, 0.5, 0.45, 0.1])
    torch.testing.assert_close(curve_factor(curve, sigma), torch.tensor([2.0, 2.0, 1.5, 1.0, 0.5, 0.0]))
    assert torch.equal(curve_factor((), sigma), torch.ones(6))
    assert torch.equal(curve_factor(((0.3, 0.7),), sigma), torch.full((6,), 0.7))


def test_each_sample_follows_its_own_curve():
    conditions = [Condition((), latents(1), source_curve=((1.0, 0.5), (0.0, 0.0))), Condition((), latents(1))]
    added = add_source(torch.zeros(2, 3, 4), torch.ones(2, 3, 4), torch.tensor([500, 500]), source_curves(conditions))
    assert added[:, 0, 0].tolist() == [0.5 * 0.25, 0.5]


def test_a_curve_without_a_source_counts_for_nothing():
    """The bias of the embedding is added as in training."""
    assert source_curves([Condition((), None, source_curve=((1.0, 0.0),))]) == ()


@pytest.mark.parametrize(
    "curve", [((0.2, 1.0), (0.8, 0.5)), ((0.5, 1.0), (0.5, 0.0)), ((1.5, 1.0),), ((0.5, float("nan")),)]
)
def test_a_curve_that_is_none_is_refused(curve):
    with pytest.raises(ConfigError, match="sort the points"):
        source_curves([Condition((), latents(1), source_curve=curve)])


def test_a_mask_scales_each_token_of_its_own_sample(embedding):
    target, source = latents(2, 4, 2, 4, 6), latents(4, 2, 4, 6, seed=2)
    mask = torch.rand(2, 2, 3, generator=torch.Generator().manual_seed(3))
    masked, whole = source_tokens(
        embedding, [Condition((), source, source_mask=mask), Condition((), source)], target
    )  # each [12, 6]
    torch.testing.assert_close(masked, whole * mask.flatten()[:, None])
    without = source_tokens(embedding, [Condition((), None, source_mask=mask)], target[:1])
    torch.testing.assert_close(without[0], embedding.bias.expand(12, 6))


def test_a_mask_of_another_size_is_refused(embedding):
    condition = Condition((), latents(4, 1, 4, 4), source_mask=torch.ones(1, 4, 4))
    with pytest.raises(ConfigError, match=r"\(1, 4, 4\).*expected.*\(1, 2, 2\)"):
        source_tokens(embedding, [condition], latents(1, 4, 1, 4, 4))

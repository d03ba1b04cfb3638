"""Scale-and-Add."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from loom_core.errors import ConfigError
from loom_core.models.source import add_source, patchify, source_tokens
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

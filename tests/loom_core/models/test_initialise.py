"""Starting values."""

from __future__ import annotations

import torch

from loom_core.models.dit import LoomDiT
from loom_core.models.initialise import initialise, initialise_additions
from loom_core.types import Condition


def test_additions_start_without_effect(small_config):
    """A projector whose last layer is zero makes every prompt alike; a zero source embedding adds nothing."""
    model = LoomDiT(small_config).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    initialise_additions(model, generator=generator)
    latents = torch.randn(1, 4, 1, 4, 4, generator=generator)
    outputs = []
    for source in (None, torch.randn(4, 1, 4, 4, generator=generator)):
        states = tuple(
            torch.randn(3, small_config.mllm_dim, generator=generator) for _ in range(small_config.num_layers)
        )
        outputs.append(model(latents, torch.tensor([500]), model.prepare([Condition(states, source)], latents)))
    torch.testing.assert_close(outputs[0], outputs[1])
    assert outputs[0].abs().max() > 0


def test_initialise_is_complete_and_reproducible(small_config):
    def made():
        model = LoomDiT(small_config)
        for parameter in model.parameters():
            parameter.data.fill_(torch.nan)
        for part in model.modules():  # norms have no random start
            if isinstance(part, torch.nn.LayerNorm | torch.nn.RMSNorm):
                part.reset_parameters()
        initialise(model, generator=torch.Generator().manual_seed(3))
        return model.state_dict()

    first, second = made(), made()
    for name, tensor in first.items():
        assert torch.isfinite(tensor).all(), name
        assert torch.equal(tensor, second[name]), name

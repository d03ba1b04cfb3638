"""Starting values: of a whole model, and of the two parts that LoomVideo adds to Wan 2.2."""

from __future__ import annotations

import torch
from torch import nn

from .dit import LoomDiT
from .operations import TorchOperations

_WITH_WEIGHT = (TorchOperations.Linear, TorchOperations.Conv3d)


def initialise_additions(model: LoomDiT, *, generator: torch.Generator | None = None) -> None:
    """Set the projector and the source embedding as training starts: their outputs are zero.

    Source: official `LoomVideo.__init__`.
    """
    if model.config.has_projector:
        projector = model.mllm_embedder
        nn.init.ones_(projector.norm.weight)
        nn.init.kaiming_uniform_(
            projector.linear_1.weight, a=5**0.5, generator=generator
        )  # torch's own choice for a Linear
        nn.init.zeros_(projector.linear_1.bias)
        nn.init.zeros_(projector.linear_2.weight)
        nn.init.zeros_(projector.linear_2.bias)
    if model.config.has_source:
        nn.init.zeros_(model.source_patch_embedding.weight)
        nn.init.zeros_(model.source_patch_embedding.bias)


def initialise(model: LoomDiT, *, generator: torch.Generator) -> None:
    """Random starting values for a model that is trained from nothing.

    Args:
        model: Not on the meta device.
        generator: Makes the values reproducible.

    Source: official Wan `init_weights`: Xavier for projections, 0.02 for the time embedding, zero for the head.
    """
    for module in model.modules():
        if isinstance(module, _WITH_WEIGHT):
            nn.init.xavier_uniform_(module.weight.flatten(1), generator=generator)
        if isinstance(module, _WITH_WEIGHT) and module.bias is not None:
            nn.init.zeros_(module.bias)
    scale = model.config.hidden_size**-0.5
    for name, parameter in model.named_parameters():
        if name.endswith("modulation"):
            nn.init.normal_(parameter, std=scale, generator=generator)
        elif name.startswith("time_embedding.") and name.endswith("weight"):
            nn.init.normal_(parameter, std=0.02, generator=generator)
    nn.init.zeros_(model.head.head.weight)
    initialise_additions(model, generator=generator)

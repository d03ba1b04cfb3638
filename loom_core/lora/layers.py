"""What a LoRA puts in a model: a change of low rank beside a linear layer, a whole change on top of a weight.

Either begins as no change at all, and what it changes stays as it is, so that switching it off gives the model back.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init


class LoraLinear(nn.Module):
    """A frozen linear layer and its trained change: base(x) + scale * B(A(dropout(x))).

    Args:
        base: The layer.
        rank: Of the change.
        scale: What it is multiplied by, alpha / rank.
        dropout: Share of the inputs that the change does not see, in training.
        generator: Draws A, on the CPU.
    """

    def __init__(
        self, base: nn.Linear, *, rank: int, scale: float, dropout: float, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        like = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.base = base
        self.lora_A = skip_init(nn.Linear, base.in_features, rank, bias=False, **like)
        self.lora_B = skip_init(nn.Linear, rank, base.out_features, bias=False, **like)
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.scale = scale
        self.is_on = True
        if not base.weight.is_meta:
            _fill(self.lora_A.weight, generator)
            nn.init.zeros_(self.lora_B.weight)

    @property
    def rank(self) -> int:
        """Of the change."""
        return self.lora_A.out_features

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        result: Tensor = self.base(x)
        if not self.is_on:
            return result
        seen = x if self.dropout is None else self.dropout(x)
        return result + self.lora_B(self.lora_A(seen) * self.scale)


class WholeChange(nn.Module):
    """A trained change of a frozen parameter, as large as itself; a parametrisation of torch's.

    Args:
        weight: The parameter.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.diff = nn.Parameter(torch.zeros_like(weight))
        self.is_on = True

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight."""
        return weight + self.diff if self.is_on else weight


def _fill(weight: Tensor, generator: torch.Generator | None) -> None:
    """As torch fills a linear layer. Source: Microsoft's LoRA and peft, both by this way for A."""
    drawn = torch.empty(weight.shape)
    nn.init.kaiming_uniform_(drawn, a=5**0.5, generator=generator)
    with torch.no_grad():
        weight.copy_(drawn)

"""All branches of guidance in lockstep: each block works on all of them before the next block's turn.

The branches stay apart, so that nothing is padded and each gets the very numbers that it gets alone; but a block's
weights are needed once a step, not once a branch, which is what counts where weights are streamed (`offload`). It takes
the place of the model where that is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from .block import BlockInputs, inputs_in_turn
from .dit import LoomDiT, PreparedConditions


class LockstepDiT:
    """Predicts as the model does; a `protocols.JointDenoiser`.

    Args:
        model: Does the work.
    """

    def __init__(self, model: LoomDiT) -> None:
        self.model = model

    def __call__(self, latents: Tensor, timestep: Tensor, conditions: PreparedConditions) -> Tensor:
        """Velocity of latents [B, C, F, H, W] at timestep [B], as `LoomDiT.forward` gives it."""
        return self.model(latents, timestep, conditions)

    def together(self, latents: Tensor, timestep: Tensor, conditions: Sequence[PreparedConditions]) -> list[Tensor]:
        """Velocities of the same latents under each of several conditions.

        Args:
            latents: See `LoomDiT.forward`.
            timestep: See `LoomDiT.forward`.
            conditions: Each made by `LoomDiT.prepare`.
        """
        model = self.model
        tokens: list[Tensor] = []
        turns: list[Iterator[BlockInputs]] = []
        time_embeddings: list[Tensor] = []
        for branch in conditions:
            embedded = model.embed(latents, timestep, branch)
            tokens.append(embedded[0])
            turns.append(inputs_in_turn(embedded[1], len(model.blocks)))
            time_embeddings.append(embedded[1].time_embedding)
            del embedded  # or the last branch's tokens would stay
        for index, block in enumerate(model.blocks):
            for number, branch in enumerate(conditions):
                tokens[number] = block(tokens[number], branch.contexts[index], next(turns[number]))
        return [
            model.predict(own, time_embedding, branch.shape)
            for own, time_embedding, branch in zip(tokens, time_embeddings, conditions, strict=True)
        ]

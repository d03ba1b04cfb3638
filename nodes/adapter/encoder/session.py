"""One visit to the host's Qwen3-VL: a clone of the CLIP that looks at pictures as we do, and the states it reads.

The user's CLIP stays as it is. The clone has object patches, which the host puts in when it loads the clone and takes
out when it loads another: our way to the vision tower, and rotary frequencies rounded as the DiT was trained with.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from comfy import model_management
from torch import Tensor, nn

from ....loom_core.errors import WeightsError
from ....loom_core.mllm.tokens import SpecialTokens, TokenizedPrompt
from ....loom_core.weights.checks import is_finite
from .qwen import Qwen
from .taps import tapped
from .tokens import host_tokens
from .vision import VisionFeatures


class QwenSession:
    """Reads prompts with a clone of a CLIP; use it as a context.

    Args:
        clip: The user's CLIP.
        qwen: Its parts.
        special: Ids of the tokens that stand for pictures.
        dtype: Of the states.
    """

    def __init__(self, clip: Any, qwen: Qwen, *, special: SpecialTokens, dtype: torch.dtype = torch.bfloat16) -> None:
        patcher = clip.clone().patcher
        self._qwen, self._special, self._dtype = replace(qwen, patcher=patcher), special, dtype
        name = qwen.path("preprocess_embed")
        self._features = VisionFeatures(qwen.transformer, patcher.get_model_object(name))
        patcher.add_object_patch(name, self._features.preprocess_embed)
        if qwen.pairing.rope_precision == "bf16":
            _round_rope(self._qwen)

    def __enter__(self) -> QwenSession:
        return self

    def __exit__(self, *_: object) -> None:
        # The host takes the patches out only when it loads the next clone, and puts a bound method back: either keeps
        # the model alive through itself, so gigabytes would wait for the garbage collector. Its class has the method.
        qwen, name = self._qwen, self._qwen.path("preprocess_embed")
        for patches in (qwen.patcher.object_patches, qwen.patcher.object_patches_backup):
            patches.pop(name, None)
        vars(qwen.transformer).pop("preprocess_embed", None)
        self._features.clear()

    @property
    def num_layers(self) -> int:
        """Ticks that `states` makes."""
        return self._qwen.num_layers

    def states(self, prompt: TokenizedPrompt, *, tick: Callable[[], None], reserve: float = 1.0) -> Tensor:
        """What the DiT's blocks read of a prompt.

        Args:
            prompt: From `loom_core.mllm.reader`.
            tick: Called once a layer; what it raises ends the pass.
            reserve: How much more memory than estimated the host should keep free of weights.

        Returns:
            On the CPU: [1, S, blocks * W].

        Raises:
            WeightsError: They are not finite.
        """
        qwen = self._qwen
        device = qwen.patcher.load_device
        qwen.whole.reset_clip_options()
        model_management.load_models_gpu([qwen.patcher], memory_required=int(reserve * memory_needed(qwen, prompt)))
        try:
            qwen.whole.set_clip_options({"execution_device": device})
            with (
                model_management.cuda_device_context(device),
                tapped(
                    qwen.transformer.model,
                    qwen.pairing.num_blocks,
                    num_tokens=len(prompt.input_ids),
                    dtype=self._dtype,
                    tick=tick,
                ) as states,
            ):
                qwen.encoder.encode([host_tokens(prompt, self._special)])
        finally:
            qwen.whole.reset_clip_options()
        if not is_finite(states):
            raise WeightsError(
                "states of the MLLM that are not finite",
                expected="finite numbers",
                fix="download the encoder again, or take out a LoRA that changes it",
            )
        return states


def memory_needed(qwen: Qwen, prompt: TokenizedPrompt) -> int:
    """Bytes that reading a prompt takes beside the weights, as the planner has it.

    Args:
        qwen: Gives the widths.
        prompt: Gives the lengths.
    """
    from ....loom_core.planning.prompt import hosted_reading_bytes

    pictures = [*prompt.images, *prompt.videos]
    return hosted_reading_bytes(
        qwen.sizes,
        tokens=len(prompt.input_ids),
        seen=sum(picture.tokens_a_frame * picture.grid[0] for picture in pictures),
        patches=max((picture.grid[1] * picture.grid[2] for picture in pictures), default=0),
    )


def _round_rope(qwen: Qwen) -> None:
    """Patch rotary frequencies that are rounded through bfloat16 into a clone.

    parity: the official run casts the whole MLLM, these tables included, to bfloat16.
    """
    config = copy.copy(qwen.transformer.model.config)
    exact = 1.0 / (config.rope_theta ** (torch.arange(0, config.head_dim, 2).float() / config.head_dim))
    # the host divides its frequencies by this
    config.rope_scale = [(exact / exact.bfloat16().float()).to(qwen.patcher.load_device)]
    qwen.patcher.add_object_patch(qwen.path("model.config"), config)
    rotary = qwen.transformer.visual.rotary_pos_emb
    qwen.patcher.add_object_patch(qwen.path("visual.rotary_pos_emb"), _RoundedRotary(rotary.inv_freq))


class _RoundedRotary(nn.Module):
    """The vision tower's table of angles, with rounded frequencies.

    Args:
        exact: The frequencies as they were.
    """

    def __init__(self, exact: Tensor) -> None:
        super().__init__()
        self._frequencies = exact.detach().cpu().bfloat16().float()  # no buffer, which the host would move about

    def forward(self, num_positions: int) -> Tensor:
        """Angles [num_positions, frequencies]."""
        return torch.outer(torch.arange(num_positions).float(), self._frequencies)

"""CLIP and PickScore: how well pictures fit their text, by a model whose weights the user has.

Both are CLIP models; PickScore was tuned to people's choices between pictures. Frame by frame, then the mean: neither
sees motion, nor a source, so that alone they reward edits that ignore the source and clips that stand still. Take
guards beside them.

Source: CLIP (arXiv 2103.00020); PickScore (arXiv 2305.01569), of which the published code divides by 26.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import MissingExtraError, WeightsError
from ...weights.presence import require_present
from .base import Outcome

PICKSCORE_SCALE = 26.0
MOST_FRAMES = 5
"""Of a clip, evenly spread, that are looked at."""
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Source: CLIP's `preprocessor_config.json`."""


class TextImageScore:
    """Cosine of picture and text, times a factor; a `Reward`.

    Args:
        model: A CLIP model.
        tokenizer: Of the same model.
        factor: Multiplies the cosine.
    """

    def __init__(self, model: Any, tokenizer: Any, *, factor: float = 1.0) -> None:
        self.model, self.tokenizer, self.factor = model, tokenizer, factor

    @classmethod
    def load(cls, path: Path | None, *, is_pickscore: bool, device: torch.device | str = "cpu") -> TextImageScore:
        """From a Hugging Face folder; nothing is downloaded.

        Args:
            path: Of model and tokenizer, as `yuvalkirstain/PickScore_v1` or `openai/clip-vit-large-patch14` have them.
            is_pickscore: Whether it is PickScore: then the model's own scale counts, divided by 26.
            device: Where it computes.

        Raises:
            WeightsError: Nothing is there, or not such a model.
            MissingExtraError: transformers is not installed.
        """
        check_path(path, is_pickscore=is_pickscore)
        try:
            from transformers import AutoTokenizer, CLIPModel
        except ImportError as error:
            raise MissingExtraError("transformers>=4.57", "CLIP and PickScore") from error
        try:
            model: Any = CLIPModel.from_pretrained(path, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise WeightsError(
                f"{path}, which cannot be loaded ({type(error).__name__}: {error})",
                expected="a Hugging Face folder of a CLIP model with its tokenizer",
                fix="download it again, or leave the reward out of rl.rewards",
            ) from error
        model.to(device).eval().requires_grad_(False)
        factor = float(model.logit_scale.exp()) / PICKSCORE_SCALE if is_pickscore else 1.0
        return cls(model, tokenizer, factor=factor)

    @torch.no_grad()
    def __call__(self, outcomes: Sequence[Outcome]) -> Tensor:
        """See `Reward`."""
        return torch.stack([self._score(outcome) for outcome in outcomes])

    def _score(self, outcome: Outcome) -> Tensor:
        words = self.tokenizer(
            [outcome.sample.instruction], truncation=True, max_length=self._most_words, return_tensors="pt"
        )
        device = self.model.logit_scale.device
        pixels = clip_pixels(shown_frames(outcome.frames), side=self.model.config.vision_config.image_size)
        found = self.model(
            input_ids=words["input_ids"].to(device),
            attention_mask=words["attention_mask"].to(device),
            pixel_values=pixels.to(device),
        )
        cosines = functional.cosine_similarity(found.image_embeds, found.text_embeds)  # [frames]
        return self.factor * cosines.mean().float().cpu()

    @property
    def _most_words(self) -> int:
        return int(self.model.config.text_config.max_position_embeddings)


def check_path(path: Path | None, *, is_pickscore: bool) -> None:
    """Refuse a reward without weights, before anything is loaded.

    Raises:
        WeightsError: No path is given, or nothing lies there.
    """
    name = "pickscore" if is_pickscore else "clip"
    if path is None:
        raise WeightsError(
            f"the reward {name} without weights",
            expected=f"its path: rl.rewards: [{{kind: {name}, path: FOLDER}}]",
            fix="download the model and name its folder, or leave the reward out",
        )
    require_present(path)


def shown_frames(frames: Tensor) -> Tensor:
    """A few frames of a clip, evenly spread: uint8 [at most 5, height, width, 3]."""
    count = min(len(frames), MOST_FRAMES)
    return frames[torch.linspace(0, len(frames) - 1, count).round().long()]


def clip_pixels(frames: Tensor, *, side: int) -> Tensor:
    """Frames as CLIP reads them, float32 [N, 3, side, side]: the shorter side scaled to fit, the middle cut out."""
    height, width = frames.shape[1:3]
    scale = side / min(height, width)
    size = max(side, round(height * scale)), max(side, round(width * scale))
    pictures = frames.permute(0, 3, 1, 2).float() / 255  # [N, 3, height, width]
    scaled = functional.interpolate(pictures, size, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    cut = scaled[:, :, top : top + side, left : left + side]
    return (cut - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

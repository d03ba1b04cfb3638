"""Requests to tokenised prompts: which segments, which frames, which patches. Shared by every encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from torch import Tensor

from ..types import Clip, Task
from .frames import TRAINED_MAX_FRAMES, downsample_indices, processor_indices, timestamps
from .picture_sizes import IMAGE_SETTINGS, VIDEO_SETTINGS, VisionSettings
from .prompts import ReferenceSegment, Segment, SourceSegment, TextSegment, build_segments, negative_segments
from .tokens import PromptTokenizer, TokenizedPrompt, VisionItem, load_tokenizer
from .vision import VisionPatches, empty_patches, load_vision_settings, vision_patches


class MakePatches(Protocol):
    """`vision.vision_patches`, or what stands for it."""

    def __call__(self, frames: Tensor, *, settings: VisionSettings) -> VisionPatches:
        """Patches of a still or of a clip's chosen frames."""
        ...


@dataclass(frozen=True)
class PromptReader:
    """Writes requests as Qwen3-VL reads them.

    Args:
        tokenizer: Of the model.
        image_settings: How stills become patches.
        video_settings: How clips become patches.
        max_frames: Frames of a clip that the MLLM sees; 4 as trained, see `frames.py`.
    """

    tokenizer: PromptTokenizer
    image_settings: VisionSettings = IMAGE_SETTINGS
    video_settings: VisionSettings = VIDEO_SETTINGS
    max_frames: int = TRAINED_MAX_FRAMES

    @classmethod
    def load(cls, path: Path) -> PromptReader:
        """That of a model, from the small files beside its weights.

        Args:
            path: The model's folder, or the file of its weights.

        Raises:
            WeightsError: They are missing, damaged or of another model.
            MissingExtraError: The package `tokenizers` is not installed.
        """
        folder = path if path.is_dir() else path.parent
        return cls(load_tokenizer(folder), *load_vision_settings(folder))

    def full(
        self,
        task: Task,
        prompt: str,
        *,
        references: Sequence[Clip] = (),
        source: Clip | None = None,
        layout: str = "official",
    ) -> TokenizedPrompt:
        """The full prompt of a request.

        Args:
            task: Gives the prefix and the order of the parts.
            prompt: The instruction.
            references: In the order of `@Image 1`, `@Image 2` ..., at the size that the DiT gets them.
            source: What is edited, at the size that the DiT gets it, all frames.
            layout: "official" or "inline".

        Raises:
            ConfigError: The layout is unknown, or a picture is too narrow.
        """
        segments = build_segments(
            task, prompt, num_references=len(references), has_source=source is not None, layout=layout
        )
        return self.read(_content(segments, references=references, source=source))

    def negative(self, negative_prompt: str) -> TokenizedPrompt:
        """The prompt of the unconditional branch."""
        return self.read(_content(negative_segments(negative_prompt)))

    def read(self, content: Sequence[str | Clip]) -> TokenizedPrompt:
        """Token ids and patches of any row of texts and pictures.

        Args:
            content: Texts, stills and clips in reading order. A clip of one frame is read as a still; of longer ones
                the frames of `frames.processor_indices` are taken.
        """
        return self._encode(content, vision_patches)

    def count(self, content: Sequence[str | Clip]) -> int:
        """Number of tokens that `read` gives, without the work of cutting pictures into patches.

        Args:
            content: See `read`.
        """
        return len(self._encode(content, empty_patches).input_ids)

    def _encode(self, content: Sequence[str | Clip], make_patches: MakePatches) -> TokenizedPrompt:
        items = [item if isinstance(item, str) else self._vision_item(item, make_patches) for item in content]
        return self.tokenizer.encode(items)

    def _vision_item(self, clip: Clip, make_patches: MakePatches) -> VisionItem:
        if clip.is_image or clip.num_frames == 1:
            return VisionItem(make_patches(clip.frames[:1], settings=self.image_settings))
        picked = processor_indices(clip.num_frames, max_frames=self.max_frames)
        return VisionItem(
            make_patches(clip.frames[picked], settings=self.video_settings),
            times=tuple(timestamps(picked, temporal_patch=self.video_settings.temporal_patch_size)),
        )


def _content(
    segments: Sequence[Segment], *, references: Sequence[Clip] = (), source: Clip | None = None
) -> list[str | Clip]:
    """Segments with their pictures put in, clips thinned as in training."""
    content: list[str | Clip] = []
    for segment in segments:
        if isinstance(segment, TextSegment):
            content.append(segment.text)
        elif isinstance(segment, ReferenceSegment):
            content.append(_thinned(references[segment.index]))
        elif isinstance(segment, SourceSegment) and source is not None:
            content.append(_thinned(source))
    return content


def _thinned(clip: Clip) -> Clip:
    return replace(clip, frames=clip.frames[downsample_indices(clip.num_frames)])

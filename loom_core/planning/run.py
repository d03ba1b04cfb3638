"""What a run works on, in sizes: pictures, tokens, and the prompts of each branch of guidance.

Context lengths follow the prompts that the official script builds: a chat form, the text, a span for each still, and a
clip seen as pairs of frames. Only the length of the text is an assumption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce

from ..errors import ConfigError
from ..geometry import LatentShape, check_frames, check_size, latent_shape
from ..mllm.frames import TRAINED_MAX_FRAMES, source_frame_indices
from ..mllm.picture_sizes import IMAGE_SETTINGS, VIDEO_SETTINGS, smart_resize
from ..phrases import phrase
from ..types import Branch

TEXT_TOKENS = 60
"""Of an instruction of two or three sentences, with its task prefix."""
CHAT_TOKENS = 8
"""Around the user's turn and before the answer."""
SPAN_TOKENS = 2
"""Start and end of a vision span."""
TIME_TOKENS = 6
"""Of `<0.1 seconds>`, before each pair of frames of a clip."""
NEGATIVE_TOKENS = 114 + CHAT_TOKENS
"""Of the official negative prompt."""
MOST_REFERENCES = 100


@dataclass(frozen=True)
class SeenPictures:
    """What the MLLM sees of source and references.

    Args:
        spans: Vision spans in the prompt.
        times: Spans with a time before them.
        patches: Patches that the vision tower reads.
        tokens: Tokens that they become.
    """

    spans: int = 0
    times: int = 0
    patches: int = 0
    tokens: int = 0

    def and_also(self, other: SeenPictures) -> SeenPictures:
        """Both."""
        return SeenPictures(
            self.spans + other.spans,
            self.times + other.times,
            self.patches + other.patches,
            self.tokens + other.tokens,
        )


def seen_pictures(width: int, height: int, *, frames: int) -> SeenPictures:
    """What the MLLM sees of a still, or of the chosen frames of a clip.

    Args:
        width: In pixels.
        height: In pixels.
        frames: Frames that reach the MLLM, at least 1.
    """
    settings = IMAGE_SETTINGS if frames == 1 else VIDEO_SETTINGS
    high, wide = smart_resize(height, width, settings=settings, num_frames=frames)
    spans = -(-frames // settings.temporal_patch_size)
    tokens = spans * (high // settings.factor) * (wide // settings.factor)
    return SeenPictures(spans, spans if frames > 1 else 0, tokens * settings.merge_size**2, tokens)


@dataclass(frozen=True, kw_only=True)
class RunSizes:
    """One generation or edit.

    Args:
        width: Of the result, pixels, a multiple of 32.
        height: The same.
        num_frames: Of the result, 4k + 1; 1 is an image.
        has_source: Whether a clip or image of that size is edited.
        num_references: Reference images, each brought to that size.
        text_tokens: Of the instruction.
        negative_tokens: Of the negative prompt.
        mllm_frames: Source frames that the MLLM sees at most.
        contexts: Tokens of each branch that runs, in the order in which they are prepared; None takes all branches
            that there are, and their lengths from the other sizes.

    Raises:
        ConfigError: A size that the model cannot make.
    """

    width: int
    height: int
    num_frames: int
    has_source: bool = False
    num_references: int = 0
    text_tokens: int = TEXT_TOKENS
    negative_tokens: int = NEGATIVE_TOKENS
    mllm_frames: int = TRAINED_MAX_FRAMES
    contexts: Mapping[Branch, int] | None = None

    def __post_init__(self) -> None:
        """Check the sizes."""
        check_size(self.width, self.height)
        check_frames(self.num_frames)
        if not 0 <= self.num_references <= MOST_REFERENCES:
            raise ConfigError(
                f"{self.num_references} references", expected=f"0 to {MOST_REFERENCES}", fix="four were trained"
            )
        if self.text_tokens < 1:
            raise ConfigError(f"a text of {self.text_tokens} tokens", expected="at least 1", fix="60 is usual")

    @property
    def target(self) -> LatentShape:
        """Size of the latents."""
        return latent_shape(self.num_frames, self.height, self.width)

    @property
    def reference_tokens(self) -> int:
        """R, DiT tokens of all references."""
        return self.num_references * latent_shape(1, self.height, self.width).tokens

    @property
    def has_visual(self) -> bool:
        """Whether there is a source or a reference, and so a visual branch."""
        return self.has_source or self.num_references > 0

    @cached_property
    def seen(self) -> SeenPictures:
        """What the MLLM sees."""
        seen = self._seen_source or SeenPictures()
        if self.num_references:
            still = seen_pictures(self.width, self.height, frames=1)
            seen = reduce(SeenPictures.and_also, [still] * self.num_references, seen)
        return seen

    @property
    def patches_at_once(self) -> int:
        """Patches of the largest still or pair of frames, which is what a host has the vision tower look at."""
        source = self._seen_source
        pictures = [source] if source else []
        pictures += [seen_pictures(self.width, self.height, frames=1)] if self.num_references else []
        return max((one.patches // one.spans for one in pictures), default=0)

    @cached_property
    def _seen_source(self) -> SeenPictures | None:
        if not self.has_source:
            return None
        frames = len(source_frame_indices(self.num_frames, max_frames=self.mllm_frames))
        return seen_pictures(self.width, self.height, frames=frames)

    @cached_property
    def branches(self) -> Mapping[Branch, int]:
        """S of each branch that runs."""
        if self.contexts is not None:
            return self.contexts
        spans = self.seen.tokens + SPAN_TOKENS * self.seen.spans
        lengths = {Branch.UNCONDITIONAL: self.negative_tokens}
        if self.has_visual:
            lengths[Branch.VISUAL] = spans + CHAT_TOKENS
        lengths[Branch.FULL] = spans + TIME_TOKENS * self.seen.times + self.text_tokens + CHAT_TOKENS
        return lengths

    def references_of(self, branch: Branch) -> int:
        """R of a branch; the unconditional one sees none."""
        return 0 if branch is Branch.UNCONDITIONAL else self.reference_tokens

    def describe(self) -> str:
        """The sizes in words."""
        template = "{width}x{height}, {frames} frames" if self.num_frames > 1 else "{width}x{height}, {frames} frame"
        words = phrase(template, width=self.width, height=self.height, frames=self.num_frames)
        if self.has_source:
            words = phrase("{run}, source", run=words)
        if self.num_references:
            template = "{run}, {count} references" if self.num_references > 1 else "{run}, {count} reference"
            words = phrase(template, run=words, count=self.num_references)
        return words

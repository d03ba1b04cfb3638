"""Checks of what is asked, by its numbers and words alone."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError
from ..geometry import (
    IMAGE_BUCKETS,
    MAX_FRAMES,
    NATIVE_FPS,
    VIDEO_BUCKETS,
    check_frames,
    check_size,
    closest_bucket,
    snap_frames,
    snap_size,
)
from ..mllm.prompts import mentioned_references, named_references, unknown_mention
from ..phrases import phrase
from ..request import LONGEST, MAX_FPS, MAX_SIDE
from .finding import Finding, Level

_TOLERANCE = 1.1  # of an area before it counts as larger than trained


def check_prompt(prompt: str | None) -> list[Finding]:
    """Whether there is a prompt.

    Args:
        prompt: As the user wrote it; None for none.
    """
    if prompt is not None and prompt.strip():
        return []
    found = "no prompt" if prompt is None else "an empty prompt"
    return [
        Finding(
            check="prompt",
            level=Level.ERROR,
            found=found,
            expected="what to make, or what to change in the source",
            fix="write it",
        )
    ]


def check_mentions(prompt: str, num_references: int, *, is_count_exact: bool = True) -> list[Finding]:
    """Every `@Image N` against the references.

    Args:
        prompt: As the user wrote it.
        num_references: How many are given.
        is_count_exact: False if there may be more than that (a slot that is given several pictures).
    """
    mentions = mentioned_references(prompt)
    level = Level.ERROR if is_count_exact else Level.WARNING
    findings = [
        Finding.of_error("references", unknown_mention(number, num_references), level=level if number else Level.ERROR)
        for number in mentions
        if not 1 <= number <= num_references
    ]
    unmentioned = sorted(set(range(1, num_references + 1)).difference(mentions))
    return [*findings, *_never_mentioned(unmentioned)]


def _never_mentioned(numbers: Sequence[int]) -> list[Finding]:
    """One finding on all references that a prompt does not mention: an animation may have any number of them."""
    if not numbers:
        return []
    if len(numbers) > 1:
        found = phrase("references {mentions}, which the prompt never mentions", mentions=named_references(numbers))
        fix = "mention them in the prompt, or leave them out"
        return [Finding.warning("references", found, expected="a mention of each where it is meant", fix=fix)]
    number = numbers[0]
    return [
        Finding.warning(
            "references",
            phrase("reference {number}, which the prompt never mentions", number=number),
            expected=phrase("@Image {number} where it is meant", number=number),
            fix=phrase("write @Image {number} into the prompt, or leave the reference out", number=number),
        )
    ]


def check_result_size(width: int, height: int, *, is_image: bool = False, is_released: bool = True) -> list[Finding]:
    """Whether a size can be made, and whether the model was trained on such.

    Args:
        width: Pixels.
        height: Pixels.
        is_image: Whether the result is a still.
        is_released: Whether the model is of the released size, whose trained sizes are known.
    """
    buckets = IMAGE_BUCKETS if is_image else VIDEO_BUCKETS
    near_width, near_height = closest_bucket(max(width, 1), max(height, 1), buckets=buckets)
    trained = {"width": near_width, "height": near_height}
    size = phrase("size {width}x{height}", width=width, height=height)
    if max(width, height) > MAX_SIDE:
        error = ConfigError(
            size,
            expected=phrase("sides of at most {most} pixels", most=MAX_SIDE),
            fix=phrase("use {width}x{height}", **trained),
        )
        return [Finding.of_error("size", error, settings=trained)]
    try:
        check_size(width, height)
    except ConfigError as error:
        snapped = dict(zip(("width", "height"), snap_size(width, height), strict=True))
        return [Finding.of_error("size", error, settings=snapped)]
    largest = max(sizes[0] * sizes[1] for row in buckets.values() for sizes in row)
    if not is_released:
        return [Finding.note("size", size)]
    if width * height > _TOLERANCE * largest:
        return [
            Finding.warning(
                "size",
                phrase("{size}, larger than any in training", size=size),
                expected="about the area of 1280x704 at most",
                fix=phrase("use {width}x{height}, and enlarge the result", **trained),
                settings=trained,
            )
        ]
    expected: str = "a size that was trained"
    if not any((width, height) in row for row in buckets.values()):
        expected = phrase("a size that was trained, of which {width}x{height} is nearest", **trained)
    return [Finding.note("size", size, expected=expected)]


def check_length(num_frames: int) -> list[Finding]:
    """Whether a number of frames can be made, and whether the model was trained on as many.

    Args:
        num_frames: Of the result.
    """
    words = phrase("{frames} frames", frames=num_frames)
    try:
        check_frames(num_frames)
        if num_frames > LONGEST:
            raise ConfigError(words, expected=phrase("at most {most}", most=LONGEST), fix="make several clips")
    except ConfigError as error:
        near = min(max(1, snap_frames(num_frames)), LONGEST)
        return [Finding.of_error("frames", error, settings={"num_frames": near})]
    if num_frames > MAX_FRAMES:
        return [
            Finding.warning(
                "frames",
                phrase("{frames} frames, more than any clip in training", frames=num_frames),
                expected=phrase("at most {most}", most=MAX_FRAMES),
                fix=phrase("use {most}, or several clips; longer ones may fall apart", most=MAX_FRAMES),
                settings={"num_frames": MAX_FRAMES},
            )
        ]
    found = "1 frame, an image" if num_frames == 1 else words
    return [Finding.note("frames", found, expected=phrase("4k + 1, at most {most}", most=MAX_FRAMES))]


def check_rate(fps: float) -> list[Finding]:
    """Whether a rate can be worked at, and whether it is the trained one.

    Args:
        fps: Frames a second.
    """
    trained = {"fps": NATIVE_FPS}
    if not 0 < fps <= MAX_FPS:
        error = ConfigError(
            phrase("a rate of {fps}", fps=fps),
            expected=phrase("above 0, at most {most} frames a second", most=f"{MAX_FPS:g}"),
            fix="24 is trained",
        )
        return [Finding.of_error("fps", error, settings=trained)]
    words = phrase("{fps} frames a second", fps=f"{fps:g}")
    if fps != NATIVE_FPS:
        return [
            Finding.warning(
                "fps",
                words,
                expected=phrase("{fps}, the rate in training", fps=f"{NATIVE_FPS:g}"),
                fix=phrase(
                    "use {fps}; at another rate movements look too fast or too slow to the model", fps=f"{NATIVE_FPS:g}"
                ),
                settings=trained,
            )
        ]
    return [Finding.note("fps", words, expected="the rate in training")]

"""Checks of source and references, from what their headers say, against the size and length of the result."""

from __future__ import annotations

from pathlib import Path

from ..errors import LoomError, MediaError
from ..geometry import MAX_FRAMES, cover_crop, resample_indices
from ..media.probe import MediaInfo, probe
from ..phrases import phrase
from ..request import TEMPORAL_SLACK
from .finding import Finding

MOST_CROPPED = 0.15
"""Share of a picture that may be cut off without a word."""
MOST_ENLARGED = 1.5
"""Factor by which a picture may be enlarged without a word."""


def look_at(path: Path, *, check: str) -> tuple[MediaInfo | None, list[Finding]]:
    """What a media file holds, or the finding that says why it cannot be read.

    Args:
        path: The file.
        check: Name of the check.
    """
    try:
        return probe(path), []
    except LoomError as error:
        return None, [Finding.of_error(check, error)]


def check_source(
    name: str, info: MediaInfo, *, fps: float, max_frames: int = MAX_FRAMES, size: tuple[int, int] | None = None
) -> list[Finding]:
    """A source against what is made of it.

    Args:
        name: Of the file, for people.
        info: What it holds.
        fps: Working rate, frames a second.
        max_frames: Longest edit.
        size: (width, height) of the result in pixels; None where it follows the source.
    """
    findings = [Finding.note("source", describe(name, info))]
    if size is not None:
        findings += _check_fit("source", name, info, size)
    if info.is_image:
        return findings
    taken = len(resample_indices(info.fps, info.num_frames, target_fps=fps, max_frames=max_frames))
    left = info.duration_seconds - taken / fps
    if taken == 1 < info.num_frames and max_frames > 1:
        findings.append(
            Finding.warning(
                "frames",
                phrase(
                    "{name} with {frames} frames, of which the first is edited as a still",
                    name=name,
                    frames=info.num_frames,
                ),
                expected=phrase("a clip that lasts 5 frames at {fps} a second or more", fps=f"{fps:g}"),
                fix="give a longer clip, or take it as a still",
            )
        )
    elif left > (TEMPORAL_SLACK + 1) / fps and max_frames > 1:
        findings.append(
            Finding.warning(
                "frames",
                phrase(
                    "{name} of {seconds} s, of which the first {taken} s are edited",
                    name=name,
                    seconds=f"{info.duration_seconds:.1f}",
                    taken=f"{taken / fps:.1f}",
                ),
                expected=phrase("at most {most} frames at {fps} a second", most=max_frames, fps=f"{fps:g}"),
                fix="cut it into clips of that length and edit each",
            )
        )
    return findings


def check_sound(name: str, info: MediaInfo, *, is_kept: bool = True, fix: str = "") -> list[Finding]:
    """Whether the sound of a source will be in the result.

    Args:
        name: Of the file, for people.
        info: What it holds.
        is_kept: Whether whatever writes the result is given the sound.
        fix: How it is kept.
    """
    if info.is_image:
        return []
    if not info.has_audio or is_kept:
        template = "{name} with sound, which is kept" if info.has_audio else "{name} without sound"
        return [Finding.note("audio", phrase(template, name=name))]
    return [
        Finding.warning(
            "audio",
            phrase("{name} with sound, which the result will not have", name=name),
            expected="something that takes it over",
            fix=fix,
        )
    ]


def check_reference(
    number: int | str,
    name: str,
    info: MediaInfo,
    *,
    size: tuple[int, int] | None,
    is_laid_over_white: bool = True,
) -> list[Finding]:
    """A reference against the size it is brought to.

    Args:
        number: N of its `@Image N`, or ? where a run decides it.
        name: Of the file, for people.
        info: What it holds.
        size: (width, height) of the result in pixels; None where it is not known.
        is_laid_over_white: Whether what is transparent is, as where this package reads the file; ComfyUI's loader of
            pictures gives the colours alone.
    """
    if not info.is_image:
        error = MediaError(
            phrase("reference {number}, {name}, which is a clip", number=number, name=name),
            expected="a still image",
            fix="save one frame of it as a png, or give the clip as the source",
        )
        return [Finding.of_error("references", error)]
    label = f"@Image {number}, {name}"
    findings = [Finding.note("references", describe(label, info))]
    if size is not None:
        findings += _check_fit("references", label, info, size)
    if info.is_transparent:
        template = "{name} with transparency, which is laid over white"
        expected = "a picture without, or one whose white ground is meant"
        fix = "put it on the ground that it should have"
        if not is_laid_over_white:
            template = "{name} with transparency, which the loader leaves out"
            expected = "a picture without, since the colours below it are used"
            fix = "for white, connect both outputs of the loader to Join Image with Alpha, and that to the slot"
        findings.append(Finding.warning("references", phrase(template, name=label), expected=expected, fix=fix))
    return findings


def describe(name: str, info: MediaInfo) -> str:
    """A media file in a few words."""
    words = phrase("{name}, {width}x{height}", name=name, width=info.width, height=info.height)
    if info.is_image:
        return words
    rate = f"{info.fps:.5g}"
    return phrase("{clip}, {frames} frames at {fps} a second", clip=words, frames=info.num_frames, fps=rate)


def _check_fit(check: str, name: str, info: MediaInfo, size: tuple[int, int]) -> list[Finding]:
    """What is cut off a picture, or how far it is enlarged, to fill a size."""
    width, height = size
    crop = cover_crop(info.width, info.height, target_width=width, target_height=height)
    kept = width * height / (crop.scaled_width * crop.scaled_height)
    enlarged = crop.scaled_width / info.width
    label = phrase(
        "{name} of {own} for {result}", name=name, own=f"{info.width}x{info.height}", result=f"{width}x{height}"
    )
    findings = []
    if 1 - kept > MOST_CROPPED:
        findings.append(
            Finding.warning(
                check,
                phrase("{picture}, which cuts {share} of it off", picture=label, share=f"{1 - kept:.0%}"),
                expected="about the same shape",
                fix="crop it yourself around what matters, or choose a size of its shape",
            )
        )
    if enlarged > MOST_ENLARGED:
        findings.append(
            Finding.warning(
                check,
                phrase("{picture}, {factor} times as large", picture=label, factor=f"{enlarged:.1f}"),
                expected="a picture of about the result's size",
                fix="give a larger one, or ask for a smaller result",
            )
        )
    return findings

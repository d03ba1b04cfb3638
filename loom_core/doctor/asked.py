"""All findings on a request: its numbers and words, its media, and what only planning it shows."""

from __future__ import annotations

from ..config.presets import Preset
from ..errors import LoomError
from ..geometry import NATIVE_FPS
from ..request import Plan, Request, plan_request
from .finding import Finding
from .media import check_reference, check_sound, check_source, look_at
from .request import check_length, check_mentions, check_prompt, check_rate, check_result_size


def request_findings(
    request: Request, preset: Preset, *, has_prompt: bool = True, is_released: bool = True
) -> tuple[list[Finding], Plan | None]:
    """Look at all of a request, beyond its first error.

    Args:
        request: What is asked.
        preset: Where its gaps are filled from.
        has_prompt: Whether a prompt was given at all.
        is_released: Whether the model is of the released size.

    Returns:
        What is to be said, and the plan; None where there is none.
    """
    findings = [
        *check_prompt(request.prompt if has_prompt else None),
        *check_mentions(request.prompt, len(request.references)),
    ]
    plan, refusal = _planned(request, preset)
    size = (request.width, request.height) if plan is None else (plan.width, plan.height)
    num_frames = request.num_frames if plan is None else plan.num_frames
    fps = request.fps if plan is None else plan.fps
    if num_frames is not None:
        findings += check_length(num_frames)
    if fps is not None:
        findings += check_rate(fps)
    width, height = size
    known = None
    if width is not None and height is not None:
        findings += check_result_size(width, height, is_image=num_frames == 1, is_released=is_released)
        known = (width, height) if min(width, height) > 0 else None
    findings += _media_findings(request, plan, size=known)
    said = {finding.sentence for finding in findings}
    if refusal is not None and str(refusal) not in said:
        findings.insert(0, Finding.of_error("request", refusal))
    return findings, plan


def _planned(request: Request, preset: Preset) -> tuple[Plan | None, LoomError | None]:
    try:
        return plan_request(request, preset), None
    except LoomError as error:
        return None, error


def _media_findings(request: Request, plan: Plan | None, *, size: tuple[int, int] | None) -> list[Finding]:
    findings: list[Finding] = []
    if request.source is not None:
        info, findings = look_at(request.source, check="source")
        if info is not None:
            limit = {} if plan is None or request.num_frames is None else {"max_frames": request.num_frames}
            fps = NATIVE_FPS if plan is None else plan.fps
            findings += check_source(request.source.name, info, fps=fps, size=size, **limit)
            findings += check_sound(request.source.name, info)
    for number, path in enumerate(request.references, start=1):
        info, unread = look_at(path, check="references")
        findings += unread if info is None else check_reference(number, path.name, info, size=size)
    return findings

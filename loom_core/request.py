"""What a user asks for, and the plan that follows from it once it was checked against the files it names.

Planning reads headers only: whatever is wrong with a request is said before any weights are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .config.presets import Preset, sampling_config
from .config.sampling import DEFAULT_NEGATIVE_PROMPT, IMAGE_TASKS, SamplingConfig
from .config.speed import EXACT
from .errors import ConfigError, MediaError
from .geometry import MAX_FRAMES, NATIVE_FPS, check_frames, check_size, resample_indices, snap_size
from .media.probe import MediaInfo, probe
from .mllm.frames import TRAINED_MAX_FRAMES, processor_indices
from .mllm.prompts import LAYOUTS, check_request, infer_task, named_references, parse_task
from .sampling.solvers import get_solver
from .types import Task

MAX_FPS = 240.0
MAX_SIDE = 4096  # pixels; the largest trained side is 1472
SEEDS = 2**63
POSTERIORS = ("sample", "mode")
MAX_SOURCE_STRENGTH = 10.0
LONGEST = 4 * (MAX_FRAMES - 1) + 1  # frames; beyond it a run only fills the memory
TEMPORAL_SLACK = 4  # frames that cutting to 4k + 1 may cost without a word


@dataclass(frozen=True, kw_only=True)
class Request:
    """A generation or an edit, as a user says it; None leaves the choice to the preset, the source or the task.

    Args:
        prompt: Text or instruction; may name references as `@Image 1`, `@Image 2` ...
        source: Clip or image to edit.
        references: Reference images, in the order of their mentions.
        task: A task's name or alias; None infers it from what is given.
        negative_prompt: What to stay away from.
        width: Pixels, a multiple of 32.
        height: Pixels, a multiple of 32.
        num_frames: 4k + 1; 1 makes an image.
        fps: Rate at which a source is sampled and the result is written, frames a second.
        num_inference_steps: Denoising steps.
        guidance_scale: Text guidance.
        visual_guidance_scale: Visual guidance.
        shift: Of the schedule; 0 derives it from the number of tokens.
        solver: Name of a solver.
        speed: Name of a speed: what is left out of the work.
        guidance_every: Behind the first fifth of the steps, all branches run in every Nth step only.
        source_strength: Multiplies the source term; 1 as trained.
        layout: "official" or "inline" order of the prompt's parts.
        mllm_frames: Frames of a source that the MLLM sees at most, 2 or more; 4 as trained.
        posterior: "sample" draws source and reference latents from the VAE's posterior, as in training; "mode" takes
            its mean.
        seed: Of the noise, 0 to 2**63 - 1.
    """

    prompt: str
    source: Path | None = None
    references: tuple[Path, ...] = ()
    task: str | None = None
    negative_prompt: str = DEFAULT_NEGATIVE_PROMPT
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    fps: float | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    visual_guidance_scale: float | None = None
    shift: float | None = None
    solver: str | None = None
    speed: str = EXACT
    guidance_every: int | None = None
    source_strength: float = 1.0
    layout: str = "official"
    mllm_frames: int = TRAINED_MAX_FRAMES
    posterior: str = "sample"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A request with every choice made.

    Args:
        request: What was asked.
        task: What is done.
        width: Of the result, pixels.
        height: Of the result, pixels.
        num_frames: Of the result.
        fps: Of the result, frames a second.
        sampling: How it is denoised.
        notices: Sentences that the user should read: what was cut, what is never mentioned.
    """

    request: Request
    task: Task
    width: int
    height: int
    num_frames: int
    fps: float
    sampling: SamplingConfig
    notices: tuple[str, ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether the result is a still."""
        return self.num_frames == 1

    @property
    def has_visual(self) -> bool:
        """Whether there is a source or a reference, and so a visual branch of guidance."""
        return self.request.source is not None or bool(self.request.references)


def _size(request: Request, preset: Preset, shape: MediaInfo | None, *, is_image: bool) -> tuple[int, int]:
    """Width and height: as asked, else like the source or first reference, else the preset's."""
    like_width, like_height = (shape.width, shape.height) if shape is not None else (preset.width, preset.height)
    width, height = request.width, request.height
    if width is None and height is None:
        width, height = preset.width, preset.height
        if shape is not None:
            width, height = preset.size_like(like_width, like_height, is_image=is_image)
    elif height is None and width is not None:
        height = snap_size(width, width * like_height / like_width)[1]
    elif width is None and height is not None:
        width = snap_size(height * like_width / like_height, height)[0]
    assert width is not None and height is not None
    if max(width, height) > MAX_SIDE:
        raise ConfigError(
            f"size {width}x{height}", expected=f"sides of at most {MAX_SIDE} pixels", fix="832x480 is trained"
        )
    check_size(width, height)
    return width, height


def _frames(request: Request, preset: Preset, source: MediaInfo | None, fps: float) -> tuple[int, list[str]]:
    """Number of frames, and what to tell the user about it."""
    notices = []
    if request.num_frames is not None:
        check_frames(request.num_frames)
        if request.num_frames > LONGEST:
            raise ConfigError(f"{request.num_frames} frames", expected=f"at most {LONGEST}", fix="make several clips")
        if request.num_frames > MAX_FRAMES:
            notices.append(f"the model was trained on clips of up to {MAX_FRAMES} frames; longer ones may fall apart")
    if source is None:
        return request.num_frames or preset.num_frames, notices
    if source.is_image:
        if request.num_frames not in (None, 1):
            raise ConfigError(
                f"{request.num_frames} frames from a still image",
                expected="1 frame when an image is edited",
                fix="leave the number of frames out, or give the image as a reference instead",
            )
        return 1, notices
    most = request.num_frames or MAX_FRAMES
    available = len(resample_indices(source.fps, source.num_frames, target_fps=fps, max_frames=most))
    if request.num_frames is not None and available < request.num_frames:
        raise ConfigError(
            f"{request.num_frames} frames of a source that has {available} at {fps:g} frames a second",
            expected=f"at most {available}",
            fix="ask for fewer frames, or raise the rate",
        )
    if available == 1 < source.num_frames and request.num_frames is None:
        few = f"{source.num_frames} frames, too few for a clip of 5"
        notices.append(f"the source has {few}; its first is edited as a still")
    left = source.duration_seconds - available / fps
    if left > (TEMPORAL_SLACK + 1) / fps and request.num_frames is None:
        seconds = f"{source.duration_seconds:.1f} s long; its first {available / fps:.1f} s"
        notices.append(f"the source is {seconds} are edited")
    return available, notices


def _check_numbers(request: Request) -> None:
    """Refuse what is out of range or unknown, whatever the media."""
    if request.fps is not None and not 0 < request.fps <= MAX_FPS:
        raise ConfigError(
            f"a rate of {request.fps}", expected=f"above 0, at most {MAX_FPS:g} frames a second", fix="24 is trained"
        )
    if not 0 <= request.seed < SEEDS:
        raise ConfigError(f"seed {request.seed}", expected="0 to 2**63 - 1", fix="choose a smaller number")
    if request.layout not in LAYOUTS:
        raise ConfigError(f"layout {request.layout!r}", expected=" or ".join(LAYOUTS), fix="leave it out for official")
    if request.posterior not in POSTERIORS:
        raise ConfigError(f"posterior {request.posterior!r}", expected=" or ".join(POSTERIORS), fix="leave it out")
    processor_indices(1, max_frames=request.mllm_frames)  # refuses a count out of range
    if not 0 <= request.source_strength <= MAX_SOURCE_STRENGTH:
        raise ConfigError(
            f"source strength {request.source_strength}", expected=f"0 to {MAX_SOURCE_STRENGTH:g}", fix="1 is trained"
        )


def plan_request(request: Request, preset: Preset) -> Plan:
    """Check a request and make every choice it leaves open.

    Args:
        request: What was asked.
        preset: Where its gaps are filled from.

    Returns:
        The plan.

    Raises:
        ConfigError: The request makes no sense, alone or with the media it names.
        MediaError: A media file cannot be read.
    """
    _check_numbers(request)
    _sampling(request, preset, task=Task.TEXT_TO_VIDEO)  # refuses numbers out of range before any file is opened
    source = None if request.source is None else probe(request.source)
    references = [_probe_still(path) for path in request.references]
    fps = request.fps or NATIVE_FPS
    num_frames, notices = _frames(request, preset, source, fps)
    is_still = source is not None and (source.is_image or num_frames == 1)
    task = _task(request, num_frames, has_source=source is not None, source_is_image=is_still)
    if task in IMAGE_TASKS:
        num_frames = 1
    unmentioned = check_request(
        task,
        request.prompt,
        num_references=len(references),
        has_source=source is not None,
        # a clip of one frame is still a clip to whoever names that task
        source_is_image=is_still and (task is not Task.EDIT_VIDEO or (source is not None and source.is_image)),
    )
    if unmentioned and len(unmentioned) < len(references):
        notices.append(f"never mentioned in the prompt: {named_references(unmentioned)}")
    shape = source or (references[0] if references else None)
    width, height = _size(request, preset, shape, is_image=num_frames == 1)
    return Plan(
        request=request,
        task=task,
        width=width,
        height=height,
        num_frames=num_frames,
        fps=fps,
        sampling=_sampling(request, preset, task=task),
        notices=tuple(notices),
    )


def _probe_still(path: Path) -> MediaInfo:
    """Look at a reference, which has to be a still image."""
    info = probe(path)
    if not info.is_image:
        raise MediaError(
            f"the reference {path.name}, which is a clip",
            expected="a still image",
            fix="save one frame of it as a png, or give the clip as the source",
        )
    return info


def _sampling(request: Request, preset: Preset, *, task: Task) -> SamplingConfig:
    """Sampling settings: as asked, else the preset's, else the task's."""
    get_solver(request.solver or preset.solver)
    return sampling_config(
        preset,
        task,
        num_inference_steps=request.num_inference_steps,
        shift=request.shift,
        guidance_scale=request.guidance_scale,
        visual_guidance_scale=request.visual_guidance_scale,
        solver=request.solver,
        speed=request.speed,
        guidance_every=request.guidance_every,
    )


def _task(request: Request, num_frames: int, *, has_source: bool, source_is_image: bool) -> Task:
    """The named task, or the one that follows from what is given."""
    if request.task is not None:
        task = parse_task(request.task, source_is_image=source_is_image)
        if task in IMAGE_TASKS and request.num_frames not in (None, 1):
            raise ConfigError(
                f"{request.num_frames} frames for task {task.value}", expected="1 frame", fix="leave the number out"
            )
        return task
    return infer_task(
        has_source=has_source,
        source_is_image=source_is_image,
        num_references=len(request.references),
        num_frames=num_frames,
    )

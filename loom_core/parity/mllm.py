"""The MLLM: tapped layers, and the prompts of every task."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config.sampling import SamplingConfig, default_guidance_scale
from ..geometry import NATIVE_FPS, resample_indices
from ..media.resize import resize_and_crop, to_pixels
from ..mllm.encoder import QwenEncoder
from ..mllm.frames import downsample_indices, source_frame_indices
from ..mllm.prompts import TextSegment, negative_segments
from ..mllm.tokens import TokenizedPrompt
from ..types import Clip, Task
from .cases import Case
from .report import CaseReport

STATES_ATOL = 5e-5
PIXEL_ATOL = 2 / 255
TENSOR_ATOL = 1e-6

_FPS = re.compile(r"([\d.]+) fps")
_TASKS = {
    "prepare_t2v_inputs": (Task.TEXT_TO_VIDEO, Task.TEXT_TO_IMAGE),
    "prepare_edit_inputs": (Task.EDIT_VIDEO, Task.EDIT_IMAGE),
    "prepare_ref_edit_inputs": (Task.REFERENCE_EDIT, Task.REFERENCE_EDIT),
    "prepare_mi2v_inputs": (Task.REFERENCE_TO_VIDEO, Task.REFERENCE_TO_VIDEO),
}
"""Official helper -> (task for a clip, task for one frame)."""


@lru_cache(maxsize=4)
def load_encoder(root: Path, name: str, num_blocks: int, rope_precision: str = "exact") -> QwenEncoder:
    """The MLLM of `models/<name>`, in float32."""
    return QwenEncoder.load(
        root / "models" / name / "qwen",
        num_blocks=num_blocks,
        dtype=torch.float32,
        device=torch.device("cpu"),
        rope_precision=rope_precision,
    )


def _clip(frames: Tensor) -> Clip:
    """Frames [F, H, W, 3], or one picture [H, W, 3], as a clip."""
    if frames.dim() == 3:  # noqa: PLR2004
        return Clip(frames[None], 0.0, is_image=True)
    return Clip(frames, 24.0)


def _check_prompt(prompt: TokenizedPrompt, tensors: Mapping[str, Tensor], report: CaseReport) -> None:
    """Ids, patch grids and patches against the recorded processor's."""
    report.equal("input_ids", prompt.input_ids[None], tensors["input_ids"])
    kinds = (
        ("image_grid_thw", "pixel_values", prompt.images),
        ("video_grid_thw", "pixel_values_videos", prompt.videos),
    )
    for grid, pixels, pictures in kinds:
        if grid in tensors:
            report.equal(grid, torch.tensor([picture.grid for picture in pictures]), tensors[grid])
        if pixels in tensors:
            ours = torch.cat([picture.pixels for picture in pictures])
            report.close(pixels, ours, tensors[pixels], atol=PIXEL_ATOL, rtol=0.0)


@contextmanager
def _taps(encoder: QwenEncoder) -> Iterator[dict[str, Any]]:
    """Collects what the text model is given, its layers' own outputs and its normed last state."""
    seen: dict[str, Any] = {}
    text = encoder.model.language_model

    def given(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        seen.update(kwargs)

    def layer(index: int) -> Any:
        def hook(_module: nn.Module, _args: Any, result: Any) -> None:
            # a copy: some transformers versions add the vision features in place
            seen[f"layer.{index}"] = (result[0] if isinstance(result, tuple) else result).clone()

        return hook

    def normed(_module: nn.Module, _args: Any, result: Tensor) -> None:
        seen["last_hidden_state"] = result

    handles = [text.register_forward_pre_hook(given, with_kwargs=True), text.norm.register_forward_hook(normed)]
    handles += [block.register_forward_hook(layer(index)) for index, block in enumerate(text.layers)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _inside(encoder: QwenEncoder, prompt: TokenizedPrompt, seen: Mapping[str, Any]) -> dict[str, Tensor]:
    """Recorded intermediates by name."""
    inside = {
        "position_ids": seen["position_ids"][-3:],
        "last_hidden_state": seen["last_hidden_state"],
        "attention_mask": torch.ones_like(prompt.input_ids)[None],
    }
    inside |= {f"before_deepstack_add.{i}": seen[f"layer.{i}"] for i in range(encoder.num_layers)}
    special = encoder.tokenizer.special
    visual = seen.get("visual_pos_masks")
    for kind, pad in (("image", special.image_pad), ("video", special.video_pad)):
        where = prompt.input_ids == pad
        inside[f"{kind}_embeds"] = seen["inputs_embeds"][0][where]
        if visual is not None:
            among_visual = where[visual[0]]
            for level, features in enumerate(seen["deepstack_visual_embeds"]):
                inside[f"{kind}_deepstack.{level}"] = features[among_visual]
    return inside


def recorded_content(case: Case) -> list[str | Clip]:
    """What the prompt of a `deepstack` case is made of: words and pictures, in order."""
    tensors = case.tensors
    names = sorted((name for name in tensors if name.startswith("raw.")), key=lambda name: int(name.split(".")[1]))
    media = (tensors[name] for name in names)
    return [item[1] if item[0] == "text" else _clip(next(media)) for item in case.about["content"]]


@torch.no_grad()
def check_deepstack(case: Case, report: CaseReport) -> None:
    """A `deepstack` case: every layer's state of an interleaved prompt."""
    tensors, about = case.tensors, case.about
    layers = about["num_mllm_layers"]
    encoder = load_encoder(case.root, about["model"], layers)
    prompt = encoder.reader.read(recorded_content(case))
    _check_prompt(prompt, tensors, report)
    with _taps(encoder) as seen:
        states = encoder.hidden_states(prompt)
    for index, state in enumerate(states):
        name = f"hidden_states.{index}"
        if name in tensors:
            report.close(name, state[None], tensors[name], atol=STATES_ATOL)
    for name, value in _inside(encoder, prompt, seen).items():
        if name not in tensors:
            continue
        if value.is_floating_point():
            report.close(name, value, tensors[name], atol=STATES_ATOL)
        else:
            report.equal(name, value, tensors[name])
    rounded = [name for name in tensors if name.startswith("hidden_states_bf16_invfreq.")]
    if rounded:
        states = load_encoder(case.root, about["model"], layers, "bf16").hidden_states(prompt)
        for name in rounded:
            report.close(name, states[int(name.split(".")[1])][None], tensors[name], atol=STATES_ATOL)


def check_prompts(case: Case, report: CaseReport) -> None:
    """A `visual_only_prompt` case."""
    if case.stem == "prompts":
        _check_strings(case, report)
    elif case.stem == "resize_and_crop":
        _check_resize(case, report)
    else:
        _check_task_prompt(case, report)


def _check_resize(case: Case, report: CaseReport) -> None:
    """Covering resize and centre crop, bit by bit."""
    tensors = case.tensors
    for index, picture in enumerate(case.numbered("in")):
        expected = tensors[f"out.{index}"]
        resized = resize_and_crop(picture[None], width=expected.shape[1], height=expected.shape[0])
        report.equal(f"out.{index}", resized[0], expected)
        report.close(f"tensor.{index}", to_pixels(resized)[:, 0], tensors[f"tensor.{index}"], atol=TENSOR_ATOL, rtol=0)


def _sized(frames: Tensor, settings: Mapping[str, Any], *, fps: float = NATIVE_FPS) -> Clip:
    """Raw pictures as the pipeline hands them on: resampled, sized, cropped."""
    is_image = frames.dim() == 3  # noqa: PLR2004
    frames = frames[None] if is_image else frames[resample_indices(fps, frames.shape[0])]
    sized = resize_and_crop(frames, width=settings["width"], height=settings["height"])
    return Clip(sized, 0.0 if is_image else 24.0, is_image=is_image)


def _blank(settings: Mapping[str, Any], *, is_image: bool) -> Clip:
    """A picture of the right size where the recorded case keeps none: ids depend on sizes alone."""
    frames = 1 if is_image else settings["num_frames"]
    blank = torch.zeros(frames, settings["height"], settings["width"], 3, dtype=torch.uint8)
    return Clip(blank, 24.0, is_image=is_image)


def _media(case: Case, entry: Mapping[str, Any]) -> tuple[list[Clip], Clip | None]:
    """References and source of a recorded request."""
    tensors, settings = case.tensors, entry["resolved"]
    kinds = [item["type"] for item in entry["messages"][0]["content"]]
    edits_image = entry["function"] == "prepare_edit_inputs" and "video" not in kinds
    recorded = [_sized(picture, settings) for picture in case.numbered("raw_ref")]
    if "raw_image" in tensors:
        recorded.append(_sized(tensors["raw_image"], settings))
    num_images = kinds.count("image")
    images = recorded if len(recorded) == num_images else [_blank(settings, is_image=True)] * num_images
    if edits_image:
        return [], images[0]
    if "video" not in kinds:
        return images, None
    if "raw_source_frames" in tensors:
        described = case.about["tensors"]["raw_source_frames"]["meaning"]
        rates = _FPS.findall(described)
        return images, _sized(tensors["raw_source_frames"], settings, fps=float(rates[0]) if rates else NATIVE_FPS)
    return images, _blank(settings, is_image=False)


def _check_task_prompt(case: Case, report: CaseReport) -> None:
    """Ids of one task's full and visual-only prompt, and the pixels handed to the VAE."""
    entry = case.sibling("visual_only_prompt/prompts").about["tasks"][case.stem]
    tensors = case.tensors
    references, source = _media(case, entry)
    task = _TASKS[entry["function"]][entry["resolved"]["num_frames"] == 1]
    encoder = load_encoder(case.root, case.about["model"], 1)
    prompt = encoder.reader.full(task, entry["user_prompt"], references=references, source=source)
    _check_prompt(prompt, tensors, report)
    report.equal("has a visual branch", prompt.is_visual, entry["visual_only_string"] is not None)
    if prompt.is_visual:
        visual = encoder.tokenizer.visual_only(prompt)
        report.equal("visual_only_input_ids", visual.input_ids[None], tensors["visual_only_input_ids"])
    resolved = entry["resolved"]
    report.equal("guidance_scale", default_guidance_scale(task), resolved["guidance_scale"])
    defaults = SamplingConfig()
    report.equal("visual_guidance_scale", defaults.visual_guidance_scale, resolved["guidance_scale_visual"])
    for name, clips in (("source_pixel_values", [source] if source else []), ("ref_pixel_values", references)):
        for index, clip in enumerate(clips):
            expected = tensors.get(f"{name}.{index}")
            if expected is not None:
                pixels = to_pixels(clip.frames)
                pixels = pixels[:, 0] if expected.dim() == 3 else pixels  # noqa: PLR2004
                report.close(f"{name}.{index}", pixels, expected, atol=TENSOR_ATOL, rtol=0)


def _any_mllm(root: Path) -> str:
    """The first model that has an MLLM."""
    return min(folder.parent.name for folder in (root / "models").glob("*/qwen"))


def _check_strings(case: Case, report: CaseReport) -> None:
    """Special ids, negative prompts, the frames the MLLM sees, the frames a clip is cut to."""
    about = case.about
    encoder = load_encoder(case.root, about.get("model") or _any_mllm(case.root), 1)
    special = encoder.tokenizer.special
    for name in ("im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad"):
        report.equal(name, getattr(special, name), about["special_token_ids"][f"<|{name}|>"])
    for text, entry in about["negative_prompt"].items():
        segments = negative_segments("None" if text == "<None>" else text)
        words = [segment.text for segment in segments if isinstance(segment, TextSegment)]
        report.equal(f"negative prompt {text!r}", encoder.reader.read(words).input_ids.tolist(), entry["ids"])
    for frames, entry in about["vlm_frame_selection"]["table"].items():
        if entry["ok"]:
            report.equal(f"thinned {frames}", downsample_indices(int(frames)), entry["downsample_indices"])
            report.equal(f"seen of {frames}", source_frame_indices(int(frames)), entry["source_frames_seen_by_vlm"])
    for settings, entry in about["load_video_indices"].items():
        values = dict(pair.split("=") for pair in settings.split(","))
        indices = resample_indices(
            float(values["fps"]),
            int(values["frames"]),
            target_fps=float(values["target_fps"]),
            max_frames=int(values["target_num_frames"]),
        )
        report.equal(f"frames of {settings}", indices, entry["indices"])

"""Prompts, source and references to CONDITIONING."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..loom_core.config.sampling import DEFAULT_NEGATIVE_PROMPT
from ..loom_core.geometry import NATIVE_FPS
from ..loom_core.mllm.frames import TRAINED_MAX_FRAMES, downsample_indices
from ..loom_core.mllm.prompts import LAYOUTS
from ..loom_core.types import Branch, Clip
from .adapter.conditioning import Conditioning, around
from .adapter.encoder.encoding import Encoded, EncodeRequest, encode
from .adapter.media.pictures import as_levels
from .adapter.progress import NodeProgress
from .instruction import AUTO, TASKS, Instruction, read_instruction
from .sockets import ReferenceClip, References, Source, SourceClip

CATEGORY = "LoomVideo/conditioning"
MOST_MLLM_FRAMES = 64


class LoomVideoDeepstackEncode(io.ComfyNode):
    """Prompt, source and references, read by Qwen3-VL, for each branch of guidance."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoDeepstackEncode",
            display_name="LoomVideo Deepstack Encode (Qwen3-VL)",
            category=CATEGORY,
            description="Has Qwen3-VL read the prompt together with source and references. Its last layers are the "
            "conditioning, one layer for each block of the model. What was read once is kept: another seed, another "
            "number of steps or another strength of the source does not read it again.",
            search_aliases=["prompt", "clip text encode", "text encode", "qwen3-vl", "edit instruction", "loom"],
            inputs=[*_main_inputs(), *_optional_inputs()],
            outputs=[
                io.Conditioning.Output("positive", tooltip="Of the full prompt, with source and references."),
                io.Conditioning.Output(
                    "visual",
                    tooltip="Of source and references without a word, for the visual branch of guidance. "
                    "Without source and references it equals the negative one and is not used.",
                ),
                io.Conditioning.Output("negative", tooltip="Of the negative prompt, without source and references."),
            ],
        )

    @classmethod
    def execute(
        cls,
        clip: Any,
        prompt: str,
        *,
        task: str,
        layout: str,
        source: SourceClip | None = None,
        references: tuple[ReferenceClip, ...] | None = None,
        latent: Mapping[str, Any] | None = None,
        negative_prompt: str = DEFAULT_NEGATIVE_PROMPT,
        mllm_frames: int = TRAINED_MAX_FRAMES,
        cache_on_disk: bool = False,
    ) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        references = references or ()
        instruction = read_instruction(task, prompt, source=source, num_references=len(references), latent=latent)
        request = EncodeRequest(
            task=instruction.task,
            prompt=prompt,
            negative_prompt=negative_prompt,
            source=None if source is None else as_clip(source.frames, fps=source.fps, is_image=source.is_image),
            references=tuple(as_clip(one.frames) for one in references),
            layout=layout,
            max_frames=mllm_frames,
            on_disk=cache_on_disk,
        )
        progress = NodeProgress()
        encoded = encode(clip, request, progress=progress)
        if instruction.notice:
            logging.warning("LoomVideo: %s", instruction.notice)
        progress.text("\n".join(filter(None, (f"{instruction.task.value}; {encoded.summary}", instruction.notice))))
        return io.NodeOutput(*_conditionings(encoded, instruction, source=source, references=references))


def _main_inputs() -> list[io.Input]:
    return [
        io.Clip.Input(
            "clip",
            tooltip="Qwen3-VL-8B for the released weights, from LoomVideo Encoder Loader or Load CLIP (type wan); "
            "the built-in encoder for the built-in model. It is not changed.",
        ),
        io.String.Input(
            "prompt",
            multiline=True,
            dynamic_prompts=False,
            tooltip="What to make, or what to change in the source. References are named @Image 1, @Image 2 ... in the "
            "order of their slots. Every character counts as it stands: brackets give no weight.",
        ),
        io.Combo.Input(
            "task",
            options=list(TASKS),
            default=AUTO,
            tooltip="auto infers it: an edit if a source is connected, with references if there are some, an image "
            "if the latent has one frame. The others refuse what does not fit them.",
        ),
        io.Combo.Input(
            "layout",
            options=list(LAYOUTS),
            default=LAYOUTS[0],
            tooltip="Where the pictures stand in the prompt. official: references, source, text, as the released "
            "model is run. inline: each reference right before its first @Image mention.",
        ),
    ]


def _optional_inputs() -> list[io.Input]:
    return [
        Source.Input("source", optional=True, tooltip="From LoomVideo Source Latent Scaler: what is edited."),
        References.Input(
            "references", optional=True, tooltip="From LoomVideo Reference Slots, in the order of @Image N."
        ),
        io.Latent.Input(
            "latent",
            optional=True,
            tooltip="The latent that is sampled into. Only its length is read: one frame makes the task an image.",
        ),
        io.String.Input(
            "negative_prompt",
            optional=True,
            multiline=True,
            dynamic_prompts=False,
            default=DEFAULT_NEGATIVE_PROMPT,
            advanced=True,
            tooltip="What to stay away from. The text that is there is the one the released model is run with.",
        ),
        io.Int.Input(
            "mllm_frames",
            optional=True,
            default=TRAINED_MAX_FRAMES,
            min=2,
            max=MOST_MLLM_FRAMES,
            advanced=True,
            tooltip="Frames of the source that Qwen3-VL looks at. 4 is what the model was trained with; "
            "more take more time and memory.",
        ),
        io.Boolean.Input(
            "cache_on_disk",
            optional=True,
            default=False,
            advanced=True,
            tooltip="Keep what was read in ComfyUI's user folder as well, up to 4 GB, so that it is there after a "
            "restart.",
        ),
    ]


def as_clip(frames: Tensor, *, fps: float = NATIVE_FPS, is_image: bool = False) -> Clip:
    """Pictures as the MLLM gets them: in 8 bits, at the size that the model gets them.

    Args:
        frames: float32 [frames, height, width, 3] in [0, 1].
        fps: Frames a second.
        is_image: True for a still; a single frame always is one.

    Returns:
        A clip of the same length; only the frames that the first thinning leaves are there, the others are black.
    """
    levels = torch.zeros(frames.shape, dtype=torch.uint8)
    for index in downsample_indices(len(frames)):  # all of a long clip would take a second and its memory again
        levels[index] = torch.from_numpy(as_levels(frames[index].cpu().clamp(0, 1)))
    return Clip(levels, fps, is_image=is_image or len(frames) == 1)


def _conditionings(
    encoded: Encoded, instruction: Instruction, *, source: SourceClip | None, references: tuple[ReferenceClip, ...]
) -> list[Conditioning]:
    """Positive, visual, negative."""

    def made(branch: Branch, states: Tensor, **pictures: Any) -> Conditioning:
        ((tensor, values),) = around(
            states, num_layers=encoded.num_blocks, task=instruction.task, branch=branch, **pictures
        )
        return [[tensor, values | encoded.values]]

    pictures = {"source": source, "references": references}
    states, negative = encoded.states, encoded.states[Branch.UNCONDITIONAL]
    return [
        made(Branch.FULL, states[Branch.FULL], **pictures),
        # without pictures: as the negative one, with which any guider comes to plain guidance by the text
        made(Branch.VISUAL, states.get(Branch.VISUAL, negative), **pictures),
        made(Branch.UNCONDITIONAL, negative),
    ]

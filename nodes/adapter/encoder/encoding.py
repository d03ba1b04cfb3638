"""Prompts read with the MLLM in the host's CLIP: from a request to the states of each branch, nothing read twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from ....loom_core.mllm.reader import PromptReader
from ....loom_core.mllm.tokens import PromptTokenizer, TokenizedPrompt, load_tokenizer
from ....loom_core.types import Branch, Clip, Task
from ..memory import free_and_retry
from ..progress import NodeProgress
from ..run_state import Phase, RunState
from .cache import CACHE, StateCache, prompt_key
from .identity import identity_of
from .qwen import Qwen, find_qwen, tokenizer_of
from .session import QwenSession

_RETRY_RESERVE = 3.0
_FIX = "use fewer or smaller references, fewer mllm_frames or a shorter prompt, or start ComfyUI with --lowvram"


@dataclass(frozen=True, kw_only=True)
class EncodeRequest:
    """What is to be read.

    Args:
        task: Gives the prefix and the order of the parts.
        prompt: The instruction.
        negative_prompt: What the unconditional branch reads.
        source: What is edited, at the size that the DiT gets it, all frames.
        references: In the order of `@Image 1`, `@Image 2` ..., at the size that the DiT gets them.
        layout: "official" or "inline".
        max_frames: Frames of a clip that the MLLM sees; 4 as trained.
        on_disk: Keep what was read on disk as well, and look for it there.
    """

    task: Task
    prompt: str
    negative_prompt: str
    source: Clip | None = None
    references: tuple[Clip, ...] = ()
    layout: str = "official"
    max_frames: int
    on_disk: bool = False


@dataclass(frozen=True)
class Encoded:
    """What was read.

    Args:
        states: bfloat16 [1, S, blocks * W] on the CPU, by branch; not to be written to, since they are kept. There is
            no visual branch without source and references.
        num_blocks: Blocks of the DiT that reads them.
        values: What the CLIP wants every conditioning of it to carry: the host's hooks.
        summary: What was read and what was known already, for the user.
    """

    states: Mapping[Branch, Tensor]
    num_blocks: int
    values: Mapping[str, Any]
    summary: str


def encode(clip: Any, request: EncodeRequest, *, progress: NodeProgress, cache: StateCache = CACHE) -> Encoded:
    """Read the full, the visual-only and the negative prompt of a request, as far as they are not known already.

    Args:
        clip: The host's CLIP with a Qwen3-VL; it is not changed.
        request: What is to be read.
        progress: Shown which prompt is read.
        cache: Where states are kept.

    Raises:
        WeightsError: The CLIP is another model, or its states are not finite.
        ConfigError: The layout or the number of frames makes no sense, or a picture is too narrow.
        ResourceError: Memory ran out, also once everything else was freed.
    """
    qwen = find_qwen(clip)
    reader = reader_of(qwen, max_frames=request.max_frames)
    prompts = tokenised(reader, request)
    identity = identity_of(qwen)
    on_disk = request.on_disk and identity is not None and identity.outlives_process
    keys = {
        branch: prompt_key(prompt, encoder=identity.text, num_blocks=qwen.pairing.num_blocks)
        for branch, prompt in prompts.items()
        if identity is not None
    }
    known = {branch: cache.get(key, on_disk=on_disk) for branch, key in keys.items()}
    states = {branch: found for branch, found in known.items() if found is not None}
    new = [branch for branch in prompts if branch not in states]

    def keep(branch: Branch, read: Tensor) -> None:
        states[branch] = read
        if branch in keys:
            cache.put(keys[branch], read, on_disk=on_disk)

    if new:
        _read(clip, qwen, {branch: prompts[branch] for branch in new}, reader, progress, keep=keep)
    summary = _summary(prompts, new)
    if request.on_disk and not on_disk:
        summary += "; not kept on disk, since this CLIP has no file of its own, or patches"
    if clip.use_clip_schedule and qwen.patcher.forced_hooks is not None:
        summary += "; the schedule of the CLIP's hooks is not followed"
    logging.info("LoomVideo: %s", summary)
    return Encoded(states, qwen.pairing.num_blocks, clip.add_hooks_to_dict({}), summary)


def tokenised(reader: PromptReader, request: EncodeRequest) -> dict[Branch, TokenizedPrompt]:
    """The prompt of each branch, in the order in which they are read."""
    full = reader.full(
        request.task, request.prompt, references=request.references, source=request.source, layout=request.layout
    )
    prompts = {Branch.FULL: full}
    if full.is_visual:
        prompts[Branch.VISUAL] = reader.tokenizer.visual_only(full)
    return {**prompts, Branch.UNCONDITIONAL: reader.negative(request.negative_prompt)}


def reader_of(qwen: Qwen, *, max_frames: int) -> PromptReader:
    """What writes prompts for an encoder.

    Args:
        qwen: The encoder.
        max_frames: Frames of a clip that it sees.

    Raises:
        WeightsError: Its tokenizer is missing or damaged.
    """
    pairing = qwen.pairing
    return PromptReader(_tokenizer(tokenizer_of(pairing)), pairing.image_settings, pairing.video_settings, max_frames)


@lru_cache(maxsize=2)
def _tokenizer(path: Path) -> PromptTokenizer:
    """A tokenizer, remembered: Qwen's takes about a second to load."""
    return load_tokenizer(path)


def _read(
    clip: Any,
    qwen: Qwen,
    prompts: Mapping[Branch, TokenizedPrompt],
    reader: PromptReader,
    progress: NodeProgress,
    *,
    keep: Callable[[Branch, Tensor], None],
) -> None:
    """Read prompts and hand each one's states on; those done when memory runs out are not read again."""
    done: set[Branch] = set()
    total = len(prompts) * qwen.num_layers
    lengths = sum(len(prompt.input_ids) for prompt in prompts.values())

    def attempt(reserve: float = 1.0) -> None:
        progress.text("loading the encoder")
        progress.report(RunState(phase=Phase.LOAD))
        with QwenSession(clip, qwen, special=reader.tokenizer.special) as session:
            for number, (branch, prompt) in enumerate(prompts.items()):
                if branch in done:
                    continue
                start = number * session.num_layers
                progress.step(start, total)
                progress.report(RunState(phase=Phase.ENCODE, step=start, steps=total))
                progress.text(f"reading the {branch.value} prompt ({number + 1} of {len(prompts)}), {_size(prompt)}")
                keep(branch, session.states(prompt, tick=_ticker(progress, start, total), reserve=reserve))
                done.add(branch)

    free_and_retry(
        attempt,
        then=lambda: attempt(_RETRY_RESERVE),
        what=f"reading {lengths} tokens with the MLLM",
        fix=_FIX,
    )


def _ticker(progress: NodeProgress, start: int, total: int) -> Callable[[], None]:
    """Moves the bar on by one a call, and stops where the user has cancelled."""
    count = iter(range(start + 1, total + 1))
    return lambda: progress.step(next(count), total)


def _size(prompt: TokenizedPrompt) -> str:
    pictures = len(prompt.images) + len(prompt.videos)
    shown = f", {pictures} picture{'s' if pictures > 1 else ''}" if pictures else ""
    return f"{len(prompt.input_ids)} tokens{shown}"


def _summary(prompts: Mapping[Branch, TokenizedPrompt], new: list[Branch]) -> str:
    lengths = ", ".join(f"{branch.value} {len(prompt.input_ids)}" for branch, prompt in prompts.items())
    known = [branch.value for branch in prompts if branch not in new]
    origin = f"; from the cache: {' and '.join(known) if new else 'all'}" if known else ""
    return f"tokens: {lengths}{origin}"

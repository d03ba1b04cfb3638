"""The MLLM's states on disk: every prompt of a run is asked once, before the DiT is loaded, and the MLLM let go of.

So a GPU holds one of the two large models at a time, or the DiT alone. A file's name is a fingerprint of the prompt's
texts and pixels and of the MLLM; a prompt is asked by itself, so that its states depend on no others.
A token's states take 246 kB in the 5B (30 blocks, 4,096 numbers in bf16): some tens of MB for words, some hundreds for
a clip. That suits the small sets that a LoRA is trained on, not a stage.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..atomic import atomic_target, make_folder
from ..data.dropout import Dropped
from ..data.packing import Pack
from ..data.sample import EncodedSample
from ..errors import CancelledError
from ..types import Clip
from .interruption import IsStopped, never_stopped
from .objective import ObjectiveSettings, ReadPrompts, drawn_dropout, left_of

logger = logging.getLogger(__name__)

Content = Sequence[str | Clip]
_STATES = "states"


class PromptCache:
    """Reads prompts through a folder; an `objective.ReadPrompts`. States are on the CPU.

    Args:
        folder: Created if it is not there.
        identity: Of the MLLM and all else that states follow from beside the prompt.
        load: Loads the MLLM; called when a prompt is not in the folder, again after `release`.

    Raises:
        OutputError: The folder cannot be created.
    """

    def __init__(self, folder: Path, *, identity: str, load: Callable[[], ReadPrompts]) -> None:
        self.folder, self.identity, self._load = folder, identity, load
        self._read: ReadPrompts | None = None
        make_folder(folder, what="the folder of prompts", fix="change `prompt_cache:`, or leave it out")

    def __call__(self, contents: Sequence[Content]) -> list[tuple[Tensor, ...]]:
        """States of each prompt, one [S, W] a DiT block, in the order given."""
        return [self._states(content) for content in contents]

    def fill(
        self,
        contents: Iterable[Content],
        *,
        tell: Callable[[int], None] = lambda _: None,
        is_stopped: IsStopped = never_stopped,
    ) -> int:
        """Ask for the prompts that are not in the folder; returns how many these were.

        Args:
            contents: All prompts.
            tell: Told after each that was asked how many these are by now.
            is_stopped: Asked before each.

        Raises:
            CancelledError: A stop was asked for; what was asked so far is kept.
            ResourceError: The disk is full.
        """
        asked = 0
        for content in contents:
            if is_stopped():
                raise CancelledError("a stop before all prompts were asked", fix="start again; those so far are kept")
            path = self._path(content)
            if not path.is_file():
                self._ask(content, path)
                asked += 1
                tell(asked)
        return asked

    def release(self) -> None:
        """Let go of the MLLM."""
        self._read = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _states(self, content: Content) -> tuple[Tensor, ...]:
        path = self._path(content)
        if path.is_file():
            try:
                return load_file(path)[_STATES].unbind()
            except (SafetensorError, OSError, KeyError) as error:
                logger.warning("the states %s are damaged (%s) and made anew", path.name, error)
                with suppress(OSError):
                    path.unlink()
        return self._ask(content, path)

    def _ask(self, content: Content, path: Path) -> tuple[Tensor, ...]:
        if self._read is None:
            self._read = self._load()
        (states,) = self._read([content])
        together = torch.stack([state.cpu() for state in states])
        path.parent.mkdir(exist_ok=True)
        with atomic_target(path) as temporary:
            temporary.write_bytes(save({_STATES: together}))
        return together.unbind()

    def _path(self, content: Content) -> Path:
        digest = hashlib.sha256(self.identity.encode())
        for item in content:
            if isinstance(item, str):
                digest.update(f"\0text {len(item)} {item}".encode())
            else:
                digest.update(f"\0clip {tuple(item.frames.shape)} {item.fps} {item.is_image}".encode())
                digest.update(item.frames.contiguous().numpy().data)
        name = digest.hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"


def prompts_of(
    packs: Iterator[Pack],
    settings: ObjectiveSettings,
    *,
    count: int,
    held_out: Iterable[EncodedSample] = (),
    pictured: Iterable[EncodedSample] = (),
) -> Iterator[Content]:
    """Every prompt that a run will ask about: those of its packs as dropout leaves them, and of held-out samples.

    Args:
        packs: At the place where the run stands.
        settings: Of its objective.
        count: Packs to come.
        held_out: Samples that losses are measured on.
        pictured: Those of them that are generated, for which their visual and unconditional prompts are asked as well.
    """
    for pack in itertools.islice(packs, count):
        for sample in pack.samples:
            yield left_of(sample, drawn_dropout(sample, settings), settings).content
    for sample in held_out:
        yield left_of(sample, Dropped.NOTHING, settings).content
    for sample in pictured:
        for dropped in (Dropped.TEXT, Dropped.ALL):
            yield left_of(sample, dropped, settings).content

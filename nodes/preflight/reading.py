"""What the values and files in a graph come to: sizes, lengths, media and models, told without running anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ...loom_core.bundle import default_preset_name
from ...loom_core.config.presets import get_preset
from ...loom_core.doctor.files import DiTLook, EncoderLook
from ...loom_core.doctor.finding import Finding
from ...loom_core.errors import ConfigError
from ...loom_core.geometry import MAX_FRAMES, NATIVE_FPS, resample_indices
from ...loom_core.media.probe import MediaInfo
from ..sizing import choose_length, choose_size
from .graph import PromptGraph

MODEL_LOADER, ENCODER_LOADER, VAE_LOADER = "LoomVideoModelLoader", "LoomVideoEncoderLoader", "LoomVideoVAELoader"
SCALER, SLOTS, EMPTY = "LoomVideoSourceLatentScaler", "LoomVideoReferenceSlots", "LoomVideoEmptyLatent"
ENCODE, HELPER, RESTORE = "LoomVideoDeepstackEncode", "LoomVideoSizeHelper", "LoomVideoRestoreVideo"
MEDIA: Mapping[str, str] = {"LoadImage": "image", "LoadImageOutput": "image", "LoadVideo": "file"}
"""Nodes of the host's that load a file -> the input that names it."""


class Host(Protocol):
    """What only the host knows."""

    def dit(self, name: str, *, is_edit: bool) -> DiTLook:
        """A choice of LoomVideo Model Loader, as its header shows it."""
        ...

    def encoder(self, name: str) -> EncoderLook:
        """A choice of LoomVideo Encoder Loader."""
        ...

    def vae(self, name: str) -> list[Finding]:
        """A choice of LoomVideo VAE Loader."""
        ...

    def suggestion(self, kind: str) -> str | None:
        """A choice of a loader that has the name of the released weights; None if there is none."""
        ...

    def media(self, name: str) -> tuple[MediaInfo | None, list[Finding]]:
        """A file that a loader of the host names, or why it cannot be read."""
        ...

    def free_memory(self) -> tuple[int, bool]:
        """Bytes that a run can have, and whether they are a GPU's."""
        ...

    def findings(self) -> list[Finding]:
        """On the host itself, whatever the prompt."""
        ...


@dataclass(frozen=True)
class Media:
    """A file in a graph.

    Args:
        name: As the loader names it.
        node: Id of the loader.
        info: What it holds.
    """

    name: str
    node: str
    info: MediaInfo


class Reading:
    """A prompt and the host it is for.

    Args:
        graph: The prompt.
        host: Knows files and machine.
    """

    def __init__(self, graph: PromptGraph, host: Host) -> None:
        self.graph, self.host = graph, host
        self._media: dict[str, tuple[MediaInfo | None, list[Finding]]] = {}

    @property
    def is_edit(self) -> bool:
        """Whether a source is edited."""
        return any(True for _ in self.graph.of_kind(SCALER))

    def text(self, node: str, name: str) -> str | None:
        """A text that somebody wrote or chose; None if it is made elsewhere."""
        written = self.graph.written(node, name)
        return written.value if written is not None and isinstance(written.value, str) else None

    def number(self, node: str, name: str) -> float | None:
        """A number that somebody wrote, or that a node of ours makes of such; None if it is made elsewhere."""
        written = self.graph.written(node, name)
        if written is not None:
            value = written.value
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            return value if is_number else None
        link = self.graph.link(node, name)
        if link is None:
            return None
        source, output = link
        if self.graph.kind(source) == HELPER:
            values: tuple[float | None, ...] = self._helped(source)
        elif self.graph.kind(source) == SCALER:
            values = (None, None, None, self.number(source, "fps"), self.length_of(source))
        else:
            values = ()
        return values[output] if 0 <= output < len(values) else None

    def whole(self, node: str, name: str) -> int | None:
        """A whole number; see `number`."""
        number = self.number(node, name)
        return None if number is None else int(number)

    def size_of(self, node: str) -> tuple[int, int] | None:
        """(width, height) that a node is told, in pixels."""
        width, height = self.whole(node, "width"), self.whole(node, "height")
        return None if width is None or height is None else (width, height)

    def length_of(self, node: str) -> int | None:
        """Frames of the latent that a node of ours makes."""
        if self.graph.kind(node) == EMPTY:
            return self.whole(node, "length")
        most, fps, media = self.whole(node, "max_frames"), self.number(node, "fps"), self.source_of(node)
        if most == 1 or (media is not None and media.info.is_image):
            return 1
        if most is None or not fps or fps < 0 or most < 1 or media is None:
            return None
        info = media.info
        return len(resample_indices(info.fps, info.num_frames, target_fps=fps, max_frames=most))

    def look_at(self, loader: str) -> tuple[str, MediaInfo | None, list[Finding]]:
        """The name in a loader of media, what the file holds, and what is wrong with it."""
        name = self.text(loader, MEDIA[self.graph.kind(loader)])
        if name is None:
            return "", None, []
        if name not in self._media:
            self._media[name] = self.host.media(name)
        return (name, *self._media[name])

    def media(self, node: str, name: str) -> Media | None:
        """The file that an input comes from; None if it is none that is loaded directly and can be read."""
        loader = self.graph.origin(node, name, MEDIA)
        if loader is None:
            return None
        file, info, _ = self.look_at(loader)
        return None if info is None else Media(file, loader, info)

    def source_of(self, scaler: str) -> Media | None:
        """What a source scaler edits, shortened to where it begins; None if that cannot be told."""
        media, start = self.media(scaler, "source"), self.number(scaler, "start_seconds") or 0.0
        if media is None or media.info.is_image or start <= 0:
            return media
        left = media.info.duration_seconds - start
        if left <= 0:
            return None  # the node says so itself
        frames = max(1, round(left * media.info.fps))
        return replace(media, info=replace(media.info, duration_seconds=left, num_frames=frames))

    def model_loader(self, node: str, name: str = "model") -> str | None:
        """Id of the loader that a model comes from, through whatever changes it on the way."""
        return self.graph.origin(node, name, (MODEL_LOADER,), through="model")

    def dit(self, loader: str | None) -> DiTLook | None:
        """What a loader of ours loads."""
        name = None if loader is None else self.text(loader, "model_name")
        return None if name is None else self.host.dit(name, is_edit=self.is_edit)

    def is_released(self) -> bool:
        """Whether all models of the graph are of the released size."""
        return self._presets() == {"official"}

    def is_small(self) -> bool:
        """Whether all models of the graph are as small as the built-in one."""
        return self._presets() == {"tiny"}

    def _presets(self) -> set[str]:
        """Names of the presets that the graph's models have, as far as they are known."""
        looks = [self.dit(loader) for loader in self.graph.of_kind(MODEL_LOADER)]
        return {default_preset_name(look.config) for look in looks if look is not None and look.config is not None}

    def _helped(self, node: str) -> tuple[float | None, ...]:
        """What a size helper gives: width, height, length, rate."""
        unknown = (None, None, None, NATIVE_FPS)
        inputs = self.graph.inputs(node)
        preset = get_preset("official")
        if "model" in inputs:
            look = self.dit(self.model_loader(node))
            if look is None or look.config is None:
                return unknown
            preset = get_preset(default_preset_name(look.config))
        info = None
        if "source" in inputs:
            media = self.media(node, "source")
            if media is None:
                return unknown
            info = media.info
        words: tuple[Any, ...] = (self.text(node, "resolution"), self.text(node, "aspect"), self.whole(node, "length"))
        if None in words:
            return unknown
        resolution, aspect, asked = words
        try:
            length = choose_length(
                preset,
                asked,
                source_frames=None if info is None else info.num_frames,
                source_fps=None if info is None or info.is_image else info.fps,
            )
            size = choose_size(
                preset,
                resolution=resolution,
                aspect=aspect,
                source=None if info is None else (info.width, info.height),
                is_image=length == 1,
            )
        except ConfigError:
            return unknown  # the node says so itself
        return (*size, length, NATIVE_FPS)


def longest_of(reading: Reading, scaler: str) -> int:
    """Frames that a source scaler takes at most."""
    return max(1, reading.whole(scaler, "max_frames") or MAX_FRAMES)

"""What a run is trained on: sets of samples and their weights, sizes, packs, dropout, cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigError
from ..geometry import NATIVE_FPS, VIDEO_BUCKETS, check_frames, check_size

SetKind = Literal["folder", "manifest", "single_jsons", "world"]
ReferenceSize = Literal["target", "own"]
LatentDtype = Literal["bf16", "fp32"]
PromptOrder = Literal["training", "inference"]
UnconditionalPrompt = Literal["empty", "inference"]


@dataclass(frozen=True, kw_only=True)
class DataSetConfig:
    """One set of samples.

    Args:
        kind: "folder" (files with captions of the same name), "manifest" (metadata.jsonl or .csv), "single_jsons" (the
            official layout, one JSON a sample) or "world" (made on the spot).
        path: Where it lies; the root of relative paths. None for "world".
        tasks: Names of training tasks. A folder and single JSONs have exactly one; a manifest may leave it out, else
            rows of other tasks are left out.
        weight: Share of the set among those of its group, above 0.
        group: Sets of a group share the group's weight; empty for a group of its own.
        name: In messages and metrics; empty for the path's last part.
        max_samples: Only the first so many; None for all.
        options: Further settings of the kind: `json_dir` of single JSONs, everything of a world.
    """

    kind: SetKind
    path: Path | None = None
    tasks: tuple[str, ...] = ()
    weight: float = 1.0
    group: str = ""
    name: str = ""
    max_samples: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what can be checked without looking at the disk.

        Raises:
            ConfigError: A setting is missing or out of range.
        """
        if self.kind != "world" and self.path is None:
            raise ConfigError(f"a {self.kind} set without a path", expected="where it lies", fix="add `path:`")
        if not 0 < self.weight < float("inf"):
            raise ConfigError(f"weight {self.weight} of set {self.label}", expected="a number above 0", fix="change it")
        if self.max_samples is not None and self.max_samples < 1:
            raise ConfigError(
                f"max_samples {self.max_samples} of set {self.label}", expected="at least 1", fix="leave it out for all"
            )

    @property
    def label(self) -> str:
        """Name of the set for people."""
        return self.name or (self.path.name if self.path is not None else self.kind)


_LEAST = {
    "token_budget": 1, "clip_variants": 1, "min_bad_samples": 1, "prefetch": 1, "workers": 0, "cache_reserve_gb": 0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FramingConfig:
    """How samples are cut to size and length.

    Args:
        buckets: Nominal sides, 256, 640 or 960, whose trained sizes are used; the nearest in area is taken.
        sizes: (width, height) in pixels to choose from by aspect ratio instead of `buckets`.
        num_frames: Longest clip, 4k + 1 frames.
        min_frames: Shortest clip that is used; single frames do not count as clips.
        fps: Rate that clips are resampled to.
        reference_size: References are cropped to the "target" size, as at inference, or brought to a size of their
            "own", as the official trainer does.
        max_enlarge: A picture that would have to be enlarged more than this (a factor for its sides) fits no size.
        max_cropped: A picture that would lose more than this share of its area fits no size.
    """

    buckets: tuple[int, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    num_frames: int = 121
    min_frames: int = 5
    fps: float = NATIVE_FPS
    reference_size: ReferenceSize = "target"
    max_enlarge: float = 4.0
    max_cropped: float = 0.6


@dataclass(frozen=True, kw_only=True)
class DataConfig(FramingConfig):
    """The training data of a run; how it is cut stands above.

    Args:
        sets: At least one.
        group_weights: Weight of each group of sets; 1 where not named. A set without a group is a group of its own, by
            its label.
        token_budget: Most tokens of a pack: target, references and prompt.
        max_samples_per_pack: Most samples of a pack; None for no limit.
        dropout_all: Share of samples that lose all conditions.
        dropout_text: Share of samples that lose all text but keep what is seen.
        source_to_mllm: Whether the MLLM sees the source.
        source_to_dit: Whether the DiT gets the source's latents.
        prompt_order: Order of a prompt's parts: "training", as the official trainer has it, or that of "inference".
        unconditional_prompt: What a sample reads that lost all conditions: "empty", as the official trainer has it, or
            the negative prompt of "inference".
        workers: Processes that decode; 0 decodes in the trainer's own.
        prefetch: Samples that each worker decodes ahead.
        clip_variants: Number of fixed starts that a long clip is cut at, so that a cache can serve them; without a
            cache it is cut at a new one in every epoch.
        cache: Folder for latents; None for no cache.
        cache_reserve_gb: Space that the cache leaves free on its disk, in 10^9 bytes; it stops growing there.
        latent_dtype: Number format of latents, cached or not.
        max_bad_share: The run stops when more than this share of samples cannot be used...
        min_bad_samples: ... and at least so many.
    """

    sets: tuple[DataSetConfig, ...]
    group_weights: Mapping[str, float] = field(default_factory=dict)
    token_budget: int = 16_384
    max_samples_per_pack: int | None = None
    dropout_all: float = 0.0
    dropout_text: float = 0.0
    source_to_mllm: bool = True
    source_to_dit: bool = True
    prompt_order: PromptOrder = "training"
    unconditional_prompt: UnconditionalPrompt = "empty"
    workers: int = 0
    prefetch: int = 2
    clip_variants: int = 4
    cache: Path | None = None
    cache_reserve_gb: float = 20.0
    latent_dtype: LatentDtype = "bf16"
    max_bad_share: float = 0.05
    min_bad_samples: int = 20

    def __post_init__(self) -> None:
        """Check the settings against each other.

        Raises:
            ConfigError: A setting is missing or out of range.
        """
        if not self.sets:
            raise ConfigError("no sets of samples", expected="at least one", fix="add one under `sets:`")
        self._check_sizes()
        self._check_groups()
        for name in ("num_frames", "min_frames"):
            check_frames(getattr(self, name))
        if self.min_frames > self.num_frames:
            raise _out_of_range("min_frames", self.min_frames, f"at most num_frames, {self.num_frames}")
        for name in ("fps", "max_enlarge"):
            if not 0 < getattr(self, name) < float("inf"):
                raise _out_of_range(name, getattr(self, name), "a number above 0")
        for name in ("max_cropped", "dropout_all", "dropout_text"):
            if not 0 <= getattr(self, name) <= 1:
                raise _out_of_range(name, getattr(self, name), "0 to 1")
        if self.dropout_all + self.dropout_text > 1:
            raise _out_of_range(
                "dropout_all + dropout_text",
                self.dropout_all + self.dropout_text,
                "at most 1, since they exclude each other",
            )
        if not 0 <= self.max_bad_share < 1:
            raise _out_of_range("max_bad_share", self.max_bad_share, "0 to below 1")
        for name, smallest in _LEAST.items():
            if getattr(self, name) < smallest:
                raise _out_of_range(name, getattr(self, name), f"at least {smallest}")
        if self.max_samples_per_pack is not None and self.max_samples_per_pack < 1:
            raise _out_of_range("max_samples_per_pack", self.max_samples_per_pack, "at least 1, or nothing")

    def _check_sizes(self) -> None:
        if bool(self.buckets) == bool(self.sizes):
            both = "both buckets and sizes" if self.buckets else "neither buckets nor sizes"
            raise ConfigError(
                both,
                expected="one of them",
                fix="write `buckets: [640]`, or `sizes: [[832, 480]]` for sizes of your own",
            )
        unknown = [side for side in self.buckets if side not in VIDEO_BUCKETS]
        if unknown:
            raise ConfigError(
                f"bucket {unknown[0]}, which has no sizes",
                expected=f"some of {', '.join(map(str, VIDEO_BUCKETS))}",
                fix="use one of those, or list sizes of your own under `sizes:`",
            )
        for width, height in self.sizes:
            check_size(width, height)

    def _check_groups(self) -> None:
        labels = [entry.label for entry in self.sets]
        doubles = sorted({label for label in labels if labels.count(label) > 1})
        if doubles:
            raise ConfigError(
                f"two sets of the name {doubles[0]!r}", expected="a name for each", fix="add `name:` to one of them"
            )
        groups = {entry.group or entry.label for entry in self.sets}
        for group, weight in self.group_weights.items():
            if group not in groups:
                raise ConfigError(
                    f"a weight for group {group!r}, which has no sets",
                    expected="one of " + ", ".join(sorted(groups)),
                    fix="correct the name, or add `group:` to its sets",
                )
            if not 0 < weight < float("inf"):
                raise ConfigError(f"weight {weight} of group {group}", expected="a number above 0", fix="change it")


def _out_of_range(name: str, value: float, expected: str) -> ConfigError:
    return ConfigError(f"{name} {value:g}", expected=expected, fix="correct the config")

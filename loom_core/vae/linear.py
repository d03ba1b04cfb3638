"""A small linear codec of Wan geometry, for the built-in model loom-tiny.

Encoder: each block of 16 x 16 pixels x 1 frame (the first) or 4 frames (the others) is projected on 48 separable
cosine patterns over time, rows, columns and opponent colours (the DCT is close to the Karhunen-Loeve transform of
pictures), and each coefficient is scaled to zero mean and unit variance. The first channels are the same spatial
patterns for both kinds, averaged over time, so a still clip has equal latents in every frame there; the rest is finer
detail in the first frame and motion in the others.

Decoder: a linear estimate of the pixels from 3 x 3 latents of one frame (a Wiener filter: ridge regression, fitted by
scripts/fit_tiny_codec.py), so that blocks join without seams. Its rank is bounded: a 3 x 3 convolution sums the
latents up in some numbers for each block, and its pixels follow from those alone. At the border the picture is
continued as in a mirror, which for cosine patterns means a change of sign.

Being linear, finite and without memory, it is bounded and stable under any latents, generated ones included. There is
no posterior: encoding is deterministic.

Legend: B batch, C latent channels, F latent frames, H W latent rows and columns.
Source: Ahmed, Natarajan, Rao, "Discrete Cosine Transform", 1974 (basis); Ohta, Kanade, Sakai, "Color information for
region segmentation", 1980 (colours).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from ..errors import WeightsError
from ..geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE, latent_frames
from ..weights.checks import compare_keys, require_keys, wrong_model
from ..weights.filling import read_weights
from ..weights.identify import ModelKind
from ..weights.reading import open_checkpoint
from .latents import LATENT_CHANNELS, RGB, check_pixels, middle_frame
from .preview import ColourMap
from .streaming import StreamingCodec

_KERNEL = 3  # latents a side that the decoder looks at
_OPPONENT_COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))  # brightness, red - blue, green - magenta
_VERSION = "2"  # of the file; changes when its tensors change their meaning
FILE_METADATA = {"format": "loom_core.linear_codec", "version": _VERSION}
"""What a file of this codec says of itself."""
_FIX = "fit it anew with scripts/fit_tiny_codec.py"
_KINDS = {"image": 1, "clip": TEMPORAL_STRIDE}  # name in the file -> frames of a block
RANKS = {"image": 128, "clip": 112}
"""Of the decoder of each kind: numbers a block between latents and pixels; without a bound they would be 432.

The file is a third as large for them, decoding faster, and clips that it is fitted on lose 0.04 dB (others gain 0.02).
Fewer show at the seams between blocks first: steps there are 8 % larger than without a bound at 96, 4 % at 112.
"""
_TENSORS = ("patterns", "mean", "std", "mixing", "synthesis", "grey")  # of each kind


def cosine_basis(size: int) -> Tensor:
    """Orthonormal DCT-II basis, [size frequencies, size samples], float64."""
    frequency = torch.arange(size, dtype=torch.float64)[:, None]
    position = torch.arange(size, dtype=torch.float64) + 0.5
    basis = torch.cos(math.pi * frequency * position / size) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis


def colour_basis() -> Tensor:
    """Orthonormal opponent colours, [3 components, 3 of RGB], float64."""
    return functional.normalize(torch.tensor(_OPPONENT_COLOURS, dtype=torch.float64), dim=1)


def pattern_kernels(patterns: Tensor, *, frames: int) -> Tensor:
    """The cosine patterns as convolution kernels.

    Args:
        patterns: Integers [C, 4]: opponent colour 0..2, and frequency over time, rows and columns.
        frames: Frames of a block, 1 or 4.

    Returns:
        [C, 3 * frames, 16, 16], float32. A coefficient is the mean over the frames of the orthonormal spatial one (for
        frequency 0 over time), whatever their number.
    """
    colour, time, row, column = patterns.long().unbind(dim=1)
    space = cosine_basis(SPATIAL_STRIDE)
    kernels = torch.einsum(
        "cr,cf,ch,cw->crfhw",
        colour_basis()[colour],
        cosine_basis(frames)[time] / math.sqrt(frames),
        space[row],
        space[column],
    )  # [C, 3, frames, 16, 16]
    return rearrange(kernels, "c r f h w -> c (r f) h w").float()


def mirror_pad(latents: Tensor, patterns: Tensor) -> Tensor:
    """Continue latents by one block on each side as if the picture were mirrored there.

    Args:
        latents: [B, C, H, W], with zero mean in every channel of odd frequency.
        patterns: [C, 4]; odd frequencies change sign in a mirror.

    Returns:
        [B, C, H + 2, W + 2].
    """
    row_sign, column_sign = (
        (1 - 2 * (patterns[:, axis] % 2)).to(latents).reshape(1, -1, 1, 1) for axis in (2, 3)
    )  # [1, C, 1, 1]
    padded = torch.cat([latents[:, :, :1] * row_sign, latents, latents[:, :, -1:] * row_sign], dim=2)
    return torch.cat([padded[..., :1] * column_sign, padded, padded[..., -1:] * column_sign], dim=3)


@dataclass(frozen=True)
class BlockTransform:
    """Blocks of 1 or 4 frames to 48 latents and back.

    Args:
        patterns: int64 [C, 4], on the CPU, see `pattern_kernels`.
        mean: [C], of the coefficients; zero but for constant patterns.
        std: [C], of the coefficients, above 0.
        mixing: [K, C, 3, 3], from neighbouring latents to as many numbers as the decoder's rank.
        synthesis: [3 * frames * 256, K], from those to pixels; rows ordered (colour, frame, row, column).
        grey: [3], the colour of latents that are all zero.
        frames: Frames of a block.
    """

    patterns: Tensor
    mean: Tensor
    std: Tensor
    mixing: Tensor
    synthesis: Tensor
    grey: Tensor
    frames: int

    @cached_property
    def _projection(self) -> Tensor:
        """[3 * frames * 256, C], one column a pattern."""
        return pattern_kernels(self.patterns, frames=self.frames).flatten(1).mT.contiguous()

    def analyse(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, frames, height, width] in [-1, 1] to latents [B, C, H, W]."""
        # a product of matrices: on a CPU many times as fast as a convolution whose kernels do not overlap
        side = SPATIAL_STRIDE
        blocks = rearrange(pixels, "b r f (h p) (w q) -> b h w (r f p q)", p=side, q=side)
        coefficients = rearrange(blocks @ self._projection.to(pixels), "b h w c -> b c h w")
        return (coefficients - self._column(self.mean, pixels)) / self._column(self.std, pixels)

    def synthesise(self, latents: Tensor) -> Tensor:
        """Latents [B, C, H, W] to pixels [B, 3, frames, height, width] in [-1, 1]."""
        mixed = functional.conv2d(mirror_pad(latents, self.patterns), self.mixing)  # [B, K, H, W]
        pixels = rearrange(
            torch.einsum("bkhw,ok->bhwo", mixed, self.synthesis),
            "b h w (r f p q) -> b r f (h p) (w q)",
            r=RGB,
            f=self.frames,
            p=SPATIAL_STRIDE,
            q=SPATIAL_STRIDE,
        )
        return (pixels + self.grey.reshape(1, RGB, 1, 1, 1)).clamp(-1, 1)

    def colour_map(self) -> ColourMap:
        """The exact mean colour of a block, from its three constant patterns."""
        weight = torch.zeros(RGB, len(self.patterns), dtype=torch.float64)
        constant = (self.patterns[:, 1:] == 0).all(dim=1)
        components = colour_basis()[self.patterns[constant, 0]] / SPATIAL_STRIDE  # [3 components, 3 of RGB]
        weight[:, constant] = components.mT
        bias = weight @ self.mean.double().cpu()
        return ColourMap((weight * self.std.cpu()).float(), bias.float())

    def moved_to(self, device: torch.device | str) -> BlockTransform:
        """The same transform on another device; its patterns stay on the CPU."""
        moved = {name: getattr(self, name).to(device) for name in _TENSORS[1:]}
        return replace(self, **moved)

    @staticmethod
    def _column(values: Tensor, like: Tensor) -> Tensor:
        return values.to(like).reshape(1, -1, 1, 1)  # [1, C, 1, 1]


class LinearCodec(StreamingCodec):
    """The linear codec behind the `VideoCodec` protocol.

    Its memory is that of a few frames, so it works on whole frames always: `tile_latents` has no effect.

    Args:
        image: Transform of the first frame.
        clip: Transform of the following groups of four.
    """

    def __init__(self, image: BlockTransform, clip: BlockTransform) -> None:
        self._image = image
        self._clip = clip
        self.tile_latents: int | None = None

    @classmethod
    def load(
        cls, path: Path | str, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> LinearCodec:
        """Load the codec from the safetensors file that scripts/fit_tiny_codec.py writes.

        Args:
            path: The file.
            dtype: Of the computation.
            device: Of the computation.

        Raises:
            WeightsError: The file is missing, damaged, or of another model, or has wrong or non-finite tensors.
        """
        checkpoint = open_checkpoint(path)
        if checkpoint.kind is not ModelKind.LINEAR_CODEC:
            raise wrong_model(checkpoint, expected=ModelKind.LINEAR_CODEC.value, fix="use load_codec")
        if (version := checkpoint.metadata.get("version")) != _VERSION:
            raise WeightsError(
                f"version {version} of the linear codec in {path}", expected=f"version {_VERSION}", fix=_FIX
            )
        require_keys(compare_keys(checkpoint.shapes, _expected_shapes()), checkpoint.path, fix=_FIX)
        tensors = read_weights(checkpoint, {name: name for name in checkpoint})
        return cls.from_tensors(tensors, dtype=dtype, device=device)

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> LinearCodec:
        """Build the codec from the tensors of its file: `image.` and `clip.`, each before all of `_TENSORS`."""
        transforms = {}
        for kind, frames in _KINDS.items():
            floats = {name: tensors[f"{kind}.{name}"].to(device, dtype) for name in _TENSORS[1:]}
            patterns = tensors[f"{kind}.patterns"].long().cpu()
            transforms[kind] = BlockTransform(patterns=patterns, frames=frames, **floats)
        return cls(**transforms)

    def tensors(self) -> dict[str, Tensor]:
        """What `from_tensors` takes, for a host that keeps the weights itself; patterns are on the CPU."""
        return {
            f"{kind}.{name}": getattr(transform, name)
            for kind, transform in zip(_KINDS, (self._image, self._clip), strict=True)
            for name in _TENSORS
        }

    @torch.no_grad()
    def encode(self, pixels: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Pixels to normalised latents.

        Args:
            pixels: [B, 3, frames, height, width] in [-1, 1], on any device; frames 4k + 1, sides multiples of 16.
            generator: Ignored: this codec has no posterior to draw from.

        Returns:
            [B, C, F, H, W], float32, on the codec's device.

        Raises:
            ConfigError: Pixels of a wrong shape.
        """
        del generator
        return torch.cat(list(self.encode_chunks(pixels)), dim=2)

    def encode_chunks(self, pixels: Tensor) -> Iterator[Tensor]:
        """The same as `encode`, a latent frame at a time; nothing is computed before the first is asked for.

        Args:
            pixels: See `encode`.

        Returns:
            Latents [B, C, 1, H, W], in order, float32, on the codec's device.

        Raises:
            ConfigError: Pixels of a wrong shape (at the call, not at the first chunk).
        """
        check_pixels(pixels)
        return self._encode_groups(pixels)

    @torch.no_grad()
    def _encode_groups(self, pixels: Tensor) -> Iterator[Tensor]:
        for index in range(latent_frames(pixels.shape[2])):
            start = max(0, 1 + TEMPORAL_STRIDE * (index - 1))
            transform = self._clip if index else self._image
            group = pixels[:, :, start : 1 + TEMPORAL_STRIDE * index].to(transform.synthesis)
            yield transform.analyse(group)[:, :, None].float()  # [B, C, 1, H, W]

    @torch.no_grad()
    def _decode_frames(self, latents: Tensor) -> Iterator[Tensor]:
        for index in range(latents.shape[2]):
            transform = self._clip if index else self._image
            yield transform.synthesise(latents[:, :, index].to(transform.synthesis)).float()

    def preview(self, latents: Tensor) -> Tensor:
        """The exact mean colours of the middle frame's blocks (over its four frames, but for the first).

        Args:
            latents: [C, F, H, W], normalised, on any device.

        Returns:
            uint8 [H, W, 3], RGB, on the CPU.

        Raises:
            ConfigError: Latents of a wrong shape.
        """
        middle = middle_frame(latents)
        transform = self._clip if middle else self._image
        return transform.colour_map().colours(latents[:, middle].detach())

    def colour_map(self) -> ColourMap:
        """The exact mean colours of blocks, other than those of the first frame."""
        return self._clip.colour_map()

    def to(self, device: torch.device | str) -> None:
        """Move the few megabytes of weights; from then on computation and results are there."""
        self._image, self._clip = self._image.moved_to(device), self._clip.moved_to(device)

    def release(self) -> None:
        """Do nothing: there are only a few megabytes to free, and the codec stays usable."""


def _expected_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for kind, frames in _KINDS.items():
        shapes[f"{kind}.patterns"] = (LATENT_CHANNELS, 4)
        shapes[f"{kind}.mean"] = shapes[f"{kind}.std"] = (LATENT_CHANNELS,)
        shapes[f"{kind}.mixing"] = (RANKS[kind], LATENT_CHANNELS, _KERNEL, _KERNEL)
        shapes[f"{kind}.synthesis"] = (RGB * frames * SPATIAL_STRIDE**2, RANKS[kind])
        shapes[f"{kind}.grey"] = (RGB,)
    return shapes

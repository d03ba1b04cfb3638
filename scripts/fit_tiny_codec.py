"""Fit the linear codec of loom-tiny in closed form and write its weights.

    python scripts/fit_tiny_codec.py --output FILE [--clips N]

The material is made here, from a fixed seed, so that the weights derive from nobody's pictures: every other clip is of
the procedural world that the model is trained on, the others are moving dead leaves, so that real clips pass as well.
Discs, rectangles and triangles of power-law size, each with its own colour, shading, 1/f texture and velocity, cover
one another in front of a panning background. Such pictures have the scale invariance, edges and occlusions of natural
ones. Then, without any iteration:

1. patterns: the cosine patterns of largest variance. `SHARED` of them are spatial ones averaged over time, common to
   first frames and groups of four; the rest are the next spatial ones (first frame) or the strongest moving ones.
2. statistics: mean and scale of each coefficient. The scale is a power of the standard deviation: latents of strong
   patterns (the mean colour before all) keep more variance than those of fine ones, which hardly show in the picture,
   so that a model trained on latents spends its effort in about the proportion in which errors are seen.
3. decoder: ridge regression of the pixels of a block on its 3 x 3 latents. `LATENT_NOISE` is the standard deviation of
   the error to expect in latents; it keeps weights small, so that generated latents decode as quietly as encoded ones.
   The rank is reduced where it costs the least in pixels: the principal components of the regression's own pictures are
   kept, not those of its weights.

Source: Lee, Mumford, Huang, "Occlusion models for natural images", IJCV 2001 (dead leaves); Izenman, "Reduced-rank
regression for the multivariate linear model", Journal of Multivariate Analysis 5, 1975 (decoder).
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from einops import rearrange
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from loom_core.data.world.samples import WorldSettings, make_sample
from loom_core.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE
from loom_core.media.resize import to_pixels
from loom_core.vae.latents import LATENT_CHANNELS
from loom_core.vae.linear import FILE_METADATA, RANKS, BlockTransform, colour_basis, cosine_basis, mirror_pad

CLIPS = 480
SEED = 0
SIDE = 128  # pixels
FRAMES = 1 + 2 * TEMPORAL_STRIDE
LEAVES = 40
SHARED = 42  # channels that first frames and groups of four have in common
LATENT_NOISE = 0.05
WHITENING = 0.5  # 1 gives every channel unit variance, 0 leaves pixels' own proportions
logger = logging.getLogger("fit_tiny_codec")


def fractal_texture(generator: torch.Generator) -> Tensor:
    """Mostly grey noise with an amplitude spectrum of 1/f, [3, SIDE, SIDE], unit variance."""
    spectrum = torch.fft.rfft2(torch.randn(3, SIDE, SIDE, generator=generator))
    radius = torch.hypot(torch.fft.fftfreq(SIDE)[:, None], torch.fft.rfftfreq(SIDE))
    radius[0, 0] = 1 / SIDE
    noise = torch.fft.irfft2(spectrum / radius, s=(SIDE, SIDE))
    noise = (noise - noise.mean(dim=(1, 2), keepdim=True)) / noise.std(dim=(1, 2), keepdim=True)
    return 0.9 * noise[:1] + 0.3 * noise


def leaf_colours(y: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """A leaf's paint: base colour, linear shading and texture, fixed to the leaf.

    Args:
        y: [frames, SIDE, SIDE], pixels from the leaf's centre.
        x: The same along columns.
        generator: Source of chance.

    Returns:
        [frames, 3, SIDE, SIDE], roughly in [-1, 1].
    """
    base = 0.5 * torch.randn(1, generator=generator) + 0.2 * torch.randn(3, generator=generator)
    slope = 0.3 / SIDE * torch.randn(2, generator=generator)
    contrast = torch.exp(0.8 * torch.randn(1, generator=generator) - 2.2)
    texture = contrast * fractal_texture(generator)
    grid = torch.stack([2 * x / SIDE, 2 * y / SIDE], dim=-1)  # [frames, SIDE, SIDE, 2]
    painted = functional.grid_sample(
        texture.expand(len(y), -1, -1, -1), grid, padding_mode="reflection", align_corners=False
    )
    return base[:, None, None] + (slope[0] * y + slope[1] * x)[:, None] + painted


def leaf_mask(y: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """Where a leaf covers what is behind it, [frames, 1, SIDE, SIDE] in [0, 1], soft by about a pixel at its edge."""
    chance = torch.rand(4, generator=generator)
    angle, aspect = math.pi * chance[0], torch.exp(0.4 * torch.randn(1, generator=generator))
    radius = (4 * (1 - 0.99 * chance[1]) ** -0.7).clamp(max=60)  # power law
    down = (y * torch.cos(angle) + x * torch.sin(angle)) * aspect
    along = (x * torch.cos(angle) - y * torch.sin(angle)) / aspect
    shape = int(3 * chance[2])
    if shape == 0:
        inside = radius - torch.hypot(down, along)
    elif shape == 1:
        inside = radius - torch.maximum(down.abs(), along.abs())
    else:
        inside = torch.minimum(0.6 * radius - down, 0.5 * (radius + down) - 0.87 * along.abs())
    return (inside / (0.7 + 1.2 * chance[3]) + 0.5).clamp(0, 1)[:, None]


def moving_leaves(generator: torch.Generator) -> Tensor:
    """One clip, [3, FRAMES, SIDE, SIDE] in [-1, 1]; half of all clips pan, half of the leaves move by themselves."""
    time = (torch.arange(FRAMES) - FRAMES // 2)[:, None, None]
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")

    def now_and_then() -> float:
        return float(torch.rand(1, generator=generator) < 0.5)  # noqa: PLR2004 (every other time)

    pan = 0.6 * torch.randn(2, generator=generator) * now_and_then()  # pixels a frame
    clip = torch.zeros(FRAMES, 3, SIDE, SIDE)
    for index in range(LEAVES + 1):
        speed = torch.exp(torch.randn(1, generator=generator) - 1)
        velocity = pan + speed * torch.randn(2, generator=generator) * now_and_then()
        centre = SIDE * (1.2 * torch.rand(2, generator=generator) - 0.1)
        y, x = rows - centre[0] - velocity[0] * time, columns - centre[1] - velocity[1] * time
        mask = leaf_mask(y, x, generator) if index else 1.0  # the first is the background
        clip = clip + (leaf_colours(y, x, generator) - clip) * mask
    return rearrange(clip, "f r h w -> r f h w").clamp(-1, 1)


def coefficients(pixels: Tensor) -> Tensor:
    """All orthonormal cosine coefficients of every block, scaled as in `pattern_kernels`.

    Args:
        pixels: [N, 3, frames, SIDE, SIDE].

    Returns:
        [N, H, W, 3 colours, frames, 16, 16 frequencies].
    """
    blocks = rearrange(pixels, "n r f (h p) (w q) -> n h w r f p q", p=SPATIAL_STRIDE, q=SPATIAL_STRIDE)
    space, time = cosine_basis(SPATIAL_STRIDE).float(), cosine_basis(pixels.shape[2]).float()
    time = time / math.sqrt(pixels.shape[2])
    return torch.einsum("nhwrfpq,cr,tf,up,vq->nhwctuv", blocks, colour_basis().float(), time, space, space)


def strongest(variance: Tensor, count: int) -> Tensor:
    """Indices [count, 4] of the largest entries of a [3, frames, 16, 16] table, largest first."""
    order = variance.flatten().topk(count).indices
    return torch.stack(torch.unravel_index(order, variance.shape), dim=1)


def choose_patterns(image: Tensor, clip: Tensor) -> tuple[Tensor, Tensor]:
    """Patterns of largest variance for first frames and for groups of four.

    Args:
        image: Second moments of all coefficients of first frames, [3, 1, 16, 16].
        clip: The same of groups of four, [3, 4, 16, 16].

    Returns:
        Two tables [C, 4]; the first `SHARED` rows are equal.
    """
    shared = strongest(clip[:, :1], SHARED)
    finer, moving = image.clone(), clip.clone()
    finer[tuple(shared.unbind(dim=1))] = 0
    moving[:, 0] = 0
    rest = LATENT_CHANNELS - SHARED
    return torch.cat([shared, strongest(finer, rest)]), torch.cat([shared, strongest(moving, rest)])


def fit_decoder(pixels: Tensor, latents: Tensor, patterns: Tensor, *, rank: int) -> dict[str, Tensor]:
    """Ridge regression of pixels on neighbouring latents, of reduced rank.

    Args:
        pixels: [N, 3, frames, SIDE, SIDE].
        latents: [N, C, H, W] of them.
        patterns: [C, 4].
        rank: K, of the decoder.

    Returns:
        `mixing` [K, C, 3, 3], `synthesis` [3 * frames * 256, K] and the mean colour, `grey` [3].
    """
    grey = pixels.mean(dim=(0, 2, 3, 4))  # [3]
    inputs = rearrange(functional.unfold(mirror_pad(latents, patterns), 3), "n k l -> (n l) k")  # [N H W, C 9]
    targets = rearrange(
        pixels - grey.reshape(1, 3, 1, 1, 1),
        "n r f (h p) (w q) -> (n h w) (r f p q)",
        p=SPATIAL_STRIDE,
        q=SPATIAL_STRIDE,
    )
    gram = (inputs.mT @ inputs + LATENT_NOISE**2 * len(inputs) * torch.eye(inputs.shape[1])).double()
    mixing, synthesis = reduced_rank(gram, (inputs.mT @ targets).double(), rank=rank)
    return {
        "mixing": rearrange(mixing, "(c i j) k -> k c i j", i=3, j=3).half(),
        "synthesis": synthesis.half(),
        "grey": grey,
    }


def reduced_rank(gram: Tensor, products: Tensor, *, rank: int) -> tuple[Tensor, Tensor]:
    """The best linear map of a bounded rank: no other has a smaller squared error in what it is fitted to.

    Args:
        gram: Inputs times inputs, [I, I], positive definite; a ridge on its diagonal counts as noise in the inputs.
        products: Inputs times targets, [I, O].
        rank: K.

    Returns:
        [I, K] from inputs and [O, K], orthonormal, to targets; the map is their product.
    """
    solution = torch.linalg.solve(gram, products)
    # The error that a map adds to that of the solution is their difference as inputs show it, which the root of the
    # Gram matrix weighs; so the solution is cut off in that measure.
    outputs = torch.linalg.svd(torch.linalg.cholesky(gram).mT @ solution, full_matrices=False).Vh[:rank].mT
    return solution @ outputs, outputs


def normalisation(values: Tensor, patterns: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (kept for constant patterns only; the others have none by symmetry) and scale, [C] each."""
    constant = (patterns[:, 1:] == 0).all(dim=1)
    mean = values.mean(dim=0) * constant
    std = (values - mean).square().mean(dim=0).sqrt()
    scale = std**WHITENING
    return mean, scale * (std / scale).square().mean().sqrt()  # the latents' mean variance is 1


def fit(clips: Tensor) -> dict[str, Tensor]:
    """All tensors of the codec's file from clips [N, 3, FRAMES, SIDE, SIDE]."""
    first = clips[:, :, :1]
    groups = rearrange(clips[:, :, 1:], "n r (g f) h w -> (n g) r f h w", f=TEMPORAL_STRIDE)
    all_first, all_groups = coefficients(first), coefficients(groups)
    image_patterns, clip_patterns = choose_patterns(
        all_first.square().mean(dim=(0, 1, 2)), all_groups.square().mean(dim=(0, 1, 2))
    )
    kept_first = all_first[(..., *image_patterns.unbind(dim=1))].flatten(0, 2)  # [N H W, C]
    kept_groups = all_groups[(..., *clip_patterns.unbind(dim=1))].flatten(0, 2)
    mean, std = normalisation(kept_groups, clip_patterns)
    finer_mean, finer_std = normalisation(kept_first, image_patterns)
    statistics = {
        "image": (torch.cat([mean[:SHARED], finer_mean[SHARED:]]), torch.cat([std[:SHARED], finer_std[SHARED:]])),
        "clip": (mean, std),
    }
    tensors: dict[str, Tensor] = {}
    for kind, pixels, patterns in (("image", first, image_patterns), ("clip", groups, clip_patterns)):
        mean, std = statistics[kind]
        undecided = dict.fromkeys(("mixing", "synthesis", "grey"), torch.zeros(0))
        analysis = BlockTransform(patterns, mean, std, frames=pixels.shape[2], **undecided)
        decoder = fit_decoder(pixels, analysis.analyse(pixels), patterns, rank=RANKS[kind])
        encoder = {"patterns": patterns.to(torch.uint8), "mean": mean, "std": std}
        tensors |= {f"{kind}.{name}": tensor.contiguous() for name, tensor in (encoder | decoder).items()}
    return tensors


def world_clip(index: int) -> Tensor:
    """One clip of the procedural world, [3, FRAMES, SIDE, SIDE] in [-1, 1]."""
    settings = WorldSettings(seed=SEED, frames=(FRAMES,), tasks={"text-to-video": 1.0})
    return to_pixels(make_sample(index, settings).sample.target.frames)


def material(count: int) -> Iterator[Tensor]:
    """The clips to fit on, the same at every run."""
    generator = torch.Generator().manual_seed(SEED)
    for index in range(count):
        if index % 40 == 0:
            logger.info("clip %d of %d", index, count)
        yield world_clip(index) if index % 2 else moving_leaves(generator)


def main() -> None:
    """Fit and write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Fit the linear codec of loom-tiny.")
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--clips", type=int, default=CLIPS, help="clips to fit on (default: %(default)s)")
    arguments = parser.parse_args()
    tensors = fit(torch.stack(list(material(arguments.clips))))
    recipe = f"scripts/fit_tiny_codec.py: {arguments.clips} clips, world and {LEAVES} dead leaves by turns, seed {SEED}"
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = arguments.output.with_suffix(".unfinished")
    try:
        save_file(tensors, unfinished, metadata={**FILE_METADATA, "recipe": recipe})
        unfinished.replace(arguments.output)
    finally:
        unfinished.unlink(missing_ok=True)
    logger.info("wrote %s", arguments.output)


if __name__ == "__main__":
    main()

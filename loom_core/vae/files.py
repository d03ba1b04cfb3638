"""Reading a codec's weights: what a safetensors file holds, which codec that is, and filling a model from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from .latents import LATENT_CHANNELS

_EXPECTED = f"the Wan 2.2 VAE ({LATENT_CHANNELS} latent channels) or a loom-tiny codec"
_FIX = "give wan2.2_vae.safetensors, or the vae folder of Wan2.2-TI2V-5B-Diffusers"
_NAMES_SHOWN = 4
LINEAR_FORMAT = "loom_core.linear_codec"
"""Value of the metadata key `format` in a file of `LinearCodec`."""


class CodecKind(Enum):
    """What a file of weights can be, if it is a codec."""

    WAN_ORIGINAL = "the Wan 2.2 VAE, original names"
    WAN_DIFFUSERS = "the Wan 2.2 VAE, diffusers names"
    LINEAR = "a linear codec"


@dataclass(frozen=True)
class WeightsFile:
    """What the header of a safetensors file says; no tensor is read.

    Args:
        path: The file.
        shapes: Name -> shape.
        metadata: Text stored in the header.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]

    @contextmanager
    def open(self) -> Iterator[Any]:
        """A `safetensors.safe_open` handle, memory-mapped.

        Raises:
            WeightsError: The file cannot be read.
        """
        with _readable(self.path) as handle:
            yield handle


@contextmanager
def _readable(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as handle:
            yield handle
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}, which cannot be read ({error})", expected="a complete safetensors file", fix="download it again"
        ) from error


def read_header(path: Path) -> WeightsFile:
    """Read names, shapes and metadata of a safetensors file.

    Raises:
        WeightsError: There is no such file, it is of another format, or it is damaged.
    """
    if not path.is_file():
        raise WeightsError(f"no file {path}", expected=_EXPECTED, fix=_FIX)
    if path.suffix != ".safetensors":
        raise WeightsError(f"the {path.suffix or 'nameless'} file {path}", expected="a .safetensors file", fix=_FIX)
    with _readable(path) as handle:
        shapes = {name: tuple(handle.get_slice(name).get_shape()) for name in handle.keys()}  # noqa: SIM118 (no mapping)
        return WeightsFile(path, shapes, handle.metadata() or {})


def _latent_channels(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    for name in ("post_quant_conv.weight", "conv2.weight"):
        if name in shapes and len(shapes[name]) > 1:
            return shapes[name][1]
    return None


def _other_model(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What a file that is no known codec seems to be, in words."""
    channels = _latent_channels(shapes)
    if any(name.startswith("decoder.") for name in shapes) and channels is not None:
        wan = "the Wan 2.1 VAE" if channels == 16 else "another VAE"  # noqa: PLR2004 (channels of Wan 2.1)
        return f"{wan} ({channels} latent channels)"
    if any("patch_embedding." in name or "blocks.0.self_attn." in name for name in shapes):
        return "a diffusion transformer, not a VAE"
    if any("embed_tokens." in name or "layers.0.self_attn." in name for name in shapes):
        return "a language model, not a VAE"
    names = ", ".join(list(shapes)[:_NAMES_SHOWN])
    return f"an unknown model ({len(shapes)} tensors: {names} ...)" if shapes else "a file without tensors"


def identify_codec(file: WeightsFile) -> CodecKind:
    """Tell which codec a file holds, from its metadata, names and shapes.

    Raises:
        WeightsError: It holds none that can be used; the message says what it seems to be.
    """
    if file.metadata.get("format") == LINEAR_FORMAT:
        return CodecKind.LINEAR
    if _latent_channels(file.shapes) == LATENT_CHANNELS:
        if "decoder.upsamples.0.upsamples.0.residual.2.weight" in file.shapes:
            return CodecKind.WAN_ORIGINAL
        if "encoder.down_blocks.0.resnets.0.conv1.weight" in file.shapes:
            return CodecKind.WAN_DIFFUSERS
    raise WeightsError(f"{file.path} to be {_other_model(file.shapes)}", expected=_EXPECTED, fix=_FIX)


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:_NAMES_SHOWN])}{more})"


def check_weights(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], *, path: Path) -> None:
    """Refuse weights that are not exactly those of the model.

    Args:
        expected: Name -> shape in the model.
        found: Name -> shape in the file, under the model's names.
        path: The file, for the message.

    Raises:
        WeightsError: A tensor is missing, unexpected or mis-shaped; the message names them.
    """
    problems = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "mis-shaped": [
            f"{name} {tuple(found[name])} instead of {tuple(expected[name])}"
            for name in sorted(expected.keys() & found.keys())
            if tuple(found[name]) != tuple(expected[name])
        ],
    }
    listed = [_listed(what, names) for what, names in problems.items() if names]
    if listed:
        raise WeightsError(
            f"{', '.join(listed)} in {path}", expected=f"the {len(expected)} tensors of the codec", fix=_FIX
        )


def check_finite(name: str, tensor: Tensor, *, path: Path) -> None:
    """Refuse a tensor with NaN or infinity in it.

    Raises:
        WeightsError: It has some.
    """
    if not torch.isfinite(tensor).all():
        raise WeightsError(
            f"NaN or infinity in {name} of {path} (as {tensor.dtype})",
            expected="finite weights",
            fix="download it again",
        )


def fill_model(
    model: nn.Module,
    file: WeightsFile,
    *,
    rename: Callable[[str], str],
    dtype: torch.dtype,
    device: torch.device | str,
) -> None:
    """Give a model built on the meta device its weights, one tensor at a time.

    A tensor that has the wanted dtype already stays a view of the memory-mapped file on the CPU.

    Args:
        model: Built on the meta device.
        file: Header of the file.
        rename: Name in the file -> name in the model.
        dtype: Of the model.
        device: Of the model.

    Raises:
        WeightsError: Names or shapes differ from the model's, or a value is NaN or infinite.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    check_weights(expected, {rename(name): shape for name, shape in file.shapes.items()}, path=file.path)
    with file.open() as handle:
        state: dict[str, Tensor] = {}
        for name in file.shapes:
            tensor = handle.get_tensor(name).to(device=device, dtype=dtype)
            check_finite(name, tensor, path=file.path)  # after the cast: float16 may overflow, and float8 has no test
            state[rename(name)] = tensor
        model.load_state_dict(state, assign=True)

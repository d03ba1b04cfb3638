"""Which kernel attends: torch's own, or that of a package that is installed for the purpose.

A package is imported when it is asked for, and tried against torch before it is used. Inside ComfyUI the host's
attention takes the place of all of this.

Legend: B batch, L tokens, D width.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module

import torch
from einops import rearrange
from torch import Tensor

from ..config.attention import ATTENTIONS, AUTO, PACKAGES, SDPA, AttentionPackage
from ..errors import ConfigError, MissingExtraError
from .operations import Attention, TorchOperations

logger = logging.getLogger(__name__)

DEVICES = ("cuda",)
DTYPES = (torch.float16, torch.bfloat16)
"""What the packages' kernels run on."""
_TRIED_TOKENS = 160


class PackageAttention:
    """An `Attention` by a package's kernel; calls that it cannot take, with padding or in float32, are torch's.

    Args:
        kernel: Takes queries, keys and values [B, L, heads, head width].
        package: Whose it is.
    """

    def __init__(self, kernel: Callable[..., Tensor], package: AttentionPackage) -> None:
        self._kernel, self._options = kernel, dict(package.options)

    def __call__(
        self, queries: Tensor, keys: Tensor, values: Tensor, *, num_heads: int, mask: Tensor | None = None
    ) -> Tensor:
        """See `Attention`."""
        if mask is not None or queries.dtype not in DTYPES or not queries.dtype == keys.dtype == values.dtype:
            return TorchOperations.attention(queries, keys, values, num_heads=num_heads, mask=mask)
        heads = (rearrange(x, "b l (n d) -> b l n d", n=num_heads) for x in (queries, keys, values))
        return rearrange(self._kernel(*heads, **self._options), "b l n d -> b l (n d)")


def attention_by(name: str) -> Attention:
    """The attention function of a name.

    Args:
        name: "sdpa", torch's, or a key of `PACKAGES`.

    Raises:
        ConfigError: There is none of this name.
        MissingExtraError: Its package is not installed, or cannot be imported.
    """
    if name == SDPA:
        return TorchOperations.attention
    if name not in PACKAGES:
        raise ConfigError(f"attention {name!r}", expected=", ".join((SDPA, *PACKAGES)), fix="leave it out")
    package = PACKAGES[name]
    try:
        kernel = getattr(import_module(package.module), package.function)
    except ModuleNotFoundError as error:
        raise MissingExtraError(package.package, f"--attention {name}") from error
    except (ImportError, OSError, AttributeError) as error:  # built for another torch, say
        reason = str(error).partition("\n")[0]
        raise MissingExtraError(f"{package.package} that can be imported ({reason})", f"--attention {name}") from error
    return PackageAttention(kernel, package)


def choose_attention(name: str, *, device: torch.device, dtype: torch.dtype, num_heads: int, head_dim: int) -> str:
    """What computes the attention of a run: a name for `attention_by`.

    Args:
        name: A word of `ATTENTIONS`. Of those, "auto" never fails and never takes one that computes at a loss.
        device: Of the run.
        dtype: Of the DiT.
        num_heads: Of the DiT.
        head_dim: Width of each.

    Raises:
        ConfigError: What was asked for is unknown, does not run on the device or in the dtype, or gives other numbers.
        MissingExtraError: Its package is not installed, or cannot be imported.
    """
    if name not in ATTENTIONS:
        raise ConfigError(f"attention {name!r}", expected=", ".join(ATTENTIONS), fix="leave it out for the default")
    runs_here = device.type in DEVICES and dtype in DTYPES
    if name == SDPA or (name == AUTO and not runs_here):
        return SDPA
    asked = "flash" if name == AUTO else name
    if not runs_here:
        raise ConfigError(
            f"attention {name} on {device.type} in {str(dtype).removeprefix('torch.')}",
            expected="an NVIDIA GPU, and bf16 or fp16",
            fix="leave it out for torch's own",
        )
    try:
        _try(attention_by(asked), asked, device=device, dtype=dtype, num_heads=num_heads, head_dim=head_dim)
    except MissingExtraError:
        if name != AUTO:
            raise
        return SDPA
    except ConfigError as error:
        if name != AUTO:
            raise
        logger.warning("%s", error)
        return SDPA
    return asked


@torch.no_grad()
def _try(
    attention: Attention, name: str, *, device: torch.device, dtype: torch.dtype, num_heads: int, head_dim: int
) -> None:
    """Hold a kernel against torch's on random numbers.

    Raises:
        ConfigError: It fails, or its result is too far off.
    """
    generator = torch.Generator().manual_seed(0)
    size = (3, 1, _TRIED_TOKENS, num_heads * head_dim)
    parts = torch.randn(size, generator=generator).to(device, dtype).unbind(0)
    expected = TorchOperations.attention(*parts, num_heads=num_heads).float()
    package = PACKAGES[name]
    try:
        found = attention(*parts, num_heads=num_heads).float()
    except Exception as error:  # whatever a compiler or a driver raises
        reason = f"fails here ({str(error).partition(chr(10))[0] or type(error).__name__})"
    else:
        difference = float((found - expected).norm() / expected.norm())
        if difference <= package.most_error:  # a NaN is not
            return
        reason = f"is off by {difference:.2g} of torch's result"
    raise ConfigError(
        f"attention {name}, whose kernel {reason}",
        expected=f"at most {package.most_error:g} on this card, with {num_heads} heads of {head_dim}",
        fix=f"leave it out for torch's own, or install another {package.package}",
    )

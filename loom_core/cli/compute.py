"""From a user's words to where and in which precision a run computes.

Words are checked without torch, so that a slip is answered at once; whether a device exists is asked later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.attention import ATTENTIONS, AUTO
from ..config.model import LOOMVIDEO_5B, DiTConfig, RopePrecision, parse_rope_precision
from ..distributed.launch import find_launch
from ..errors import ConfigError
from ..geometry import SPATIAL_STRIDE
from ..planning.plan import OFFLOADS
from ..vae.tiling import SMALLEST_TILE

if TYPE_CHECKING:
    import torch

    from ..compute import Compute

CACHES = ("keys-values", "projections")
"""What a run keeps of the contexts: each block's keys and values, or what they are made of, half as large."""
DTYPES = ("bf16", "fp16", "fp32")
_SMALLEST_TILE = SMALLEST_TILE * SPATIAL_STRIDE  # pixels
_DEVICE = re.compile(r"(cpu|mps|(cuda|xpu)(:\d+)?)")


@dataclass(frozen=True, kw_only=True)
class ComputeWords:
    """What a user said; None leaves the choice open.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps" or "xpu".
        dtype: Of DiT and MLLM: "bf16", "fp16" or "fp32".
        vae_dtype: Of the VAE, the same words.
        rope: Of the rotary tables: "exact" or "bf16".
        tile_pixels: Side of the VAE's tiles, a multiple of 16.
        mllm_device: Where the MLLM reads the prompt; as `device`.
        cache: What is kept of the contexts, a word of `CACHES`.
        offload: Which weights come to the device only when they are needed, a word of `OFFLOADS`.
        attention: What computes the DiT's attention, a word of `ATTENTIONS`.
        quantise: How the DiT is quantised once it is loaded, see `weights.torchao_layers`.

    Raises:
        ConfigError: A word is unknown.
    """

    device: str | None = None
    dtype: str | None = None
    vae_dtype: str | None = None
    rope: str | None = None
    tile_pixels: int | None = None
    mllm_device: str | None = None
    cache: str | None = None
    offload: str | None = None
    attention: str | None = None
    quantise: str | None = None

    def __post_init__(self) -> None:
        """Check the words."""
        for flag, device in (("--device", self.device), ("--mllm-device", self.mllm_device)):
            if device is not None and not _DEVICE.fullmatch(device):
                raise _unknown_device(device, "no such kind", flag=flag)
        for dtype in (self.dtype, self.vae_dtype):
            if dtype is not None and dtype not in DTYPES:
                raise ConfigError(f"dtype {dtype!r}", expected=", ".join(DTYPES), fix="leave it out for the default")
        if self.rope is not None:
            parse_rope_precision(self.rope)
        if self.cache is not None and self.cache not in CACHES:
            raise ConfigError(f"cache {self.cache!r}", expected=" or ".join(CACHES), fix="leave it out for the default")
        if self.offload is not None and self.offload not in OFFLOADS:
            raise ConfigError(
                f"offload {self.offload!r}", expected=", ".join(OFFLOADS), fix="leave it out for the default, auto"
            )
        if self.attention is not None and self.attention not in ATTENTIONS:
            raise ConfigError(
                f"attention {self.attention!r}",
                expected=", ".join(ATTENTIONS),
                fix="leave it out for the default, auto",
            )
        side = self.tile_pixels
        if side is not None and (side < _SMALLEST_TILE or side % SPATIAL_STRIDE):
            raise ConfigError(
                f"tiles of {side} pixels", expected=f"a multiple of 16, at least {_SMALLEST_TILE}", fix="use 256 or 512"
            )

    @property
    def rope_precision(self) -> RopePrecision | None:
        """The precision of the rotary tables that the word names."""
        return None if self.rope is None else parse_rope_precision(self.rope)


def _unknown_device(name: str, why: str, *, flag: str) -> ConfigError:
    return ConfigError(
        f"device {name!r}, which cannot be used ({why})",
        expected="cpu, or cuda, mps or xpu where there is one",
        fix=f"leave {flag} out",
    )


def choose_device(name: str | None, *, flag: str = "--device") -> torch.device:
    """The device of a name; the fastest present when None. Of several processes on a machine each has its own GPU.

    Raises:
        ConfigError: It does not exist here.
    """
    import torch

    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    launch = find_launch()
    if name == "cuda" and not launch.is_single:
        name = f"cuda:{launch.local_rank}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise _unknown_device(name, str(error).splitlines()[0], flag=flag) from error
    return device


def choose_compute(words: ComputeWords, config: DiTConfig) -> Compute:
    """Where and how to compute.

    Args:
        words: What the user said. By default a GPU computes in bf16; a CPU in fp32, or in bf16 with a model of the
            released size, which would take twice the memory.
        config: Of the DiT.

    Raises:
        ConfigError: The device does not exist here, or the attention that was asked for does not run on it.
        MissingExtraError: The package of that attention is not installed.
    """
    import torch

    from ..compute import Compute
    from ..models.attention_backends import choose_attention
    from ..weights.torchao_layers import check_name

    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    device = choose_device(words.device)
    mllm_device = None if words.mllm_device is None else choose_device(words.mllm_device, flag="--mllm-device")
    if words.quantise is not None:
        check_name(words.quantise)
    streams = words.offload == "blocks"
    is_small = config.hidden_size < LOOMVIDEO_5B.hidden_size
    usual = "fp32" if device.type == "cpu" and is_small else "bf16"
    dtype = dtypes[words.dtype or usual]
    return Compute(
        device=device,
        dtype=dtype,
        codec_dtype=dtypes[words.vae_dtype or ("fp32" if device.type == "cpu" else "bf16")],
        rope_precision=words.rope_precision,
        tile_latents=None if words.tile_pixels is None else words.tile_pixels // SPATIAL_STRIDE,
        mllm_device=mllm_device,
        keeps_keys_values=words.cache != CACHES[1],
        quantises=words.quantise,
        streamed_blocks=config.num_layers if streams else 0,
        streams_mllm=streams and mllm_device in (None, device),
        attention=choose_attention(
            words.attention or AUTO,
            device=device,
            dtype=dtype,
            num_heads=config.num_heads,
            head_dim=config.head_dim,
        ),
    )

"""Sizes of the DiT, and the presets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from ..errors import ConfigError

RopePrecision = Literal["exact", "bf16"]
"""Of rotary tables: exact, or rounded to bfloat16 as in a model that was cast to it as a whole."""
ROPE_PRECISIONS: tuple[RopePrecision, ...] = get_args(RopePrecision)


def parse_rope_precision(name: str) -> RopePrecision:
    """The precision of a name.

    Raises:
        ConfigError: There is none of this name.
    """
    for known in ROPE_PRECISIONS:
        if name == known:
            return known
    raise ConfigError(f"rope_precision {name!r}", expected=" or ".join(ROPE_PRECISIONS), fix="leave it out, or use one")


@dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """Sizes of a LoomVideo DiT.

    Args:
        hidden_size: Width of a token; num_heads * head_dim.
        num_heads: Attention heads.
        head_dim: Width of a head, even and at least 6 (rotary pairs over time, height and width).
        num_layers: Transformer blocks.
        ffn_dim: Width inside the feed-forward part.
        in_channels: Latent channels.
        out_channels: Channels of the predicted velocity.
        time_embed_dim: Width of the sinusoidal time embedding.
        mllm_dim: Width of the MLLM's states.
        eps: Of every norm.
        has_source: False for a plain Wan checkpoint or a stage 1 model, which know no source.
        has_projector: False for a plain Wan checkpoint, which knows no MLLM.
        rope_precision: "exact", or "bf16" for weights trained with rotary tables rounded to bfloat16, as the
            released ones were.
    """

    hidden_size: int
    num_heads: int
    head_dim: int
    num_layers: int
    ffn_dim: int
    in_channels: int = 48
    out_channels: int = 48
    time_embed_dim: int = 256
    mllm_dim: int = 4096
    eps: float = 1e-6
    has_source: bool = True
    has_projector: bool = True
    rope_precision: RopePrecision = "exact"

    patch_size: ClassVar[tuple[int, int, int]] = (1, 2, 2)

    def __post_init__(self) -> None:
        """Check that the sizes fit together.

        Raises:
            ConfigError: They do not.
        """
        if self.hidden_size != self.num_heads * self.head_dim:
            raise ConfigError(
                f"hidden_size {self.hidden_size} with {self.num_heads} heads of {self.head_dim}",
                expected="hidden_size = num_heads * head_dim",
                fix="correct the model's configuration",
            )
        if self.head_dim % 2 or self.head_dim < 6:  # noqa: PLR2004 - two channels for each of the three axes
            raise ConfigError(
                f"head_dim {self.head_dim}", expected="an even width of at least 6", fix="correct the configuration"
            )
        parse_rope_precision(self.rope_precision)

    def to_json(self) -> str:
        """As one line of JSON, for a file's metadata."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> DiTConfig:
        """From the mapping that `to_json` writes.

        Raises:
            ConfigError: A name is unknown or missing.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(
                f"unknown model settings {unknown}", expected=f"some of {sorted(known)}", fix="update LoomVideo"
            )
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"incomplete model settings ({error})", fix="convert the checkpoint again") from error

    @classmethod
    def from_diffusers(
        cls, values: Mapping[str, Any], *, mllm_dim: int, has_source: bool = True, has_projector: bool = True
    ) -> DiTConfig:
        """From a diffusers `WanTransformer3DModel` configuration, as official files carry it.

        Args:
            values: The mapping of a `config.json`.
            mllm_dim: Width of the MLLM's states.
            has_source: Whether the weights have `source_patch_embedding`.
            has_projector: Whether the weights have `mllm_embedder`.
        """
        heads, head_dim = values["num_attention_heads"], values["attention_head_dim"]
        return cls(
            hidden_size=heads * head_dim,
            num_heads=heads,
            head_dim=head_dim,
            num_layers=values["num_layers"],
            ffn_dim=values["ffn_dim"],
            in_channels=values["in_channels"],
            out_channels=values.get("out_channels") or values["in_channels"],
            time_embed_dim=values["freq_dim"],
            mllm_dim=mllm_dim,
            eps=values.get("eps", 1e-6),
            has_source=has_source,
            has_projector=has_projector,
        )


LOOMVIDEO_5B = DiTConfig(
    hidden_size=3072, num_heads=24, head_dim=128, num_layers=30, ffn_dim=14336, rope_precision="bf16"
)
"""The released model. Source: official `WanTransformer3DModel` configuration of Wan 2.2 TI2V-5B."""

QUARTER_TWIN = DiTConfig(hidden_size=768, num_heads=6, head_dim=128, num_layers=3, ffn_dim=3584, mllm_dim=1024)
"""A quarter as wide and three blocks deep: the released model's proportions at a size that a CPU can time."""

LOOM_TINY = DiTConfig(
    hidden_size=384, num_heads=6, head_dim=64, num_layers=3, ffn_dim=832, time_embed_dim=256, mllm_dim=128
)
"""The built-in model, as wide as its file may be large: noise and source of a token, 192 latents each, pass through."""

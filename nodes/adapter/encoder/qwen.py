"""Qwen3-VL inside the host's CLIP: where its parts are, and which LoomVideo model reads its states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import comfy.text_encoders
from comfy.model_patcher import ModelPatcher

from ....loom_core.config.model import LOOMVIDEO_5B, RopePrecision
from ....loom_core.errors import WeightsError
from ....loom_core.mllm.picture_sizes import IMAGE_SETTINGS, VIDEO_SETTINGS, VisionSettings
from ....loom_core.planning.sizes import MLLMSizes

EXPECTED_FILE = "qwen3vl_8b_fp8_scaled.safetensors"
"""Name under which artists have the encoder of the released model."""
EXPECTED = f"Qwen3-VL-8B with its vision part ({EXPECTED_FILE}), or the built-in encoder"
FIX = "choose it in LoomVideo Encoder Loader, or in Load CLIP with type wan"
_BLIND = "Qwen3_"
"""How the host's classes begin that hold the text part of such a model alone."""
PAIRING = "loom_pairing"
"""Attribute by which an encoder that our loader made says its own `Pairing`."""


@dataclass(frozen=True)
class Pairing:
    """What an encoder and the DiT that was trained with it have agreed on.

    Args:
        num_blocks: Blocks of the DiT; that many of the last decoder layers are read.
        rope_precision: "bf16" if the DiT was trained on states made with rotary frequencies rounded to bfloat16.
        tokenizer: Folder or file; None is the one that the host has for Qwen.
        image_settings: How stills become patches.
        video_settings: How clips become patches.
    """

    num_blocks: int
    rope_precision: RopePrecision
    tokenizer: Path | None = None
    image_settings: VisionSettings = IMAGE_SETTINGS
    video_settings: VisionSettings = VIDEO_SETTINGS


RELEASED: Mapping[tuple[int, int], Pairing] = MappingProxyType(
    {
        (36, LOOMVIDEO_5B.mllm_dim): Pairing(LOOMVIDEO_5B.num_layers, LOOMVIDEO_5B.rope_precision),
    }
)
"""(decoder layers, width) of a Qwen3-VL -> what the LoomVideo model released for it reads."""


def tokenizer_of(pairing: Pairing) -> Path:
    """Where an encoder's tokenizer is."""
    return pairing.tokenizer or Path(next(iter(comfy.text_encoders.__path__))) / "qwen25_tokenizer"


def pairing_of(num_layers: int, hidden_size: int, *, what: str) -> Pairing:
    """What the LoomVideo model released for an encoder reads.

    Args:
        num_layers: Decoder layers of the encoder.
        hidden_size: Its width.
        what: What it is, for the message.

    Raises:
        WeightsError: There is none for its sizes.
    """
    pairing = RELEASED.get((num_layers, hidden_size))
    if pairing is None:
        raise WeightsError(
            f"{what} with {num_layers} layers of width {hidden_size}",
            expected=f"36 layers of width {LOOMVIDEO_5B.mllm_dim}: {EXPECTED}",
            fix=FIX,
        )
    return pairing


@dataclass(frozen=True)
class Qwen:
    """The parts of a CLIP that holds a Qwen3-VL.

    Args:
        whole: The host's text encoder model, which may hold several.
        key: Name in it of the one that is a Qwen3-VL.
        patcher: The host's model patcher of `whole`.
        pairing: What its DiT reads.
        num_layers: Decoder layers.
        hidden_size: Width of their states.
    """

    whole: Any
    key: str
    patcher: ModelPatcher
    pairing: Pairing
    num_layers: int
    hidden_size: int

    @property
    def encoder(self) -> Any:
        """The host's wrapper: tokens in, states out."""
        return getattr(self.whole, self.key)

    @property
    def transformer(self) -> Any:
        """Language model (`model`) and vision tower (`visual`)."""
        return self.encoder.transformer

    @property
    def sizes(self) -> MLLMSizes:
        """What decides how much memory it takes."""
        config, visual = self.transformer.model.config, self.transformer.visual
        return MLLMSizes(
            num_layers=self.num_layers,
            hidden_size=self.hidden_size,
            intermediate_size=config.intermediate_size,
            query_width=config.num_attention_heads * config.head_dim,
            key_width=config.num_key_value_heads * config.head_dim,
            head_dim=config.head_dim,
            vocab_size=config.vocab_size,
            vision_depth=len(visual.blocks),
            vision_width=visual.hidden_size,
            vision_positions=visual.num_position_embeddings,
            num_deepstack=len(visual.deepstack_visual_indexes),
        )

    def path(self, name: str) -> str:
        """Where something of the transformer is in `whole`, as object patches name it."""
        return f"{self.key}.transformer.{name}"


def find_qwen(clip: Any) -> Qwen:
    """The Qwen3-VL in a CLIP.

    Args:
        clip: The host's CLIP, from any loader.

    Raises:
        WeightsError: There is none, it has no vision part, or no LoomVideo model reads one of its size.
    """
    # the patcher's own model, which is what the host loads: nodes that choose a device give a CLIP a copy
    whole = getattr(getattr(clip, "patcher", None), "model", None)
    if whole is None:
        raise WeightsError(f"no text encoder at clip ({type(clip).__name__})", expected=EXPECTED, fix=FIX)
    parts = {name: part.transformer for name, part in whole.named_children() if hasattr(part, "transformer")}
    key = next((name for name, transformer in parts.items() if _sees(transformer)), None)
    if key is None:
        names = ", ".join(type(transformer).__name__ for transformer in parts.values()) or type(whole).__name__
        kind = "without vision part" if names.startswith(_BLIND) else "of another kind"
        raise WeightsError(
            f"a text encoder {kind} ({names})",
            expected=EXPECTED,
            fix=FIX,
        )
    config = parts[key].model.config
    num_layers, hidden_size = config.num_hidden_layers, config.hidden_size
    pairing = getattr(whole, PAIRING, None) or pairing_of(num_layers, hidden_size, what="a Qwen3-VL")
    return Qwen(whole, key, clip.patcher, pairing, num_layers, hidden_size)


def _sees(transformer: Any) -> bool:
    """Whether this is a Qwen3-VL with its vision part; later Qwens have a vision part without deepstack."""
    has_layers = hasattr(getattr(transformer, "model", None), "layers")
    return has_layers and getattr(getattr(transformer, "visual", None), "deepstack_merger_list", None) is not None

"""What decides how much memory the parts of a model take: widths, depths and numbers of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config.model import LOOMVIDEO_5B, DiTConfig
from ..errors import ConfigError
from ..geometry import PATCH
from ..vae.memory import WAN22_VAE, VaeSizes

MODULATION_ROWS = 6
"""Shift, scale and gate, twice; `models.block.NUM_ROWS`."""
PROJECTOR_EXPANSION = 4
"""Of `models.projector.EXPANSION`."""
_ATTENTIONS = 2  # of a block: to its own tokens and to the context
_PROJECTIONS = 4  # of an attention: queries, keys, values, output


@dataclass(frozen=True)
class Weights:
    """Numbers in the weights of a part.

    Args:
        matrices: In the large matrices, which number formats of 8 bits are for.
        others: In everything else, which stays as it is computed.
    """

    matrices: int
    others: int


@dataclass(frozen=True)
class WeightFormat:
    """A number format of weights.

    Args:
        name: On the command line.
        matrix_itemsize: Bytes of a number of a large matrix, its share of scales included.
        itemsize: Bytes of every other weight, and of activations.
    """

    name: str
    matrix_itemsize: float
    itemsize: int

    @classmethod
    def measured(cls, name: str, weights: Weights, *, num_bytes: int, itemsize: int) -> WeightFormat:
        """The format of weights of which only the memory that they take is known.

        Args:
            name: For people.
            weights: Numbers in them.
            num_bytes: That they take.
            itemsize: Bytes of a number of activations.
        """
        return cls(name, round((num_bytes - weights.others * itemsize) / weights.matrices, 3), itemsize)

    def num_bytes(self, weights: Weights) -> int:
        """Memory of a part's weights."""
        return round(weights.matrices * self.matrix_itemsize) + weights.others * self.itemsize

    @property
    def is_narrow(self) -> bool:
        """Whether matrices are stored in less than the activations."""
        return self.matrix_itemsize < self.itemsize

    def widening(self, rows: int, columns: int) -> int:
        """A matrix in the dtype of the activations while it is used, where it is stored in less; else nothing."""
        return rows * columns * self.itemsize if self.is_narrow else 0


FORMATS = {
    found.name: found
    for found in (
        WeightFormat("bf16", 2, 2),
        WeightFormat("fp16", 2, 2),
        WeightFormat("fp32", 4, 4),
        WeightFormat("fp8", 1, 2),
        WeightFormat("int8", 1, 2),
        WeightFormat("gguf-q8_0", 34 / 32, 2),
        WeightFormat("gguf-q4_0", 18 / 32, 2),
    )
}
"""Number formats by name; a new one is a line here."""


def weight_format(name: str) -> WeightFormat:
    """The number format of a name.

    Raises:
        ConfigError: There is none of this name.
    """
    if name not in FORMATS:
        raise ConfigError(f"weights {name!r}", expected=f"one of {', '.join(FORMATS)}", fix="bf16 is the released one")
    return FORMATS[name]


def block_weights(config: DiTConfig) -> Weights:
    """Numbers in the weights of a block of a LoomDiT."""
    dim = config.hidden_size
    attentions = _ATTENTIONS * _PROJECTIONS * (dim * dim + dim)
    feed_forward = 2 * dim * config.ffn_dim + config.ffn_dim + dim
    norms = (2 * _ATTENTIONS + 2) * dim + MODULATION_ROWS * dim  # of queries and keys, one with weight and bias
    return Weights(attentions + feed_forward, norms)


def dit_weights(config: DiTConfig) -> Weights:
    """Numbers in the weights of a LoomDiT."""
    dim, patch = config.hidden_size, PATCH * PATCH
    block = block_weights(config)
    embeddings = (1 + config.has_source) * (config.in_channels * patch * dim + dim)
    time = config.time_embed_dim * dim + dim + dim * dim + dim + MODULATION_ROWS * dim * (dim + 1)
    head = dim * config.out_channels * patch + config.out_channels * patch + 2 * dim
    projector = 0
    if config.has_projector:
        inner = PROJECTOR_EXPANSION * dim
        projector = config.mllm_dim + config.mllm_dim * inner + inner + inner * dim + dim
    layers = config.num_layers
    return Weights(layers * block.matrices, layers * block.others + embeddings + time + head + projector)


@dataclass(frozen=True, kw_only=True)
class MLLMSizes:
    """Sizes of a Qwen3-VL; the defaults are those of Qwen3-VL-8B-Instruct.

    Args:
        num_layers: Decoder layers.
        hidden_size: Width of a state.
        intermediate_size: Width inside a layer's feed-forward part.
        query_width: Width of all queries.
        key_width: Width of all keys.
        head_dim: Width of an attention head.
        vocab_size: Rows of the table of words.
        vision_depth: Blocks of the vision tower.
        vision_width: Their width.
        vision_intermediate: Width inside their feed-forward part.
        vision_positions: Rows of the table of positions.
        num_deepstack: Blocks whose features are added to the first decoder layers.
        patch_numbers: Numbers in a patch of a picture.
    """

    num_layers: int = 36
    hidden_size: int = 4096
    intermediate_size: int = 12288
    query_width: int = 4096
    key_width: int = 1024
    head_dim: int = 128
    vocab_size: int = 151936
    vision_depth: int = 27
    vision_width: int = 1152
    vision_intermediate: int = 4304
    vision_positions: int = 2304
    num_deepstack: int = 3
    patch_numbers: int = 1536

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> MLLMSizes:
        """From the mapping of a Hugging Face `config.json`."""
        text, vision = values["text_config"], values["vision_config"]
        head_dim = text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]
        return cls(
            num_layers=text["num_hidden_layers"],
            hidden_size=text["hidden_size"],
            intermediate_size=text["intermediate_size"],
            query_width=head_dim * text["num_attention_heads"],
            key_width=head_dim * text["num_key_value_heads"],
            head_dim=head_dim,
            vocab_size=text["vocab_size"],
            vision_depth=vision["depth"],
            vision_width=vision["hidden_size"],
            vision_intermediate=vision["intermediate_size"],
            vision_positions=vision["num_position_embeddings"],
            num_deepstack=len(vision["deepstack_visual_indexes"]),
            patch_numbers=vision["in_channels"] * vision["temporal_patch_size"] * vision["patch_size"] ** 2,
        )

    @property
    def weights(self) -> Weights:
        """Numbers in its weights, without the head that writes words."""
        wide, seen, layer = self.hidden_size, self.vision_width, self.layer_weights
        block = 4 * seen * seen + 2 * seen * self.vision_intermediate
        merged = 4 * seen
        mergers = (1 + self.num_deepstack) * (merged * merged + merged * wide)
        small = self.num_layers * layer.others + wide
        small += self.vision_depth * (9 * seen + self.vision_intermediate)
        small += 2 * seen + self.num_deepstack * 2 * merged + (1 + self.num_deepstack) * (merged + wide)
        tables = self.num_words + self.vision_positions * seen + (self.patch_numbers + 1) * seen
        return Weights(self.num_layers * layer.matrices + self.vision_depth * block + mergers, tables + small)

    @property
    def layer_weights(self) -> Weights:
        """Numbers in the weights of a decoder layer."""
        wide = self.hidden_size
        matrices = wide * (2 * self.query_width + 2 * self.key_width) + 3 * wide * self.intermediate_size
        return Weights(matrices, 2 * (wide + self.head_dim))

    @property
    def num_words(self) -> int:
        """Numbers in the table of words."""
        return self.vocab_size * self.hidden_size


@dataclass(frozen=True, kw_only=True)
class ModelSizes:
    """The three parts of a model; the defaults are the released one.

    Args:
        dit: Of the DiT.
        mllm: Of the MLLM.
        vae: Of the VAE.
    """

    dit: DiTConfig = LOOMVIDEO_5B
    mllm: MLLMSizes = field(default_factory=MLLMSizes)
    vae: VaeSizes = WAN22_VAE

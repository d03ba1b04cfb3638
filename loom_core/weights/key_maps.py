"""The names that one and the same weight has in different files, as data.

Three ways of naming exist on disk: the diffusers names of official LoomVideo files, the Wan-native names that this
library, ComfyUI and Wan LoRAs use, and either of them behind a prefix. Pairs of module names translate between them;
everything that is in no pair is named alike on both sides (`patch_embedding`, `mllm_embedder`,
`source_patch_embedding`).

Trap: the affine norm before cross-attention is `norm2` in diffusers and `norm3` in Wan. Other norms have no weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ..errors import WeightsError

PREFIXES = {
    "gen_model.": "official LoomVideo file that holds the whole model",
    "model.diffusion_model.": "ComfyUI checkpoint",
    "diffusion_model.": "ComfyUI diffusion model",
    "transformer.": "diffusers pipeline",
    "module.": "model saved inside a distributed wrapper",
    "_orig_mod.": "model saved inside torch.compile",
}
"""Prefixes that may stand before a name, also several of them, and where they come from."""

VAE_PREFIXES = ("vae.", "first_stage_model.")
"""Prefixes that may stand before the names of a VAE in files that hold more."""

COMPONENT_PREFIXES = ("gen_model.", "model.diffusion_model.")
"""Prefixes of files that hold more than the DiT: there, what does not carry the prefix is another component."""

MODULES_OUTSIDE_BLOCKS = (
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("scale_shift_table", "head.modulation"),
    ("proj_out", "head.head"),
)
"""(diffusers, Wan-native) modules or parameters outside the blocks."""

MODULES_IN_BLOCK = (
    ("scale_shift_table", "modulation"),
    *(
        (f"{diffusers_attention}.{diffusers_part}", f"{native_attention}.{native_part}")
        for diffusers_attention, native_attention in (("attn1", "self_attn"), ("attn2", "cross_attn"))
        for diffusers_part, native_part in (
            ("to_q", "q"),
            ("to_k", "k"),
            ("to_v", "v"),
            ("to_out.0", "o"),
            ("norm_q", "norm_q"),
            ("norm_k", "norm_k"),
        )
    ),
    ("norm2", "norm3"),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
)
"""(diffusers, Wan-native) modules or parameters inside `blocks.N`."""

DEAD_MODULES = ("condition_embedder.text_embedder", "text_embedding")
"""Embed the T5 prompt, which enters no block of LoomVideo."""

CONFIG_TENSOR = "loomvideo_config"
"""Holds `DiTConfig.to_json()`, a byte an element, in files that ComfyUI saves, whose metadata is not ours to write."""

_MOST_KEYS = 16384
"""So many names are remembered: those of a file are asked for several times while it is loaded."""

_BLOCK = re.compile(r"(blocks\.\d+\.)(.+)")


@lru_cache(maxsize=_MOST_KEYS)
def strip_prefix(key: str) -> tuple[str, str]:
    """Split a name on disk into its prefixes (perhaps none) and the name itself."""
    rest = key
    while prefix := next((prefix for prefix in PREFIXES if rest.startswith(prefix)), ""):
        rest = rest.removeprefix(prefix)
    return key[: len(key) - len(rest)], rest


def strip_vae_prefix(key: str) -> str:
    """The name of a VAE's weight without the prefix that it may have."""
    return key.removeprefix(next((prefix for prefix in VAE_PREFIXES if key.startswith(prefix)), ""))


@lru_cache(maxsize=_MOST_KEYS)
def to_native(key: str) -> str | None:
    """The Wan-native name of a weight named in any of the accepted ways.

    Returns:
        The name without prefix, unknown names unchanged; None for what is no weight of the model and is dropped: the
        dead text embedder, and the configuration.
    """
    _, name = strip_prefix(key)
    if any(_is_in(name, module) for module in (*DEAD_MODULES, CONFIG_TENSOR)):
        return None
    return _translate(name, MODULES_OUTSIDE_BLOCKS, MODULES_IN_BLOCK)


def to_diffusers(key: str) -> str:
    """The name in official files of a weight with a Wan-native name; the inverse of `to_native`."""
    return _translate(key, _swapped(MODULES_OUTSIDE_BLOCKS), _swapped(MODULES_IN_BLOCK))


@dataclass(frozen=True)
class NativeNames:
    """How the names of a file become Wan-native ones.

    Args:
        sources: Wan-native name -> name in the file.
        dropped: Names of dead weights in the file.
        foreign: Names in the file that belong to other components than the DiT.
        prefix: The prefix of the DiT's names, "" for none.
        style: "diffusers" or "native", the naming found behind the prefix.
    """

    sources: Mapping[str, str]
    dropped: tuple[str, ...]
    foreign: tuple[str, ...]
    prefix: str
    style: str

    def in_file(self, name: str) -> str:
        """What the file calls, or would call, the weight with a Wan-native name."""
        if name in self.sources:
            return self.sources[name]
        return self.prefix + (to_diffusers(name) if self.style == "diffusers" else name)


def native_names(keys: Iterable[str]) -> NativeNames:
    """Plan the renaming of a whole file.

    Args:
        keys: Every name in the file.

    Raises:
        WeightsError: Two names stand for the same weight.
    """
    keys = tuple(keys)
    own, foreign = _split_components(keys)
    name_of = {key: to_native(key) for key in own}
    sources = unique_sources(name_of)
    prefixes = [strip_prefix(key)[0] for key in own]
    return NativeNames(
        sources=sources,
        dropped=tuple(key for key, name in name_of.items() if name is None and strip_prefix(key)[1] != CONFIG_TENSOR),
        foreign=foreign,
        prefix=max(set(prefixes), key=prefixes.count, default=""),
        style="diffusers" if any(strip_prefix(key)[1] != name for name, key in sources.items()) else "native",
    )


def unique_sources(name_of: Mapping[str, str | None]) -> dict[str, str]:
    """Turn a renaming around.

    Args:
        name_of: Name in the file -> name in the model, None for what the model does not take.

    Returns:
        Name in the model -> name in the file.

    Raises:
        WeightsError: Two names in the file stand for the same weight.
    """
    sources: dict[str, str] = {}
    for key, name in name_of.items():
        if name is None:
            continue
        if name in sources:
            raise WeightsError(
                f"{sources[name]!r} and {key!r}, two names of the same weight {name!r}",
                expected="every weight once",
                fix="save the checkpoint again with one naming",
            )
        sources[name] = key
    return sources


def _split_components(keys: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the DiT, and names of what else the file holds."""
    for component in COMPONENT_PREFIXES:
        own = tuple(key for key in keys if component in strip_prefix(key)[0])
        if own:
            mine = set(own)
            return own, tuple(key for key in keys if key not in mine)
    return keys, ()


def _translate(name: str, outside_blocks: Iterable[tuple[str, str]], in_block: Iterable[tuple[str, str]]) -> str:
    match = _BLOCK.fullmatch(name)
    block, rest = match.groups() if match else ("", name)
    for old, new in in_block if match else outside_blocks:
        if _is_in(rest, old):
            return block + new + rest.removeprefix(old)
    return name


def _is_in(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def _swapped(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((new, old) for old, new in pairs)

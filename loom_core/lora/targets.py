"""Which layers of a model a LoRA changes: patterns resolved, and refused where they make no sense."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

from torch import nn

from ..config.training import LoraSettings
from ..errors import ConfigError

Part = TypeVar("Part")


@dataclass(frozen=True)
class Targets:
    """What is trained of a model.

    Args:
        layers: Linear layers that get a change of low rank, by name.
        weights: Parameters that are trained whole, by name.
    """

    layers: Mapping[str, nn.Linear]
    weights: Mapping[str, nn.Parameter]


def choose(model: nn.Module, settings: LoraSettings) -> Targets:
    """The parts of a model that the patterns of some settings name.

    Args:
        model: Not changed; may lie on the meta device.
        settings: Of the LoRA.

    Raises:
        ConfigError: A pattern names nothing, a layer is named twice, or the rank is larger than a layer.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    chosen = Targets(
        layers=_named(layers, settings.modules, setting="lora.modules", kind="linear layers"),
        weights=_named(dict(model.named_parameters()), settings.whole, setting="lora.whole", kind="weights"),
    )
    twice = [name for name in chosen.weights if name.rpartition(".")[0] in chosen.layers]
    if twice:
        raise ConfigError(
            f"{len(twice)} weights named by lora.modules and lora.whole alike (the first is {twice[0]})",
            expected="one way to train each",
            fix="narrow the patterns of one of them",
        )
    _check_rank(chosen.layers, settings.rank)
    return chosen


def _named(parts: Mapping[str, Part], patterns: Sequence[str], *, setting: str, kind: str) -> dict[str, Part]:
    """Those that a pattern names, or that lie in what a pattern names, in the model's order."""
    for pattern in patterns:
        if not any(_is_named(name, pattern) for name in parts):
            known = {place for name in parts for place in _places(name)}
            near = difflib.get_close_matches(pattern, sorted(known), n=1, cutoff=0.4)
            raise ConfigError(
                f"{pattern!r} under {setting}, which names none of the model's {len(parts)} {kind}",
                expected="the name of a layer or of a part that has some, `*` for any text",
                fix=f"did you mean {near[0]!r}?" if near else "correct the pattern",
            )
    return {name: part for name, part in parts.items() if any(_is_named(name, pattern) for pattern in patterns)}


def _is_named(name: str, pattern: str) -> bool:
    return any(fnmatchcase(place, pattern) for place in _places(name))


def _places(name: str) -> Iterator[str]:
    """A name and those of all that it lies in."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _check_rank(layers: Mapping[str, nn.Linear], rank: int) -> None:
    """Refuse a rank that a layer cannot have: the change would be larger than the layer, and no better than it."""
    narrow = {name: min(layer.in_features, layer.out_features) for name, layer in layers.items()}
    small = [name for name, width in narrow.items() if width < rank]
    if small:
        name = min(small, key=narrow.__getitem__)
        raise ConfigError(
            f"rank {rank}, larger than {len(small)} of the chosen layers ({name} has {narrow[name]})",
            expected="at most the smaller side of each layer",
            fix=f"set lora.rank to {narrow[name]} or less, or leave that layer out of lora.modules",
        )

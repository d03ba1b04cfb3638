"""A LoRA on a model: put there, switched off and on, and its tensors by the names that files have.

    adapters = Adapters(model, LoraSettings(rank=16), generator=generator)
    ...                                             # whatever trains the model's parameters that require a gradient
    save_safetensors(path, entries_of(adapters.tensors()), metadata=adapters.about())

Names in files are those that ComfyUI's own loader reads: `diffusion_model.` before Wan-native module names, then
`lora_A.weight`, `lora_B.weight` and always `alpha` (without one some programs divide by the rank and others do not),
`diff` for a whole weight and `diff_b` for a bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from ..config.training import LoraSettings
from ..distributed.sharding import local_part, part_of
from ..errors import WeightsError
from ..models.dit import LoomDiT
from ..weights.detect import FORMAT_KEY, FORMAT_VERSION_KEY
from .layers import LoraLinear, WholeChange
from .lora_file import LoraFile, open_lora
from .naming import file_name_of
from .targets import choose

FORMAT = "loomvideo-lora"
FORMAT_VERSION = 1
BASE_CONFIG_KEY, BASE_HASH_KEY = "base_config", "base_samples_sha256"


class Adapters:
    """A LoRA on a model, whose own weights are frozen from here on.

    Args:
        model: Gets the changes, which have no effect yet.
        settings: Which layers, and how large.
        generator: Draws the starting values.
        base: Hash of the model's weights, to tell them from others later.

    Raises:
        ConfigError: See `targets.choose`.
    """

    def __init__(
        self, model: LoomDiT, settings: LoraSettings, *, generator: torch.Generator | None = None, base: str = ""
    ) -> None:
        self.model, self.settings, self.base = model, settings, base
        self.shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
        """Of the model's own weights, by their Wan-native names."""
        targets = choose(model, settings)
        model.requires_grad_(False)
        self._layers: dict[str, LoraLinear] = {}
        self._whole: dict[str, WholeChange] = {}
        self._file_names: dict[str, str] = {}  # trained parameter -> its name in a file
        for name, layer in targets.layers.items():
            self._add_layer(name, layer, generator)
        for name, weight in targets.weights.items():
            self._add_whole(name, weight)

    def _add_layer(self, name: str, layer: nn.Linear, generator: torch.Generator | None) -> None:
        settings = self.settings
        lora = LoraLinear(
            layer, rank=settings.rank, scale=settings.scale, dropout=settings.dropout, generator=generator
        )
        parent, _, own = name.rpartition(".")
        setattr(self.model.get_submodule(parent), own, lora)
        self._layers[name] = lora
        for factor in ("lora_A", "lora_B"):
            self._file_names[f"{name}.{factor}.weight"] = file_name_of(f"{name}.weight", f"{factor}.weight")

    def _add_whole(self, name: str, weight: nn.Parameter) -> None:
        parent, _, own = name.rpartition(".")
        change = WholeChange(weight)
        register_parametrization(self.model.get_submodule(parent), own, change)
        self._whole[name] = change
        self._file_names[f"{parent}.parametrizations.{own}.0.diff"] = file_name_of(name, "diff")

    @property
    def num_layers(self) -> int:
        """Layers with a change of low rank."""
        return len(self._layers)

    def tensors(self, weights: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """What a file of this LoRA holds.

        Args:
            weights: By the names of the trained parameters, such as averages; None takes the model's own.
        """
        own = dict(self.model.named_parameters()) if weights is None else weights
        found = {in_file: own[name].detach() for name, in_file in self._file_names.items()}
        alphas = {
            file_name_of(f"{name}.weight", "alpha"): torch.tensor(layer.scale * layer.rank)
            for name, layer in self._layers.items()
        }
        return {**found, **alphas}

    def named(self, tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
        """The trained parameters in what `tensors` gave.

        Args:
            tensors: By the names in a file.
            path: The file, for messages.

        Raises:
            WeightsError: They are of another LoRA.
        """
        expected = self.tensors()
        wrong = sorted(tensors.keys() ^ expected.keys())
        both = sorted(tensors.keys() & expected.keys())
        wrong += [name for name in both if expected[name].shape != tensors[name].shape]
        wrong += [name for name in both if name.endswith(".alpha") and tensors[name] != expected[name]]
        if wrong:
            raise WeightsError(
                f"{path}, whose LoRA differs in {len(wrong)} tensors (the first is {wrong[0]})",
                expected="one of the config's layers, rank and alpha",
                fix="resume with the config that the run was started with",
            )
        return {name: tensors[in_file] for name, in_file in self._file_names.items()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Take over what `tensors` gave; see `named`."""
        parameters = dict(self.model.named_parameters())
        for name, tensor in self.named(tensors, path).items():
            local_part(parameters[name]).copy_(part_of(tensor, parameters[name]))

    @torch.no_grad()
    def start_from(self, path: Path) -> None:
        """Begin with the changes of a LoRA file of whichever trainer; layers that it leaves alone begin without.

        Raises:
            WeightsError: It is of another model or another rank, or changes what is not trained.
        """
        lora = open_lora(path, self.shapes)
        own = {*self._whole, *(f"{name}.weight" for name in self._layers)}
        foreign = [name for name in lora.changes if name not in own]
        if foreign:
            raise WeightsError(
                f"{path}, which changes {len(foreign)} weights that this run does not train (first {foreign[0]})",
                expected="a LoRA of the layers under lora.modules and lora.whole",
                fix="add them there, or merge that LoRA into the base first (loom_core.cli.lora merge)",
            )
        for name in lora.changes:
            self._take(name, lora)

    def _take(self, name: str, lora: LoraFile) -> None:
        if name in self._whole:
            self._whole[name].diff.copy_(lora.delta(name))
            return
        layer = self._layers[name.removesuffix(".weight")]
        factors = lora.factors(name)
        if factors is None or factors.rank != layer.rank:
            raise WeightsError(
                f"{lora.path}, whose change of {name} is {lora.changes[name]}",
                expected=f"one of rank {layer.rank}, as under lora.rank",
                fix="set the rank of that file, or merge it into the base first (loom_core.cli.lora merge)",
            )
        layer.lora_A.weight.copy_(factors.down)
        layer.lora_B.weight.copy_(factors.up * (factors.scale / layer.scale))

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Within, the model is as it was without the LoRA."""
        parts: list[LoraLinear | WholeChange] = [*self._layers.values(), *self._whole.values()]
        before = [part.is_on for part in parts]
        try:
            for part in parts:
                part.is_on = False
            yield
        finally:
            for part, was_on in zip(parts, before, strict=True):
                part.is_on = was_on

    def about(self) -> dict[str, str]:
        """Metadata of a file."""
        settings = self.settings
        return {
            FORMAT_KEY: FORMAT,
            FORMAT_VERSION_KEY: str(FORMAT_VERSION),
            BASE_CONFIG_KEY: self.model.config.to_json(),
            BASE_HASH_KEY: self.base,
            "rank": str(settings.rank),
            "alpha": f"{settings.scale * settings.rank:g}",
        }

"""LoRA files of every common trainer, read as changes of the model's weights.

Four kinds are known: low rank (LoRA: kohya, musubi, peft, diffusers, OneTrainer, DiffSynth and ours), products of
elements (LoHa), Kronecker products (LoKr), and whole differences. How modules are named is `weights/lora_names.py`'s;
here it is what stands behind them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..config.model import DiTConfig
from ..errors import WeightsError
from ..models.dit import LoomDiT
from ..weights.checkpoint import Checkpoint
from ..weights.checks import shortened, wrong_model
from ..weights.identify import ModelKind
from ..weights.lora_names import LoraModules, lora_modules, stored_alphas
from ..weights.reading import open_checkpoint

Shapes = Mapping[str, Sequence[int]]

LOW_RANK, HADAMARD, KRONECKER, WHOLE = "low rank", "LoHa", "LoKr", "difference"
_LOW_RANK = re.compile(r"lora(?:_linear_layer)?[._](up|B|down|A)(?:\.\w+)?(?:\.weight)?")
_ROLE_OF_FACTOR = {"up": "up", "B": "up", "down": "down", "A": "down"}
_WHOLE = {"diff": "diff", "w_norm": "diff"}
_WHOLE_BIAS = {"diff_b": "diff", "b_norm": "diff"}
_PARTS = {
    HADAMARD: ({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"},),
    KRONECKER: tuple(
        one | other
        for one in ({"lokr_w1"}, {"lokr_w1_a", "lokr_w1_b"})
        for other in ({"lokr_w2"}, {"lokr_w2_a", "lokr_w2_b"})
    ),
    LOW_RANK: ({"up", "down"},),
    WHOLE: ({"diff"},),
}
"""Kind -> the sets of parts that make one up."""
_FACTORS_OF = {HADAMARD: ("hada_w1", "hada_w2"), KRONECKER: ("lokr_w1", "lokr_w2")}
"""Kind -> its two factors, each given whole or as a product of two."""
_ALPHA = "alpha"


@dataclass(frozen=True)
class Factors:
    """A change of low rank: scale * up @ down.

    Args:
        up: float32 [rows, rank].
        down: float32 [rank, columns].
        scale: alpha / rank.
    """

    up: Tensor
    down: Tensor
    scale: float

    @property
    def rank(self) -> int:
        """Of the change."""
        return self.down.shape[0]


@dataclass(frozen=True)
class Change:
    """What a file says of one weight.

    Args:
        kind: One of the four.
        parts: What a part is -> its name in the file.
        rank: None of a difference.
        alpha: None where the file has none, which stands for the rank.
    """

    kind: str
    parts: Mapping[str, str]
    rank: int | None = None
    alpha: float | None = None

    def __str__(self) -> str:
        return self.kind if not self.rank else f"{self.kind} {self.rank}"

    @property
    def scale(self) -> float:
        """What a product of the parts is multiplied by."""
        return 1.0 if self.alpha is None or not self.rank else self.alpha / self.rank


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file as changes of a model's weights.

    Args:
        checkpoint: The file.
        shapes: Of the model's weights.
        changes: Wan-native name of a weight -> what happens to it.
        left_out: Names in the file that are not for this model.
        dead: Names in the file that belong to Wan's text embedder, which LoomVideo does without.
    """

    checkpoint: Checkpoint
    shapes: Shapes
    changes: Mapping[str, Change]
    left_out: tuple[str, ...]
    dead: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.checkpoint.path

    def factors(self, name: str) -> Factors | None:
        """The factors of a weight's change; None where it is of another kind than low rank."""
        change = self.changes[name]
        if change.kind != LOW_RANK:
            return None
        return Factors(self._part(change, "up").flatten(1), self._part(change, "down").flatten(1), change.scale)

    def delta(self, name: str) -> Tensor:
        """A weight's change: float32, of the weight's shape."""
        change = self.changes[name]
        if change.kind == WHOLE:
            return self._part(change, "diff").reshape(*self.shapes[name])
        if change.kind == HADAMARD:
            product = self._product(change, "hada_w1") * self._product(change, "hada_w2")
        elif change.kind == KRONECKER:
            product = torch.kron(self._product(change, "lokr_w1"), self._product(change, "lokr_w2"))
        else:
            product = self._part(change, "up").flatten(1) @ self._part(change, "down").flatten(1)
        return (product * change.scale).reshape(*self.shapes[name])

    def _part(self, change: Change, part: str) -> Tensor:
        return self.checkpoint.tensor(change.parts[part]).float()

    def _product(self, change: Change, part: str) -> Tensor:
        """A factor that is given whole or as a product."""
        if part in change.parts:
            return self._part(change, part).flatten(1)
        return self._part(change, f"{part}_a") @ self._part(change, f"{part}_b").flatten(1)


def shapes_of(config: DiTConfig) -> dict[str, tuple[int, ...]]:
    """Every weight of a model of a size, by its Wan-native name."""
    return {name: tuple(weight.shape) for name, weight in LoomDiT(config, device="meta").state_dict().items()}


def open_lora(path: Path, shapes: Shapes, *, ema: bool = True) -> LoraFile:
    """Read the headers of a LoRA file, and what it does to a model.

    Args:
        path: The file, or the folder of a run that trains one.
        shapes: Of the model's weights, by their Wan-native names.
        ema: Of a folder, take averaged weights where there are any.

    Raises:
        WeightsError: It is no LoRA, changes nothing of the model, was made for another size, or is of a kind that is
            not known here.
    """
    checkpoint = open_checkpoint(path, ema=ema)
    modules = lora_modules(checkpoint, shapes)
    if checkpoint.kind is not ModelKind.LORA or not modules.weights:
        raise wrong_model(
            checkpoint,
            expected="a LoRA that changes weights of this model (LoomVideo, or Wan 2.2 TI2V-5B)",
            fix="choose one that was made for this model",
        )
    found, strange = _sorted_parts(checkpoint, modules, shapes)
    if strange:
        raise WeightsError(
            f"{path}, with {len(strange)} tensors of a kind that is not known here ({shortened(strange[:3])})",
            expected="LoRA, LoHa, LoKr or whole differences",
            fix="put it on the model in ComfyUI, whose loader knows more kinds (such as DoRA)",
        )
    alphas = {modules.weights[module]: alpha for module, alpha in stored_alphas(modules, checkpoint.metadata).items()}
    changes = {name: _change(name, parts, checkpoint, alphas) for name, parts in found.items()}
    lora = LoraFile(checkpoint, shapes, changes, modules.unknown, modules.dead)
    _check_sizes(lora)
    return lora


def _sorted_parts(
    checkpoint: Checkpoint, modules: LoraModules, shapes: Shapes
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Weight -> part -> name in the file; and the names of which nobody knows what they say."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    strange: list[str] = []
    not_ours = {*modules.unknown, *modules.dead}
    for key in checkpoint:
        if key in not_ours:
            continue
        module = _module_of(key, modules)
        weight, part = _meaning(modules.weights[module], key[len(module) + 1 :])
        if part is None or weight not in shapes or part in found[weight]:
            strange.append(key)
        else:
            found[weight][part] = key
    return {weight: parts for weight, parts in found.items() if parts.keys() - {_ALPHA}}, strange


def _module_of(key: str, modules: LoraModules) -> str:
    """The module that a name is about: as much of it as is one."""
    while key not in modules.weights:
        key = key.rpartition(".")[0]
    return key


def _meaning(weight: str, ending: str) -> tuple[str, str | None]:
    """What an ending says about the weight of a module: (weight that is meant, part), None for an unknown one."""
    if ending in _WHOLE_BIAS:
        return f"{weight.removesuffix('.weight')}.bias", _WHOLE_BIAS[ending]
    if ending in _WHOLE:
        return weight, _WHOLE[ending]
    match = _LOW_RANK.fullmatch(ending)
    if match:
        return weight, _ROLE_OF_FACTOR[match.group(1)]
    known = {_ALPHA}.union(*(parts for sets in _PARTS.values() for parts in sets))
    return weight, ending if ending in known else None


def _change(name: str, parts: Mapping[str, str], checkpoint: Checkpoint, alphas: Mapping[str, float]) -> Change:
    """The change that parts make up.

    Raises:
        WeightsError: Some are missing, or there are several changes of one weight.
    """
    own = {part: key for part, key in parts.items() if part != _ALPHA}
    kind = next((kind for kind, sets in _PARTS.items() if own.keys() in sets), None)
    if kind is None:
        raise WeightsError(
            f"{checkpoint.path}, whose change of {name} is made of {', '.join(sorted(own))}",
            expected="all parts of one change",
            fix="save the LoRA again, or get the whole file",
        )
    rank = _rank(kind, own, checkpoint)
    if _ALPHA in parts:
        return Change(kind, own, rank, float(checkpoint.tensor(parts[_ALPHA]).float().reshape(-1)[0]))
    return Change(kind, own, rank, alphas.get(name))


def _rank(kind: str, parts: Mapping[str, str], checkpoint: Checkpoint) -> int | None:
    """Of a change; 0 of a LoKr whose factors are whole, which has no rank that an alpha could be divided by."""
    if kind == WHOLE:
        return None
    if kind == LOW_RANK:
        return checkpoint.shapes[parts["down"]][0]
    factors = [part for part in ("hada_w1_b", "lokr_w2_b", "lokr_w1_b") if part in parts]
    return checkpoint.shapes[parts[factors[0]]][0] if factors else 0


def _check_sizes(lora: LoraFile) -> None:
    """Refuse changes of other sizes than the weights."""
    wrong = []
    for name, change in lora.changes.items():
        expected, found = _rows_and_columns(lora.shapes[name]), _size(lora, change)
        if found != expected:
            shown = "parts that do not fit each other" if found is None else f"{found[0]} x {found[1]}"
            wrong.append(f"{name} ({shown}, here {expected[0]} x {expected[1]})")
    if wrong:
        raise WeightsError(
            f"{lora.path}, {len(wrong)} of whose {len(lora.changes)} changes have another size than the weight: "
            f"{wrong[0]}",
            expected="a LoRA for a model of this width (LoomVideo, or Wan 2.2 TI2V-5B; not 1.3B or 14B)",
            fix="choose one that was made for this model",
        )


def _size(lora: LoraFile, change: Change) -> tuple[int, int] | None:
    """Rows and columns of a change; None where its parts do not fit each other."""
    shapes = {part: _rows_and_columns(lora.checkpoint.shapes[key]) for part, key in change.parts.items()}
    if change.kind == WHOLE:
        return shapes["diff"]
    if change.kind == LOW_RANK:
        return _product_size(shapes["up"], shapes["down"])
    pairs = {
        part.removesuffix("_a"): _product_size(shapes[part], shapes[part.removesuffix("_a") + "_b"])
        for part in shapes
        if part.endswith("_a")
    }
    one, other = (pairs.get(part, shapes.get(part)) for part in _FACTORS_OF[change.kind])
    if one is None or other is None:
        return None
    if change.kind == HADAMARD:
        return one if one == other else None
    return one[0] * other[0], one[1] * other[1]


def _product_size(up: tuple[int, int], down: tuple[int, int]) -> tuple[int, int] | None:
    return (up[0], down[1]) if up[1] == down[0] else None


def _rows_and_columns(shape: Sequence[int]) -> tuple[int, int]:
    """Of a weight seen as a matrix; a scalar or vector has one column."""
    columns = 1
    for side in shape[1:]:
        columns *= side
    return (shape[0] if shape else 1), columns

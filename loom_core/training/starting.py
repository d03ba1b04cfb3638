"""The model that a stage starts with: from plain Wan 2.2, from the stage before, or from nothing.

Parts that the starting weights lack get their starting values, under which they contribute nothing: the projector's
last layer and the source embedding are zero. Nothing else may be missing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..config.model import DiTConfig
from ..config.training import Precision, TrainingConfig
from ..data.seeds import seeded_generator
from ..errors import WeightsError
from ..lora.adapters import Adapters
from ..lora.lora_file import open_lora, shapes_of
from ..lora.targets import choose
from ..models.dit import LoomDiT
from ..models.initialise import initialise, initialise_additions
from ..weights.checkpoint import Checkpoint
from ..weights.checks import require_dit, require_keys
from ..weights.detect import detect_config
from ..weights.filling import read_weights
from ..weights.hashing import samples_sha256
from ..weights.identify import ModelKind
from ..weights.loading import ADDITIONS, key_report
from ..weights.reading import open_checkpoint
from .checkpoint import STATE_FILE, read_state

_PURPOSE = "starting weights"
_MAY_DIFFER = ("has_source", "has_projector", "rope_precision")


@dataclass(frozen=True)
class Start:
    """What a run starts with.

    Args:
        path: The starting weights; None for random ones.
        kind: What they are.
        added: Parameters that they lack, which get their starting values.
        step: Of the run that they are of, if they are a run's.
        steps: Of that run in all.
    """

    path: Path | None
    kind: ModelKind | None
    added: tuple[str, ...] = ()
    step: int | None = None
    steps: int | None = None

    def __str__(self) -> str:
        if self.path is None or self.kind is None:
            return "random weights"
        parts = sorted({name.partition(".")[0] for name in self.added})
        more = f"; starting values for {', '.join(parts)}" if parts else ""
        return f"{self.path} ({self.kind.value}{self._progress}){more}"

    @property
    def _progress(self) -> str:
        """How far the run was that the weights are of."""
        if self.step is None:
            return ""
        if self.steps is None:
            return f", step {self.step}"
        return f", step {self.step} of {self.steps}" + (": NOT FINISHED" if self.step < self.steps else "")


def weight_dtype(precision: Precision) -> torch.dtype:
    """The number format of the model's weights."""
    return torch.bfloat16 if precision == "bf16" else torch.float32


def check_start(config: TrainingConfig) -> Start:
    """Look at the headers of the starting weights, before anything large is read.

    Raises:
        WeightsError: They are missing, damaged, of another model or other sizes, or have a part that the config's
            model has not; or they cannot be the base of the config's LoRA.
        ConfigError: The config's LoRA does not fit the model.
    """
    if config.starts_from is None:
        return Start(None, None)
    checkpoint, wanted = _open(config), config.model.dit_config()
    model = LoomDiT(wanted, device="meta")
    added = _lacking(checkpoint, model)
    require_keys(key_report(checkpoint, model, ignore=dict.fromkeys(added)), checkpoint.path)
    _check_lora(config, model, added)
    return Start(config.starts_from, checkpoint.kind, added, *_progress_of(checkpoint))


def starting_model(config: TrainingConfig, *, device: torch.device | str = "cpu") -> LoomDiT:
    """The model that a run starts with, in its precision, all of it trained.

    Args:
        config: Names the sizes, the starting weights and the precision.
        device: Where the weights go.

    Raises:
        WeightsError: See `check_start`.
    """
    dtype, wanted = weight_dtype(config.precision), config.model.dit_config()
    generator = seeded_generator(config.seed, _PURPOSE)
    if config.starts_from is None:
        model = LoomDiT(wanted)
        initialise(model, generator=generator)
        return choose_trained(model.to(device=device, dtype=dtype))
    start = check_start(config)
    checkpoint = _open(config)
    model = LoomDiT(wanted, device="meta")
    state = _additions(model, start.added, generator=generator)
    state |= read_weights(checkpoint, checkpoint.naming.sources)
    # Copies: what was read may be a view of the file, which training would write to.
    placed = {name: tensor.to(device=device, dtype=dtype, copy=True) for name, tensor in state.items()}
    model.load_state_dict(placed, strict=True, assign=True)
    return choose_trained(model)


def add_lora(model: LoomDiT, config: TrainingConfig, *, is_new: bool = True) -> Adapters:
    """Put the LoRA of a config on its starting model, the only thing that is trained from here on.

    Args:
        model: From `starting_model`.
        config: Has a LoRA.
        is_new: Give it its starting values; else a checkpoint will.

    Raises:
        WeightsError: The file that it starts from does not fit.
    """
    assert config.lora is not None
    adapters = Adapters(
        model, config.lora, generator=seeded_generator(config.seed, "lora"), base=samples_sha256(_open(config))
    )
    if config.lora.starts_from is not None and is_new:
        adapters.start_from(config.lora.starts_from)
    return adapters


def empty_model(config: TrainingConfig, *, device: torch.device | str = "cpu") -> LoomDiT:
    """A model of the config's sizes and precision whose weights are still to be filled in, from a checkpoint.

    Args:
        config: Names sizes and precision.
        device: Where the weights go.
    """
    model = LoomDiT(config.model.dit_config(), device="meta", dtype=weight_dtype(config.precision))
    return choose_trained(model.to_empty(device=device))


def choose_trained(model: LoomDiT) -> LoomDiT:
    """Mark what a run trains, which everything else asks `requires_grad` for: the whole model unless a LoRA is."""
    return model.train().requires_grad_(True)


def _open(config: TrainingConfig) -> Checkpoint:
    """The starting weights, of the config's sizes."""
    path = config.starts_from
    assert path is not None
    if not path.exists():
        raise WeightsError(
            f"no file or folder {path}, which run {config.name!r} starts from",
            expected="the run folder of the stage before, a LoomVideo checkpoint or plain Wan 2.2 TI2V-5B weights",
            fix="train the stage before, or name other weights with --set starts_from=PATH",
        )
    checkpoint = open_checkpoint(path, ema=config.starts_from_ema)
    require_dit(checkpoint, allow_plain_wan=True)
    wanted = config.model.dit_config()
    _check_sizes(detect_config(checkpoint, _hint(checkpoint, wanted)), wanted, path)
    return checkpoint


def _check_lora(config: TrainingConfig, model: LoomDiT, added: tuple[str, ...]) -> None:
    """Refuse a LoRA that cannot be trained on these weights."""
    if config.lora is None:
        return
    if added:
        raise WeightsError(
            f"{config.starts_from}, which lacks {len(added)} weights of the model (the first is {added[0]})",
            expected="whole LoomVideo weights, to which a LoRA adds no parts",
            fix="start from the released weights or a later stage, or train without `lora:`",
        )
    choose(model, config.lora)
    if config.lora.starts_from is not None:
        open_lora(config.lora.starts_from, shapes_of(model.config))


def _progress_of(checkpoint: Checkpoint) -> tuple[int | None, int | None]:
    """Step that a run's weights are of, and its steps in all, where that is known."""
    folder = checkpoint.files[0].parent
    if not (folder / STATE_FILE).is_file():
        return None, None
    state = read_state(folder)
    return state.step, state.settings.get("steps")


def _hint(checkpoint: Checkpoint, wanted: DiTConfig) -> DiTConfig | None:
    """A plain Wan file shows neither the MLLM's width nor, when small, that of its heads; then the config's hold."""
    return None if checkpoint.kind.is_loomvideo else wanted


def _check_sizes(found: DiTConfig, wanted: DiTConfig, path: Path) -> None:
    names = [name for name in asdict(wanted) if name not in _MAY_DIFFER]
    if not found.has_projector:
        names.remove("mllm_dim")
    wrong = [
        f"{name} {getattr(found, name)} instead of {getattr(wanted, name)}"
        for name in names
        if getattr(found, name) != getattr(wanted, name)
    ]
    if found.has_source and not wanted.has_source:
        wrong.append("a source embedding, which the config's model has not")
    if wrong:
        raise WeightsError(
            f"{path}, with {', '.join(wrong)}",
            expected="weights of the model that the config describes",
            fix="correct `model:` in the config, or start from other weights",
        )


def _lacking(checkpoint: Checkpoint, model: LoomDiT) -> tuple[str, ...]:
    """Whole parts of LoomVideo that a file has nothing of."""
    sources = checkpoint.naming.sources
    absent = tuple(part for part in ADDITIONS if not any(name.startswith(part) for name in sources))
    return tuple(name for name in model.state_dict() if name.startswith(absent)) if absent else ()


def _additions(model: LoomDiT, names: tuple[str, ...], *, generator: torch.Generator) -> dict[str, Tensor]:
    """Starting values, on the CPU, of parts that are still on the meta device."""
    if not names:
        return {}
    for part in ADDITIONS:
        if hasattr(model, part.rstrip(".")):
            getattr(model, part.rstrip(".")).to_empty(device="cpu")
    initialise_additions(model, generator=generator)
    state = model.state_dict()
    return {name: state[name].clone() for name in names}

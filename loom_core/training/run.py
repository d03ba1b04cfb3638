"""A run put together from its plan: starting weights or a checkpoint, frozen parts, data, validation, trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..atomic import atomic_target, make_folder
from ..bundle import default_preset_name
from ..config.presets import get_preset
from ..config.reading import flatten, to_yaml
from ..config.training import TrainingConfig
from ..data.opening import open_packs
from ..data.packing import PackStream
from ..data.problems import bad_samples
from ..data.seeds import derive_seed
from ..lora.adapters import Adapters
from ..mllm.encoder import QwenEncoder
from ..models.dit import LoomDiT
from ..protocols import VideoCodec
from .checkpoint import load_checkpoint
from .ema import Ema
from .frozen import codec_dtype
from .held_out import HeldOutSamples
from .interruption import IsStopped, never_stopped
from .objective import ObjectiveSettings, PackObjective
from .optimiser import Optimiser
from .pictures import SamplePictures, in_turn
from .placing import remove_leftovers
from .planning import RunPlan
from .prompt_cache import PromptCache, prompts_of
from .prompts import PromptBatches
from .ranks import OneRank, Ranks
from .read_ahead import ReadAhead, check_possible
from .run_lock import RunLock
from .starting import add_lora, empty_model, starting_model
from .trainer import Trainer
from .validation import Validator
from .watch.metrics_file import METRICS_FILE, is_measured
from .watch.observer import TrainingObserver

CONFIG_FILE = "config.yaml"
"""The settings of a run in its folder; a config file like any other."""
_ASKED_BETWEEN_NOTES = 20


@dataclass(frozen=True)
class Trained:
    """What is trained, at the place where a run stands.

    Args:
        model: All of it, frozen weights too.
        optimiser: Of the weights that are trained.
        ema: Averages of these, if any.
        adapters: The LoRA that is trained, if it is one.
    """

    model: LoomDiT
    optimiser: Optimiser
    ema: Ema | None
    adapters: Adapters | None


@dataclass(frozen=True)
class RunParts:
    """What a run is made of, loaded.

    Args:
        plan: Of the run.
        device: Of all parts.
        trained: The model.
        objective: Runs it.
        codec: Frozen.
        encoder: The MLLM, frozen; None where its answers are kept (`prompt_cache`).
    """

    plan: RunPlan
    device: torch.device
    trained: Trained
    objective: PackObjective
    codec: VideoCodec
    encoder: QwenEncoder | None


Averages = Callable[[Mapping[str, Tensor], TrainingConfig], Ema | None]
"""Makes the averaged weights that a config asks for, of the trained weights by name."""


def plain_averages(weights: Mapping[str, Tensor], config: TrainingConfig) -> Ema | None:
    """The averaged weights that a config asks for."""
    return Ema(weights, decay=config.ema) if config.ema else None


def _plain_trainer(parts: RunParts, arguments: Mapping[str, Any]) -> Trainer:
    """The trainer of flow matching."""
    return Trainer(parts.plan.config, **arguments)


def open_trainer(
    plan: RunPlan,
    *,
    device: torch.device,
    observer: TrainingObserver,
    ranks: Ranks | None = None,
    is_stopped: IsStopped = never_stopped,
    averages: Averages = plain_averages,
    build: Callable[[RunParts, Mapping[str, Any]], Trainer] = _plain_trainer,
) -> Trainer:
    """Load everything and return the trainer at the place where the run stands.

    Args:
        plan: From `planning.plan_run`.
        device: Of all parts.
        observer: Is told what happens.
        ranks: The processes of the run.
        is_stopped: Asked while prompts are kept, which takes long (`prompt_cache`).
        averages: Makes the averaged weights of another kind of run.
        build: Makes its trainer, of the parts and of what every trainer is given beside the config.

    Raises:
        CancelledError: It said yes.
        OutputError: Another process trains in the run's folder.
        LoomError: Something does not fit or cannot be read; see the parts.
    """
    ranks = ranks or OneRank()
    make_run_folder(plan.config.run)
    lock = RunLock(plan.config.run) if ranks.rank == 0 else None
    try:
        parts, arguments = _open_locked(
            plan, lock, device=device, observer=observer, ranks=ranks, is_stopped=is_stopped, averages=averages
        )
        return build(parts, arguments)
    except BaseException:
        if lock is not None:
            lock.release()
        raise


def _open_locked(
    plan: RunPlan,
    lock: RunLock | None,
    *,
    device: torch.device,
    observer: TrainingObserver,
    ranks: Ranks,
    is_stopped: IsStopped,
    averages: Averages,
) -> tuple[RunParts, dict[str, Any]]:
    """What the trainer of a folder is made of in which no other process trains; it releases the lock at its end."""
    config = plan.config
    if lock is not None:
        remove_leftovers(config.run)
        _write_config(config)
    codec = plan.files.load_codec(device=device)
    packs: PackStream | ReadAhead = _packs(plan, codec, device=device, ranks=ranks)
    held_out = HeldOutSamples(config, plan.held_out, codec) if config.validation.is_on else None
    kept = _kept_prompts(plan, codec, held_out, device=device, observer=observer, ranks=ranks, is_stopped=is_stopped)
    # nothing draws from torch's own generator yet; a checkpoint has its state
    torch.manual_seed(derive_seed(config.seed, "torch", ranks.rank))
    trained = _trained(plan, device=device, ranks=ranks, averages=averages)
    encoder = None if kept is not None else _load_mllm(plan, device=device)
    read_prompts = kept if encoder is None else PromptBatches(encoder)
    assert read_prompts is not None
    objective = PackObjective(trained.model, read_prompts, ObjectiveSettings.of(config))
    if config.read_ahead:
        check_possible(device)
        packs = ReadAhead(packs, prepare=objective.prepare, accept=objective.accept, depth=config.read_ahead)
    validator, pictures = _measures(plan, codec, objective, held_out, trained)
    if config.validation.every and not config.validation.sets:
        observer.on_note("validation.sets names no held-out samples: no validation losses and no sample pictures")

    def end() -> None:
        packs.close()
        if lock is not None:
            lock.release()

    arguments = {
        "model": trained.model,
        "optimiser": trained.optimiser,
        "ema": trained.ema,
        "adapters": trained.adapters,
        "packs": packs,
        "on_end": end,
        "objective": objective,
        "state": replace(plan.state, settings=flatten(config)),
        "observer": observer,
        "bad_samples": bad_samples,
        "validate": validator,
        "draw_samples": pictures,
        "is_measured": plan.state.step == 0 or is_measured(config.run / METRICS_FILE, plan.state.step),
        "ranks": ranks,
    }
    return RunParts(plan, device, trained, objective, codec, encoder), arguments


def _trained(plan: RunPlan, *, device: torch.device, ranks: Ranks, averages: Averages) -> Trained:
    """The model at the place where the run stands, and what belongs to it."""
    config, is_new = plan.config, plan.checkpoint is None
    has_base = is_new or config.lora is not None  # the frozen weights of a LoRA are in none of its checkpoints
    model = starting_model(config, device=device) if has_base else empty_model(config, device=device)
    adapters = add_lora(model, config, is_new=is_new) if config.lora is not None else None
    ranks.shard(model)
    optimiser = Optimiser(model, config.optimiser, sum_over_ranks=ranks.sum)
    trained = Trained(model, optimiser, averages(optimiser.weights, config), adapters)
    if plan.checkpoint is not None:
        load_checkpoint(
            plan.checkpoint,
            model=model,
            optimiser=optimiser,
            ema=trained.ema,
            adapters=adapters,
            rank=ranks.rank,
        )
    return trained


def _load_mllm(plan: RunPlan, *, device: torch.device) -> QwenEncoder:
    place = torch.device("cpu") if plan.config.mllm_device == "cpu" else device
    return plan.files.load_mllm(plan.config, device=place)


def _kept_prompts(
    plan: RunPlan,
    codec: VideoCodec,
    held_out: HeldOutSamples | None,
    *,
    device: torch.device,
    observer: TrainingObserver,
    ranks: Ranks,
    is_stopped: IsStopped,
) -> PromptCache | None:
    """The states of all prompts that the run will ask about, where it keeps them; the MLLM is let go of again.

    Latents get into their cache by the way, before the model takes the device's memory.
    """
    config = plan.config
    if config.prompt_cache is None:
        return None
    identity = plan.files.mllm_identity(config)
    cache = PromptCache(
        config.prompt_cache, identity=identity, load=lambda: PromptBatches(_load_mllm(plan, device=device))
    )
    packs = _packs(plan, codec, device=device, ranks=ranks)
    count = (config.steps - plan.state.step) * config.grad_accumulation
    try:
        observer.on_note(f"asks the MLLM about the prompts of {count} packs that are not in {config.prompt_cache}")
        prompts = prompts_of(
            packs,
            ObjectiveSettings.of(config),
            count=count,
            held_out=held_out or (),
            pictured=in_turn(held_out or (), config.validation.pictures),
        )
        asked = cache.fill(prompts, tell=partial(_tell_of_asked, observer), is_stopped=is_stopped)
        observer.on_note(f"{asked} prompts asked; the MLLM is let go of")
    finally:
        packs.close()
        cache.release()
    return cache


def _tell_of_asked(observer: TrainingObserver, asked: int) -> None:
    if asked % _ASKED_BETWEEN_NOTES == 0:
        observer.on_note(f"{asked} prompts asked so far")


def _measures(
    plan: RunPlan,
    codec: VideoCodec,
    objective: PackObjective,
    held_out: HeldOutSamples | None,
    trained: Trained,
) -> tuple[Validator | None, SamplePictures | None]:
    """What is made of held-out samples."""
    config, settings = plan.config, plan.config.validation
    if held_out is None:
        return None, None
    model, ema = trained.model, trained.ema
    validator = Validator(held_out, objective, model=model, ema=ema, levels_per_sample=settings.levels_per_sample)
    if not settings.pictures:
        return validator, None
    preset = get_preset(default_preset_name(config.model.dit_config()))
    pictures = SamplePictures(
        held_out,
        objective,
        codec,
        model=model,
        ema=ema,
        preset=preset,
        count=settings.pictures,
        steps=settings.picture_steps,
    )
    return validator, pictures


def make_run_folder(run: Path) -> None:
    """Make a run's folder, unless it is there.

    Raises:
        OutputError: It cannot be made.
    """
    make_folder(run, what="the run's folder", fix="give another --run")


def _write_config(config: TrainingConfig) -> None:
    """Keep the settings as they were put together, so that the run can be made again."""
    with atomic_target(config.run / CONFIG_FILE) as temporary:
        temporary.write_text(to_yaml(config), encoding="utf-8")


def _packs(plan: RunPlan, codec: VideoCodec, *, device: torch.device, ranks: Ranks) -> PackStream:
    """The data from where the run stands on."""
    return open_packs(
        plan.config.data,
        seed=plan.config.seed,
        codec=codec,
        codec_identity=plan.files.codec_identity(codec_dtype(device)),
        reader=plan.files.load_reader(),
        rank=ranks.rank,
        world_size=ranks.size,
        state=plan.state.position_of(ranks.rank, size=ranks.size),
        strict=not plan.allow_config_change,
        sources=plan.sources,
    )

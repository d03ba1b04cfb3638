"""Checkpoints of a run: everything that the next step depends on, in one folder that is either whole or not there.

    run/checkpoints/step-001000/
        model.safetensors       the model, loadable by everything else (`weights.loading.load_dit`)
        ema.safetensors         averaged weights in float32, by the same names
        lora.safetensors, lora_ema.safetensors      of a run that trains a LoRA, in place of these two
        optimiser.safetensors   moments, counts and float32 copies, by weight; a folder `optimiser` of such files where
                                several ranks have a part of each
        rng.safetensors         torch's own generators, of each rank
        state.json              step, data position of each rank, counts, settings

Any number of ranks goes on from what any number of ranks wrote.

Differences from the official trainer: no pickles, averaged weights by name, the data position itself instead of an
estimated number of samples to skip, nothing partial is ever accepted.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial as bound
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..atomic import explained
from ..data.positions import position_for
from ..distributed.sharding import is_sharded, local_part, part_of, whole_of
from ..distributed.tensor_files import load_parts, save_parts
from ..errors import ResourceError, WeightsError
from ..lora.adapters import BASE_HASH_KEY, Adapters
from ..models.dit import LoomDiT
from ..weights.checkpoint import TensorInfo
from ..weights.detect import CONFIG_KEY, FORMAT, FORMAT_KEY, FORMAT_VERSION, FORMAT_VERSION_KEY
from ..weights.inspection import format_bytes
from ..weights.layouts import (
    OWN_EMA_FILE,
    OWN_LORA_EMA_FILE,
    OWN_LORA_FILE,
    OWN_MODEL_FILE,
    RUN_FOLDER,
    step_folder_name,
    step_folders,
)
from ..weights.safetensors_files import open_safetensors
from ..weights.saving import Entry, entries_of, save_safetensors, writing_order
from .ema import Ema
from .optimiser import Optimiser
from .placing import partial_of, put_in_place, remove_leftovers
from .ranks import OneRank, Ranks

OPTIMISER_FILE, OPTIMISER_FOLDER = "optimiser.safetensors", "optimiser"
RNG_FILE = "rng.safetensors"
STATE_FILE = "state.json"
STATE_VERSION = 1
_CPU_RNG, _CUDA_RNG = "cpu", "cuda"


@dataclass(frozen=True, kw_only=True)
class RunState:
    """Where a run stands, beside its tensors.

    Args:
        step: Optimiser steps done, skipped ones included.
        data: Position in the data of each rank, by its number, as the loader gives and takes it.
        settings: The run's config by dotted name.
        ema_updates: Of the averaged weights.
        skipped_steps: Steps without an update since the run began.
        skipped_in_a_row: Of these, the last ones without an update between them.
        bad_samples: Different samples left out since the run began.
        samples: Samples trained on since the run began.
        tokens: Target and reference tokens of these.
        seconds: Spent in steps since the run began.
        extra: What a kind of run keeps beside, as plain values.
    """

    step: int = 0
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    ema_updates: int = 0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    bad_samples: int = 0
    samples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def position_of(self, rank: int, *, size: int = 1) -> Mapping[str, Any] | None:
        """Where one of `size` ranks goes on in the data; None at the start of a run."""
        return position_for(self.data, rank=rank, world_size=size)


def newest_checkpoint(run: Path) -> Path | None:
    """The newest complete checkpoint of a run's folder; None if it has none."""
    complete = [path for path in step_folders(run).values() if (path / STATE_FILE).is_file()]
    return complete[-1] if complete else None


def save_checkpoint(
    run: Path,
    state: RunState,
    *,
    model: LoomDiT,
    optimiser: Optimiser,
    ema: Ema | None = None,
    adapters: Adapters | None = None,
    ranks: Ranks | None = None,
) -> Path:
    """Write a checkpoint; one of the same step is replaced once the new one is whole.

    The first rank writes, and all ranks their parts of the optimiser; a rank that ends meanwhile leaves nothing of it.

    Args:
        run: The run's folder; made if it is not there.
        state: Where the run stands.
        model: Its weights and sizes.
        optimiser: Of the model.
        ema: Averaged weights, if the run has them.
        adapters: The LoRA that is trained, if it is one: the model itself is not saved then.
        ranks: All of which call this together.

    Returns:
        The checkpoint's folder.

    Raises:
        OutputError: The folder cannot be written to.
        ResourceError: The disk is full. Older checkpoints are as they were, and nothing is left of this one.
    """
    folder = run / RUN_FOLDER / step_folder_name(state.step)
    partial = partial_of(folder)
    ranks = ranks or OneRank()
    tensors = _tensors(model, optimiser, ema, adapters, rng=ranks.gather(_rng_states()))
    about = _about(model) if adapters is None else adapters.about()
    if ranks.rank != 0:
        _take_part(partial, tensors, optimiser, ranks)
        return folder
    try:
        remove_leftovers(run)
        partial.mkdir(parents=True)
        ranks.gather(None)  # from here on others write there too
        if optimiser.is_sharded:
            save_parts(partial / OPTIMISER_FOLDER, optimiser.state(), like=bound(_weight_of, optimiser))
        _write(partial, tensors, state, about=about)
        put_in_place(partial, folder)
        remove_leftovers(run)
        ranks.gather(None)
    except (OSError, ResourceError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        known = explained(error, folder) if isinstance(error, OSError) else error
        raise (
            _no_room(run, folder, _size_of(tensors, optimiser)) if isinstance(known, ResourceError) else known
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _take_part(partial: Path, tensors: Mapping[str, Sequence[Entry]], optimiser: Optimiser, ranks: Ranks) -> None:
    """What another rank does while the first one writes."""
    ranks.gather(None)
    if optimiser.is_sharded:
        save_parts(partial / OPTIMISER_FOLDER, optimiser.state(), like=bound(_weight_of, optimiser))
        for entries in tensors.values():
            for entry in writing_order(entries):
                entry.load()
    ranks.gather(None)  # it is whole


def _weight_of(optimiser: Optimiser, name: str) -> Tensor:
    """The weight that a tensor of the optimiser's state belongs to."""
    return optimiser.parameters[name.partition(".")[2]]


def _size_of(tensors: Mapping[str, Sequence[Entry]], optimiser: Optimiser) -> int:
    """Bytes of a checkpoint: of what the first rank writes, and of what all ranks write their parts of."""
    size = sum(entry.info.num_bytes for entries in tensors.values() for entry in entries)
    if optimiser.is_sharded:
        parts = {name: part for name, part in optimiser.state().items() if part.dim()}
        size += sum(_weight_of(optimiser, name).numel() * part.element_size() for name, part in parts.items())
    return size


def _no_room(run: Path, folder: Path, size: int) -> ResourceError:
    """The disk filled up under a checkpoint of so many bytes, nothing of which is left."""
    last = newest_checkpoint(run)
    again = "begins anew, since there is no checkpoint yet" if last is None else f"goes on from {last.name}"
    return ResourceError(
        f"no space left for the checkpoint {folder.name} in the run's folder {run}: it takes {format_bytes(size)} in "
        f"all, {format_bytes(shutil.disk_usage(run).free)} are free",
        expected="room for the whole of it beside those that are there",
        fix=f"free some space and give the same command again, which {again}",
    )


def _tensors(
    model: LoomDiT,
    optimiser: Optimiser,
    ema: Ema | None,
    adapters: Adapters | None,
    *,
    rng: Sequence[Mapping[str, Tensor]],
) -> dict[str, list[Entry]]:
    """What goes into which file that the first rank writes."""
    weights = model.state_dict() if adapters is None else adapters.tensors()
    parts = {name: local_part(weight) for name, weight in weights.items()}
    averages = {}
    if ema is not None:
        of_trained = ema.weights if adapters is None else adapters.tensors(ema.weights)
        name = OWN_EMA_FILE if adapters is None else OWN_LORA_EMA_FILE
        averages = {name: whole_entries({**parts, **of_trained}, weights)}
    states = {_rng_name(name, rank): state for rank, own in enumerate(rng) for name, state in own.items()}
    return {
        OWN_MODEL_FILE if adapters is None else OWN_LORA_FILE: whole_entries(parts, weights),
        **averages,
        **({} if optimiser.is_sharded else {OPTIMISER_FILE: entries_of(optimiser.state())}),
        RNG_FILE: entries_of(states),
    }


def whole_entries(parts: Mapping[str, Tensor], likes: Mapping[str, Tensor]) -> list[Entry]:
    """Entries of whole tensors, put together from the ranks' parts as their turn comes."""
    entries = []
    for name, part in parts.items():
        like = likes[name]
        if is_sharded(like):
            entries.append(Entry(name, TensorInfo(tuple(like.shape), part.dtype), bound(whole_of, part, like)))
        else:
            entries += entries_of({name: part})
    return entries


def _about(model: LoomDiT) -> dict[str, str]:
    """Metadata of a model's file."""
    return {FORMAT_KEY: FORMAT, FORMAT_VERSION_KEY: str(FORMAT_VERSION), CONFIG_KEY: model.config.to_json()}


def _write(folder: Path, tensors: Mapping[str, Sequence[Entry]], state: RunState, *, about: Mapping[str, str]) -> None:
    for name, entries in tensors.items():
        is_weights = name not in (OPTIMISER_FILE, RNG_FILE)
        save_safetensors(folder / name, entries, metadata={**about, "step": str(state.step)} if is_weights else None)
    content = {"version": STATE_VERSION, **asdict(state)}
    with (folder / STATE_FILE).open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def read_state(folder: Path) -> RunState:
    """Where the run of a checkpoint stood.

    Raises:
        WeightsError: It is no checkpoint, is damaged, or a newer version wrote it.
    """
    try:
        content = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        version = content.pop("version")
        if version != STATE_VERSION:
            raise WeightsError(
                f"{folder}, of version {version!r}", expected=f"version {STATE_VERSION}", fix="update LoomVideo"
            )
        known = {entry.name for entry in fields(RunState)}
        return RunState(**{name: value for name, value in content.items() if name in known})
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise _damaged(folder, error) from error


def load_checkpoint(
    folder: Path,
    *,
    model: LoomDiT,
    optimiser: Optimiser,
    ema: Ema | None = None,
    adapters: Adapters | None = None,
    rank: int = 0,
) -> RunState:
    """Put a run back to where a checkpoint has it: weights, optimiser, averaged weights, torch's generators.

    Args:
        folder: The checkpoint.
        model: Of its sizes and precision.
        optimiser: Of the model.
        ema: Averaged weights, if the run has them; they begin at the weights where its settings say it had none.
        adapters: The LoRA that is trained, if it is one, on a model that has its own weights already.
        rank: This one, whose generators come back; where the run had fewer ranks they stay as they are.

    Returns:
        Where the run stood.

    Raises:
        WeightsError: It is damaged or of another model.
    """
    state = read_state(folder)
    try:
        if adapters is None:
            _load_model(model, load_file(folder / OWN_MODEL_FILE), folder)
        else:
            _check_base(folder, adapters)
            adapters.load(load_file(folder / OWN_LORA_FILE), folder)
        optimiser.load_state(_optimiser_state(folder, optimiser))
        if ema is not None:
            _load_averages(folder, state, ema, optimiser=optimiser, adapters=adapters)
        _restore_rng(load_file(folder / RNG_FILE), rank)
    except (OSError, SafetensorError, KeyError) as error:
        raise _damaged(folder, error) from error
    return state


def _load_averages(folder: Path, state: RunState, ema: Ema, *, optimiser: Optimiser, adapters: Adapters | None) -> None:
    """Put averaged weights back, or begin them at the weights where the run had none until now."""
    if not state.settings.get("ema", True):
        ema.load(optimiser.weights, updates=0)
        return
    averages = load_file(folder / (OWN_EMA_FILE if adapters is None else OWN_LORA_EMA_FILE))
    averages = averages if adapters is None else adapters.named(averages, folder)
    own = {name: part_of(averages[name], optimiser.parameters[name]) for name in ema.weights}
    ema.load(own, updates=state.ema_updates)


def _optimiser_state(folder: Path, optimiser: Optimiser) -> Mapping[str, Tensor]:
    """The tensors of an optimiser, or a rank's parts of them, whoever wrote them."""
    if (folder / OPTIMISER_FOLDER).is_dir():
        return load_parts(folder / OPTIMISER_FOLDER, like=bound(_weight_of, optimiser))
    state = load_file(folder / OPTIMISER_FILE)
    if not optimiser.is_sharded:
        return state
    return {name: part_of(tensor, _weight_of(optimiser, name)) for name, tensor in state.items()}


@torch.no_grad()
def _load_model(model: LoomDiT, weights: Mapping[str, Tensor], folder: Path) -> None:
    own = model.state_dict()
    wrong = sorted(own.keys() ^ weights.keys())
    wrong += [
        name
        for name, weight in weights.items()
        if name in own and (own[name].shape != weight.shape or own[name].dtype != weight.dtype)
    ]
    if wrong:
        raise WeightsError(
            f"{folder}, whose model differs in {len(wrong)} weights (the first is {wrong[0]})",
            expected="a model of the config's sizes and precision",
            fix="resume with the config that the run was started with",
        )
    for name, weight in weights.items():
        local_part(own[name]).copy_(part_of(weight, own[name]))


def _check_base(folder: Path, adapters: Adapters) -> None:
    """Refuse to go on with a LoRA on other weights than those that it was trained on.

    Raises:
        WeightsError: They are others.
    """
    trained_on = open_safetensors(folder / OWN_LORA_FILE).metadata.get(BASE_HASH_KEY, "")
    if trained_on != adapters.base:
        raise WeightsError(
            f"{folder}, whose LoRA was trained on other weights than those under starts_from",
            expected="the same weights (of a run's folder its newest checkpoint counts, which may be a later one)",
            fix="name the weights of then, or begin anew with this LoRA as lora.starts_from and another --run",
        )


def _rng_states() -> dict[str, Tensor]:
    states = {_CPU_RNG: torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"{_CUDA_RNG}.{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def _rng_name(name: str, rank: int) -> str:
    return name if rank == 0 else f"rank-{rank}.{name}"


def _restore_rng(states: Mapping[str, Tensor], rank: int) -> None:
    if _rng_name(_CPU_RNG, rank) not in states and rank:
        return  # a rank that there was not
    torch.set_rng_state(states[_rng_name(_CPU_RNG, rank)])
    names = [_rng_name(f"{_CUDA_RNG}.{index}", rank) for index in range(len(states))]
    on_gpus = [states[name] for name in names if name in states]
    if on_gpus and torch.cuda.is_available() and torch.cuda.device_count() == len(on_gpus):
        torch.cuda.set_rng_state_all(on_gpus)


def _damaged(folder: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"{folder}, which cannot be read as a checkpoint ({type(error).__name__}: {error})",
        expected=f"a folder with {OWN_MODEL_FILE}, {OPTIMISER_FILE} and {STATE_FILE}",
        fix="resume from an older one with --resume FOLDER, or start anew with --resume never",
    )

"""From settings to packs: sets opened and checked, mixed, decoded, cached, packed.

packs = open_packs(config, seed=0, codec=codec, codec_identity="wan2.2 1f3a...", reader=PromptReader.load(folder))
pack = next(packs)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..config.data import DataConfig, DataSetConfig
from ..config.reading import unknown_name
from ..errors import ConfigError, MediaError
from ..mllm.reader import PromptReader
from ..protocols import VideoCodec
from .cache import LatentCache
from .encoding import encode_sample
from .files import FileSource
from .folder import FolderRecords
from .framing import Framing
from .manifest import ManifestRecords
from .mixture import Mixture, set_weights
from .packing import PackStream, prompt_counter
from .problems import BadSampleGuard
from .records import Records, check_found
from .sample import SampleError, SampleSource
from .shortened import ShortenedSource
from .single_json import DEFAULT_FOLDER, SingleJsonRecords
from .stream import SampleStream
from .tasks import TrainingTask, training_task
from .world.source import world_source

DTYPES: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp32": torch.float32}
"""Number formats of latents by name."""
_LOOKED_AT = 8
"""Samples of a set, spread over it, that are looked at when it is opened."""


def open_packs(
    config: DataConfig,
    *,
    seed: int,
    codec: VideoCodec,
    codec_identity: str,
    reader: PromptReader,
    rank: int = 0,
    world_size: int = 1,
    state: Mapping[str, Any] | None = None,
    strict: bool = True,
    sources: Sequence[SampleSource] | None = None,
) -> PackStream:
    """The packs that a rank is trained on, without end.

    Args:
        config: What from.
        seed: Of the run; the same for all ranks.
        codec: Makes latents.
        codec_identity: Tells the codec's weights from others, such as their hash.
        reader: Of the MLLM that reads the prompts; counts their tokens.
        rank: Of this process.
        world_size: Number of ranks.
        state: Of an earlier run (`Pack.state`), to go on after that pack.
        strict: Refuse a state of other data; else go on at about the same place, with a warning.
        sources: The sets, where `open_sources` has opened them already.

    Raises:
        ConfigError: A setting makes no sense, or the state belongs to other data.
        MediaError: A set is empty, or too many of its samples cannot be used.
        OutputError: The cache's folder cannot be created.
        MissingExtraError: A package for decoding is not installed.
    """
    samples = open_samples(
        config,
        seed=seed,
        codec=codec,
        codec_identity=codec_identity,
        rank=rank,
        world_size=world_size,
        state=state,
        strict=strict,
        sources=sources,
    )
    return PackStream(
        samples,
        token_budget=config.token_budget,
        max_samples=config.max_samples_per_pack,
        prompt_tokens=prompt_counter(reader, source_to_mllm=config.source_to_mllm, prompt_order=config.prompt_order),
    )


def open_samples(
    config: DataConfig,
    *,
    seed: int,
    codec: VideoCodec,
    codec_identity: str,
    rank: int = 0,
    world_size: int = 1,
    state: Mapping[str, Any] | None = None,
    strict: bool = True,
    sources: Sequence[SampleSource] | None = None,
) -> SampleStream:
    """The samples that packs are made of; see `open_packs`."""
    sources = open_sources(config) if sources is None else sources
    return SampleStream(
        sources,
        Mixture([len(source) for source in sources], set_weights(config), seed=seed),
        encode=partial(
            encode_sample,
            codec=codec,
            dtype=DTYPES[config.latent_dtype],
            source_to_mllm=config.source_to_mllm,
            source_to_dit=config.source_to_dit,
        ),
        guard=BadSampleGuard(max_share=config.max_bad_share, min_bad=config.min_bad_samples),
        cache=open_cache(config, codec_identity=codec_identity),
        clip_variants=config.clip_variants,
        rank=rank,
        world_size=world_size,
        workers=config.workers,
        prefetch=config.prefetch,
        state=state,
        strict=strict,
    )


def open_cache(config: DataConfig, *, codec_identity: str) -> LatentCache | None:
    """The cache that a configuration asks for, if it does."""
    if config.cache is None:
        return None
    parts = f"mllm {config.source_to_mllm} dit {config.source_to_dit} {config.latent_dtype}"
    return LatentCache(config.cache, identity=f"{codec_identity}\n{parts}", reserve=config.cache_reserve_gb * 10**9)


def open_sources(config: DataConfig) -> list[SampleSource]:
    """Every set of a configuration, in its order."""
    framing = Framing.of(config)
    return [open_source(entry, framing, max_bad_share=config.max_bad_share) for entry in config.sets]


def open_source(config: DataSetConfig, framing: Framing, *, max_bad_share: float) -> SampleSource:
    """One set.

    Raises:
        ConfigError: A setting makes no sense.
        MediaError: It is empty, too many of its samples cannot be used, or none of a few is one of the task.
        MissingExtraError: A package for decoding is not installed.
    """
    source: SampleSource
    if config.kind == "world":
        source = world_source(config.options, name=config.label)
    else:
        records = _records(config)
        check_found(records, max_bad_share=max_bad_share, where=_path(config))
        source = FileSource(records, framing)
        _check_some(source, config)
    if config.max_samples is not None and config.max_samples < len(source):
        source = ShortenedSource(source, config.max_samples)
    return source


def _check_some(source: SampleSource, config: DataSetConfig) -> None:
    """Refuse a set of which no sample is what the task needs, by a look at a few, one of which is enough.

    Raises:
        MediaError: None of them can be used.
    """
    indices = range(0, len(source), math.ceil(len(source) / _LOOKED_AT))
    reasons = []
    for index in indices:
        try:
            source.describe(index)
        except SampleError as error:
            reasons.append(str(error))
        else:
            return
    raise MediaError(
        f"{len(indices)} of {len(indices)} samples looked at in {_path(config)} that cannot be used ({reasons[0]})",
        expected=f"samples of {' or '.join(config.tasks) or 'the task in the row'}, all files where the set says",
        fix=f"correct `tasks:` or `path:` of set {config.label}; docs/training.md has the layouts",
    )


def _records(config: DataSetConfig) -> Records:
    path, name = _path(config), config.label
    tasks = [training_task(task) for task in config.tasks]
    known = ("json_dir",) if config.kind == "single_jsons" else ()
    for option in config.options:
        if option not in known:
            raise unknown_name(f"{name}.options.{option}", option, known)
    if config.kind == "manifest":
        return ManifestRecords(path, tasks, name=name)
    task = _only(tasks, config)
    if config.kind == "folder":
        return FolderRecords(path, task, name=name)
    return SingleJsonRecords(path, task, name=name, json_dir=str(config.options.get("json_dir", DEFAULT_FOLDER)))


def _path(config: DataSetConfig) -> Path:
    assert config.path is not None
    return config.path.expanduser()


def _only(tasks: list[TrainingTask], config: DataSetConfig) -> TrainingTask:
    if len(tasks) != 1:
        raise ConfigError(
            f"{len(tasks)} tasks of the {config.kind} set {config.label}",
            expected="exactly one",
            fix="write `tasks: [text-to-video]`, or use a manifest for several",
        )
    return tasks[0]

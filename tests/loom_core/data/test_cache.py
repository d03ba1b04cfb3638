"""Latents on disk: what comes back, what another name is, damage, and a full disk."""

from __future__ import annotations

import errno
import logging
import shutil
from pathlib import Path

import pytest
import torch

from loom_core.data.cache import LatentCache
from loom_core.data.sample import EncodedSample
from loom_core.data.tasks import training_task
from loom_core.errors import OutputError
from loom_core.types import Clip


def sample_of(**changes):
    generator = torch.Generator().manual_seed(0)

    def latents(*shape):
        return torch.randn(*shape, generator=generator).bfloat16()

    def pictures(frames):
        return torch.randint(0, 256, (frames, 32, 64, 3), generator=generator, dtype=torch.uint8)

    values = {
        "key": "one 64x32",
        "task": training_task("reference-edit"),
        "instruction": "mach es grün",
        "target": latents(48, 3, 2, 4),
        "source": latents(48, 3, 2, 4),
        "references": (latents(48, 1, 2, 4), latents(48, 1, 4, 2)),
        "mllm_source": Clip(pictures(4), 24.0),
        "mllm_references": (Clip(pictures(1), 0.0, is_image=True), Clip(pictures(1), 0.0, is_image=True)),
    }
    return EncodedSample(**{**values, **changes})


def tensors(sample):
    clips = [clip for clip in (sample.mllm_source, *sample.mllm_references) if clip is not None]
    latents = [part for part in (sample.target, sample.source, *sample.references) if part is not None]
    return latents + [clip.frames for clip in clips]


@pytest.fixture
def cache(tmp_path):
    return LatentCache(tmp_path / "cache", identity="codec")


def stored(cache, sample, name="a" * 64):
    cache.store(name, sample)
    return cache.load(name)


def test_everything_comes_back(cache):
    sample = sample_of()
    found = stored(cache, sample)
    assert (found.key, found.task, found.instruction, found.seed) == (sample.key, sample.task, sample.instruction, 0)
    assert all(
        torch.equal(*pair) and pair[0].dtype == pair[1].dtype
        for pair in zip(tensors(found), tensors(sample), strict=True)
    )
    assert (found.mllm_source.fps, found.mllm_source.is_image) == (24.0, False)
    assert all(clip.is_image and clip.fps == 0 for clip in found.mllm_references)
    assert (cache.damaged, cache.is_full) == (0, False)


def test_parts_that_are_not_there(cache):
    found = stored(cache, sample_of(source=None, mllm_source=None, references=(), mllm_references=()))
    assert (found.source, found.mllm_source, found.references, found.mllm_references) == (None, None, (), ())


def test_a_reconstruction_is_kept_once(cache):
    sample = sample_of(task=training_task("reconstruct-video"), references=(), mllm_references=())
    same = sample_of(task=sample.task, target=sample.target, source=sample.target, references=(), mllm_references=())
    found = stored(cache, same)
    assert found.source is found.target
    assert torch.equal(found.target, sample.target)


def test_names_follow_everything(cache, tmp_path):
    names = {
        cache.name_of("f", variant=0),
        cache.name_of("f", variant=1),
        cache.name_of("g", variant=0),
        LatentCache(tmp_path / "cache", identity="other codec").name_of("f", variant=0),
    }
    assert len(names) == 4
    assert cache.name_of("f", variant=0) in names


def test_nothing_there(cache):
    assert not cache.has("b" * 64)
    assert cache.load("b" * 64) is None
    assert cache.damaged == 0


def entry(cache):
    (path,) = cache.folder.rglob("*.safetensors")
    return path


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:5],
        lambda content: b"",
        lambda content: b"not safetensors at all",
        lambda content: content[:-7] + bytes([content[-7] ^ 1]) + content[-6:],
    ],
    ids=["cut", "header", "empty", "other", "flipped"],
)
def test_damage_is_found_counted_and_removed(cache, caplog, damage):
    stored(cache, sample_of())
    path = entry(cache)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.load("a" * 64) is None
    assert cache.damaged == 1
    assert "damaged" in caplog.text
    assert not cache.has("a" * 64)
    assert stored(cache, sample_of()) is not None


def test_a_full_disk_switches_it_off_with_one_warning(cache, caplog, monkeypatch):
    stored(cache, sample_of())

    def no_room(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_room)
    with caplog.at_level(logging.WARNING):
        cache.store("b" * 64, sample_of())
        cache.store("c" * 64, sample_of())
    (message,) = caplog.messages
    assert "no space left" in message
    assert "training goes on" in message
    assert cache.is_full
    assert [path.name[0] for path in cache.folder.rglob("*") if path.is_file()] == ["a"]  # no part of a file is left
    assert cache.load("a" * 64) is not None  # what is there is still served


def test_the_reserve_of_the_disk_is_left_free(tmp_path, caplog, monkeypatch):
    """Else the cache of a large set fills the disk, and checkpoints, which are worth more, find no room."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("loom_core.data.cache.shutil.disk_usage", lambda folder: usage._replace(free=50_000))
    size = stored_size(tmp_path / "free")
    for reserve, is_kept in [(50_000 - size, True), (50_000 - size + 1, False)]:
        cache = LatentCache(tmp_path / str(reserve), identity="codec", reserve=reserve)
        cache.store("a" * 64, sample_of())
        cache.store("b" * 64, sample_of())
        assert (cache.has("a" * 64), cache.has("b" * 64), cache.is_full) == (is_kept, is_kept, not is_kept)
    (message,) = caplog.messages
    assert "0.0 GB free" in message
    assert "cache_reserve_gb" in message
    assert "training goes on" in message


def stored_size(folder):
    cache = LatentCache(folder, identity="codec")
    cache.store("a" * 64, sample_of())
    return entry(cache).stat().st_size


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cache"):
        LatentCache(tmp_path / "file" / "cache", identity="codec")

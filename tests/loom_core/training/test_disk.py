"""Needs of a run beside what the disk has: told, and refused where the first checkpoints find no room."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from loom_core.config.training import CheckpointSettings
from loom_core.errors import ConfigError
from loom_core.training import disk as subject
from loom_core.training.checkpoint import newest_checkpoint
from loom_core.training.disk import DiskNeeds, disk_needs
from loom_core.training.estimate import training_needs


@pytest.fixture
def has(monkeypatch, tmp_path):
    """Gives the disk so many bytes that are free."""
    usage = shutil.disk_usage(tmp_path)

    def give(free, total=usage.total):
        monkeypatch.setattr(subject.shutil, "disk_usage", lambda _: usage._replace(free=free, total=total))

    return give


def needs_of(config, *, done=0):
    return disk_needs(config, done=done, lengths=[5])


def test_a_run_needs_room_for_the_next_checkpoint_beside_those_it_keeps(config):
    config = replace(config, steps=100, checkpoint=CheckpointSettings(every=10, keep_last=3))
    needs = needs_of(config)
    assert (needs.least, needs.most) == (2, 4)
    assert needs.checkpoint == training_needs(config).checkpoint
    assert not config.run.exists()
    assert needs_of(replace(config, steps=10)).most == 1
    assert needs_of(config, done=95).most == 1
    assert needs_of(config, done=100).most == 0


def test_what_lies_there_needs_no_room_again(config, make_trainer):
    config = replace(config, checkpoint=CheckpointSettings(every=2, keep_last=2))
    make_trainer(config).run()
    needs = needs_of(replace(config, steps=20), done=6)
    assert (needs.least, needs.most) == (1, 1)
    saved = sum(path.stat().st_size for path in newest_checkpoint(config.run).iterdir())
    assert needs.checkpoint == pytest.approx(saved, rel=0.1)


@pytest.mark.parametrize(("room", "is_refused", "verdict"), [
    (1.9, True, "DOES NOT FIT"), (2.1, False, "NOT ENOUGH for all"), (4.1, False, "fits"),
])  # fmt: skip
def test_too_little_for_the_first_and_its_successor_is_refused(config, has, room, is_refused, verdict):
    config = replace(config, steps=100, checkpoint=CheckpointSettings(every=10))
    has(int(room * training_needs(config).checkpoint))
    needs = needs_of(config)
    (line,) = needs.lines()
    assert "room for 4 more at once" in line
    assert line.endswith(f"free: {verdict}")
    if is_refused:
        with pytest.raises(ConfigError, match=r"free on the disk of .*run; expected .* for 2 checkpoints of .*--run"):
            needs.check()
    else:
        needs.check()


def test_a_system_that_does_not_tell_is_believed_to_have_room(config, has):
    has(0, total=0)
    needs = needs_of(config)
    needs.check()
    assert "free" not in needs.lines()[0]


def test_what_a_killed_process_left_counts_as_free(config, has):
    partial = config.run / "checkpoints" / ".step-000010.partial"
    partial.mkdir(parents=True)
    (partial / "model.safetensors").write_bytes(bytes(5_000))
    has(1_000)
    assert needs_of(config).free == 6_000
    assert subject._size_of(partial / "gone") == 0


@pytest.mark.parametrize(
    ("cache", "reserve", "is_shared", "end"),
    [
        (50, 20, True, "100.00 GB free: fits; it leaves 20.00 GB free"),
        (200, 40, True, "100.00 GB free: NOT ENOUGH for all; it leaves 40.00 GB free"),
        (200, 20, True, "20.00 GB free, TOO LITTLE for the checkpoints on the same disk: set data.cache_reserve_gb=40"),
        (200, 20, False, "100.00 GB free: NOT ENOUGH for all; it leaves 20.00 GB free"),
        (0, 20, True, "100.00 GB free: fits"),
    ],
)
def test_a_cache_that_may_take_the_room_of_checkpoints_is_told(tmp_path, cache, reserve, is_shared, end):
    needs = DiskNeeds(
        run=tmp_path, checkpoint=10**10, least=2, most=4, free=10**11, cache=cache * 10**9, cache_free=10**11,
        cache_reserve=reserve * 10**9, is_shared=is_shared,
    )  # fmt: skip
    needs.check()
    assert needs.lines()[-1].endswith(end)
    assert len(needs.lines()) == (2 if cache else 1)


def test_the_cache_of_a_run_is_counted(world, tmp_path):
    assert needs_of(world).cache == 0
    cached = needs_of(replace(world, data=replace(world.data, cache=tmp_path / "other" / "latents")))
    assert cached.cache > 0
    assert cached.cache_reserve == 20 * 10**9
    assert cached.is_shared
    assert cached.cache_free == pytest.approx(cached.free, rel=0.1)

"""A world as files: our own reader takes it, a stopped run goes on, other folders are left alone."""

from __future__ import annotations

import json

import pytest
import torch

from loom_core.data.manifest import ManifestRecords
from loom_core.data.world import writing
from loom_core.data.world.samples import WorldSettings, make_sample
from loom_core.data.world.writing import MANIFEST, SETTINGS, write_world
from loom_core.errors import ConfigError, OutputError
from loom_core.media.decode import read_clip, read_image

SETTINGS_OF_ALL = WorldSettings(
    seed=1,  # draws every task
    tasks=dict.fromkeys(("edit-video", "reference-to-image", "text-to-video", "reconstruct-image"), 1.0),
    size=(64, 64),
    frames=(5,),
)
COUNT = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "world"
    done = []
    assert write_world(folder, SETTINGS_OF_ALL, count=COUNT, progress=done.append) == COUNT
    assert done == list(range(1, COUNT + 1))
    return folder


def test_our_reader_takes_every_sample(folder):
    records = ManifestRecords(folder, (), name="world")
    assert (len(records), records.problems.total) == (COUNT, 0)
    for index in range(COUNT):
        sample, record = make_sample(index, SETTINGS_OF_ALL).sample, records.record(index)
        assert (record.task, record.instruction) == (sample.task, sample.instruction)
        assert len(record.references) == len(sample.references)
        pairs = [(record.target, sample.target), *zip(record.references, sample.references, strict=True)]
        if not sample.task.is_reconstruction and sample.source is not None:
            pairs.append((record.source, sample.source))
        for path, clip in pairs:
            if clip.is_image:
                assert torch.equal(read_image(path, size=(64, 64)).frames, clip.frames)
                continue
            read = read_clip(path, target_fps=24, max_frames=121, size=(64, 64))
            assert read.frames.shape == clip.frames.shape
            assert (read.frames.float() - clip.frames.float()).square().mean() < 130  # 27 dB; colours at half size


def test_all_tasks_were_drawn(folder):
    rows = [json.loads(line) for line in (folder / MANIFEST).read_text().splitlines()]
    assert {row["task"] for row in rows} == set(SETTINGS_OF_ALL.tasks)
    assert not any(str(folder) in line for line in map(json.dumps, rows))  # paths are relative


def test_what_is_there_is_not_made_again_and_more_can_be_added(folder):
    victim = next(iter(sorted((folder / "target").iterdir())))
    kept = sorted((folder / "target").iterdir())[1].stat().st_mtime_ns
    victim.unlink()
    assert write_world(folder, SETTINGS_OF_ALL, count=COUNT) == 1
    assert victim.is_file()
    assert write_world(folder, SETTINGS_OF_ALL, count=COUNT + 1) == 1
    assert sorted((folder / "target").iterdir())[1].stat().st_mtime_ns == kept
    assert len((folder / MANIFEST).read_text().splitlines()) == COUNT + 1
    write_world(folder, SETTINGS_OF_ALL, count=COUNT)


def test_a_stopped_run_leaves_no_manifest_and_goes_on(tmp_path, monkeypatch):
    settings = WorldSettings(tasks={"text-to-image": 1.0}, size=(64, 64))

    def stop(number):
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_world(tmp_path, settings, count=4, progress=stop)
    assert not (tmp_path / MANIFEST).exists()
    assert not list(tmp_path.rglob("*.partial"))
    assert write_world(tmp_path, settings, count=4) == 2


def test_other_settings_are_refused(folder):
    with pytest.raises(ConfigError, match="world, made with other settings: seed; expected"):
        write_world(folder, WorldSettings(seed=2, tasks=SETTINGS_OF_ALL.tasks, size=(64, 64), frames=(5,)), count=1)


def test_a_world_of_another_version_is_refused(folder, monkeypatch):
    monkeypatch.setattr(writing, "version_of", lambda _: -1)
    with pytest.raises(ConfigError, match="world_version"):
        write_world(folder, SETTINGS_OF_ALL, count=1)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(OutputError, match="other files"):
        write_world(tmp_path, SETTINGS_OF_ALL, count=1)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_damaged_settings_file_is_told(tmp_path):
    (tmp_path / SETTINGS).write_text("{")
    with pytest.raises(OutputError, match=SETTINGS):
        write_world(tmp_path, SETTINGS_OF_ALL, count=1)


def test_nothing_to_write(tmp_path):
    with pytest.raises(ConfigError, match="0 samples"):
        write_world(tmp_path, SETTINGS_OF_ALL, count=0)

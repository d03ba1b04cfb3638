"""A folder looked through for a node: where it is, what changed, what is shown."""

from __future__ import annotations

import pytest


@pytest.fixture
def dataset(stand_in):
    return stand_in("nodes.adapter.training.dataset")


def test_folders_below_the_input_folder_and_whole_paths(dataset, folders, tmp_path):
    assert dataset.folder_of(" cats ") == folders.input / "cats"
    assert dataset.folder_of(f'"{tmp_path}"') == tmp_path


def test_no_folder(dataset, stand_in, folders):
    with pytest.raises(stand_in("loom_core.errors").ConfigError, match="found no folder"):
        dataset.folder_of("  ")
    assert dataset.fingerprint("") == dataset.fingerprint("gone")


def test_the_fingerprint_follows_the_files(dataset, stills):
    found = [dataset.fingerprint("stills")]
    (stills / "one.txt").write_text("another scene")
    found.append(dataset.fingerprint("stills"))
    (stills / "three.txt").write_text("a third")
    found.append(dataset.fingerprint("stills"))
    assert len(set(found)) == 3
    assert dataset.fingerprint("stills") == found[-1]


def test_what_comes_of_a_folder(prepared, progress, stills):
    assert prepared.dataset.count == 2
    assert prepared.dataset.config.path == stills
    assert prepared.dataset.framing.sizes == ((128, 128),)
    assert prepared.report == "stills: 2 samples (2 x text-to-image)\ntrained at: 2 x 128x128"
    assert prepared.grid.shape[0] == 1
    assert prepared.grid.shape[3] == 3
    assert 0.0 <= float(prepared.grid.min()) < float(prepared.grid.max()) == 1.0
    assert progress.steps == [1, 2]


def test_a_resolution_that_is_none(dataset, stand_in, stills, progress):
    with pytest.raises(stand_in("loom_core.errors").ConfigError, match="resolution '4k'"):
        dataset.prepare(
            "stills", task="auto", resolution="4k", length=9, max_bad_share=0.0, pictures=1, progress=progress
        )


def test_a_cancelled_prompt_stops_the_looking(dataset, host, stills, progress):
    host.is_cancelled = True
    with pytest.raises(host.InterruptProcessingException):
        dataset.prepare(
            "stills", task="auto", resolution="128x128", length=9, max_bad_share=0.0, pictures=1, progress=progress
        )

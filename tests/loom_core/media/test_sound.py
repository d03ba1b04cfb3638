from __future__ import annotations

import logging

import numpy as np
import pytest

from loom_core.media.sound import read_sound


@pytest.fixture(scope="module", params=["aac", "libopus", "pcm_s16le"])
def beep(request, tmp_path_factory, make_clip, sine):
    """Three seconds with a beep from 1.5 to 1.6."""
    frames = [np.full((48, 64, 3), 20, np.uint8)] * 90
    samples = np.zeros(48000 * 3, np.float32)
    samples[72000:76800] = sine(0.1)
    suffix = "mp4" if request.param == "aac" else "mkv"
    path = tmp_path_factory.mktemp("sound") / f"beep.{suffix}"
    return make_clip(path, frames, rate=30, audio=samples, audio_codec=request.param)


@pytest.mark.parametrize("start", [0.0, 0.05, 0.7])
def test_what_is_heard_lies_where_it_is_heard(beep, start):
    sound = read_sound(beep, start_seconds=start, seconds=2.0)
    assert sound.samples.shape == (1, 2 * sound.rate)
    heard = np.flatnonzero(sound.samples[0].abs().numpy() > 0.1)
    assert heard[0] / sound.rate + start == pytest.approx(1.5, abs=0.005)
    assert heard[-1] / sound.rate + start == pytest.approx(1.6, abs=0.005)


def test_a_part_is_cut_to_the_sample(beep):
    sound = read_sound(beep, start_seconds=0.0, seconds=1.001)
    assert sound.samples.shape[1] == round(1.001 * sound.rate)


def test_sound_that_ends_before_is_shorter(beep):
    sound = read_sound(beep, start_seconds=2.0, seconds=5.0)
    assert sound.samples.shape[1] / sound.rate == pytest.approx(1.0, abs=0.03)


def test_a_silent_file_has_none(clips):
    assert read_sound(clips.constant, start_seconds=0.0, seconds=1.0) is None


def test_a_part_behind_the_end_has_none(beep):
    assert read_sound(beep, start_seconds=50.0, seconds=1.0) is None


def test_damage_is_told_and_what_came_before_stays(beep, monkeypatch, caplog):
    from loom_core.errors import MediaError
    from loom_core.media import sound

    whole = sound.decoded_blocks

    def breaks(*args, **options):
        moment, samples = next(whole(*args, **options))
        yield moment, samples[:, : samples.shape[1] // 2]
        raise MediaError("sound whose format changes")

    monkeypatch.setattr(sound, "decoded_blocks", breaks)
    with caplog.at_level(logging.WARNING):
        assert 0 < read_sound(beep, start_seconds=0.0, seconds=3.0).samples.shape[1] < 3 * 48000
    assert "cannot be read on" in caplog.text

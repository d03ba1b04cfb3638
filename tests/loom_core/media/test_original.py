from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from loom_core.errors import MediaError
from loom_core.media.original import find_part


@pytest.mark.parametrize(("start", "seconds", "numbers"), [(0.0, 33 / 24, range(41)), (0.5, 0.3, range(15, 24))])
def test_a_part_is_every_frame_of_it(clips, number_of, start, seconds, numbers):
    part = find_part(clips.constant, start_seconds=start, seconds=seconds)
    assert (part.fps, part.start_seconds) == (30.0, start)
    assert [number_of(frame) for frame in part] == list(numbers)
    assert len(part) == len(numbers)
    assert [number_of(frame) for frame in part][:2] == list(numbers)[:2]  # it can be gone through again


def test_a_part_ends_with_the_clip(clips):
    assert len(find_part(clips.constant, start_seconds=0.0, seconds=60.0)) == 60


def test_rates_that_are_no_whole_number_stay_exact(tmp_path, make_clip):
    frames = [np.full((32, 32, 3), number, np.uint8) for number in range(40)]
    path = make_clip(tmp_path / "television.mp4", frames, rate=Fraction(30000, 1001))
    part = find_part(path, start_seconds=0.0, seconds=25 / 24)
    assert Fraction(part.fps).limit_denominator(1001) == Fraction(30000, 1001)
    assert len(part) == 31


def test_a_variable_rate_becomes_that_of_its_quicker_stretches(clips, number_of):
    part = find_part(clips.variable, start_seconds=0.0, seconds=2.0)
    assert (part.fps, len(part)) == (30.0, 60)
    kept = clips.variable_kept
    assert [number_of(frame) for frame in part] == [max(k for k in kept if k <= number) for number in range(60)]


def test_a_slow_animation_keeps_its_own_rate(tmp_path):
    path = tmp_path / "slow.gif"
    pictures = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 80, 160, 240)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=200)
    part = find_part(path, start_seconds=0.0, seconds=0.6)
    assert part.fps == pytest.approx(5.0)
    assert [int(frame.mean()) for frame in part] == [0, 80, 160]


def test_a_phones_frames_are_turned_upright(clips):
    assert next(iter(find_part(clips.rotated, start_seconds=0, seconds=0.1))).shape == (96, 64, 3)


def test_a_file_that_ends_too_early_holds_its_last_frame(clips, number_of):
    part = find_part(clips.truncated, start_seconds=0.0, seconds=2.0)
    numbers = [number_of(frame) for frame in part]
    assert len(numbers) == len(part)
    assert numbers == sorted(numbers)


def test_a_file_that_went_is_told(tmp_path, clips):
    path = tmp_path / "clip.mp4"
    path.write_bytes(clips.constant.read_bytes())
    part = find_part(path, start_seconds=0.0, seconds=1.0)
    path.unlink()
    with pytest.raises(MediaError, match=r"clip\.mp4"):
        next(iter(part))

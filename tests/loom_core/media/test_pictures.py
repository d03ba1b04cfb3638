from __future__ import annotations

import pytest
from PIL import Image

from loom_core.errors import MediaError
from loom_core.media.pictures import open_pictures


def test_a_clip_gives_what_is_shown_at_each_position(clips, number_of):
    with open_pictures(clips.constant, start_seconds=0.5, end_seconds=1.0) as pictures:
        assert (pictures.timeline.fps, pictures.start_seconds) == (30.0, pytest.approx(0.5))
        shown = [number_of(pictures.to_picture(item)) for item in pictures.at([0, 1, 1, 7])]
    assert shown == [15, 16, 16, 22]


def test_what_is_held_is_the_same_object(clips):
    with open_pictures(clips.variable, start_seconds=1.2, end_seconds=3.0) as pictures:
        first, second = pictures.at([0, 3])
        assert first is second  # nothing new comes before 1.83 seconds


def test_an_animated_image_is_a_clip(tmp_path):
    path = tmp_path / "two.gif"
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("black", "white"))
    first.save(path, save_all=True, append_images=[second], duration=100)
    with open_pictures(path, start_seconds=0.0, end_seconds=1.0) as pictures:
        step = pictures.timeline.step
        assert pictures.timeline.fps / step == pytest.approx(10.0)
        assert [pictures.to_picture(item).mean() for item in pictures.at([0, step])] == [0, 255]


def test_what_is_no_clip_is_refused(tmp_path, clips):
    path = tmp_path / "still.png"
    Image.new("RGB", (8, 8)).save(path)
    with pytest.raises(MediaError, match="still image"), open_pictures(path, start_seconds=0, end_seconds=1):
        pass
    with pytest.raises(MediaError, match="ends before 9"), open_pictures(clips.avi, start_seconds=9, end_seconds=10):
        pass

from __future__ import annotations

import pytest
import torch

from loom_core.errors import MediaError
from loom_core.media.compare import side_by_side, side_by_side_size


def chunk(frames, height, width, level):
    return torch.full((frames, height, width, 3), level, dtype=torch.uint8)


def test_left_line_right():
    joined = torch.cat(list(side_by_side([chunk(3, 10, 20, 10)], [chunk(3, 10, 30, 200)], separator=2)))
    assert joined.shape == (3, 10, 52, 3)
    assert (joined[:, :, :20] == 10).all()
    assert (joined[:, :, 20:22] == 128).all()
    assert (joined[:, :, 22:] == 200).all()


def test_the_left_clip_takes_the_height_of_the_right():
    size = side_by_side_size((20, 10), (40, 30))
    joined = next(side_by_side([chunk(1, 10, 20, 10)], [chunk(1, 30, 40, 200)]))
    assert (joined.shape[2], joined.shape[1]) == size == (60 + 4 + 40, 30)


def test_chunks_need_not_match_and_the_shorter_clip_waits():
    left = [chunk(1, 8, 8, 1), chunk(4, 8, 8, 2)]
    right = [chunk(2, 8, 8, 101), chunk(1, 8, 8, 102)]
    joined = torch.cat(list(side_by_side(left, right)))
    assert joined[:, 0, 0, 0].tolist() == [1, 2, 2, 2, 2]
    assert joined[:, 0, -1, 0].tolist() == [101, 101, 102, 102, 102]


def test_frames_come_as_they_arrive():
    def left():
        yield chunk(1, 8, 8, 1)
        raise AssertionError("asked for too much")

    next(side_by_side(left(), [chunk(2, 8, 8, 2)]))


@pytest.mark.parametrize("sides", [([], [0]), ([0], []), ([], [])])
def test_a_side_without_frames_is_refused(sides):
    left, right = ([chunk(1, 8, 8, 0) for _ in side] for side in sides)
    with pytest.raises(MediaError, match="without frames"):
        list(side_by_side(left, right))

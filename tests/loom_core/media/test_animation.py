from __future__ import annotations

from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from loom_core.media.animation import frame_delays, save_gif


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(7)])
def test_delays_keep_step_with_the_rate(rate):
    delays = list(islice(frame_delays(rate), 240))
    assert all(delay % 10 == 0 for delay in delays)
    for number in range(1, 241):
        assert abs(sum(delays[:number]) - 1000 * number / rate) <= 5


def test_save_gif(tmp_path):
    frames = [np.full((16, 24, 3), (level, 0, 255 - level), np.uint8) for level in (0, 100, 200)]
    save_gif(tmp_path / "out", iter(frames), rate=Fraction(24), options={"comment": b"hello"})
    with Image.open(tmp_path / "out") as image:
        assert (image.format, image.n_frames, image.info["loop"]) == ("GIF", 3, 0)
        for index, frame in enumerate(frames):
            image.seek(index)
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - frame).max() <= 2

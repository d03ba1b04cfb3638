from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction

import numpy as np
import pytest

from loom_core.errors import MediaError
from loom_core.media import video_writer
from loom_core.media.probe import probe
from loom_core.media.video_writer import VideoWriter, exact_rate


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (24, Fraction(24)),
        (24.0, Fraction(24)),
        (23.976, Fraction(24000, 1001)),
        (24000 / 1001, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (12.5, Fraction(25, 2)),
        (Fraction(15, 2), Fraction(15, 2)),
        (8, Fraction(8)),
    ],
)
def test_exact_rate(fps, rate):
    assert exact_rate(fps) == rate


def write_noise(path, suffix) -> None:
    noise = np.random.default_rng(4).integers(0, 255, (64, 64, 3), np.uint8)
    with ExitStack() as resources:
        writer = VideoWriter(path, suffix=suffix, rate=Fraction(24), size=(64, 64), metadata={}, resources=resources)
        for _ in range(4):
            writer.write(noise)
        writer.finish()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_missing_encoder_is_replaced_with_a_warning(tmp_path, monkeypatch, caplog, suffix):
    can_encode = video_writer._can_encode
    monkeypatch.setattr(
        video_writer, "_can_encode", lambda name: name not in ("libx264", "libvpx-vp9") and can_encode(name)
    )
    write_noise(tmp_path / "out", suffix)
    assert "is used" in caplog.text
    assert probe(tmp_path / "out").num_frames == 4


def test_no_encoder_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(video_writer, "_can_encode", lambda _: False)
    with pytest.raises(MediaError, match="one of libx264, mpeg4"):
        write_noise(tmp_path / "out", ".mp4")

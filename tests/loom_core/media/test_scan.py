from __future__ import annotations

import pytest

from loom_core.errors import MediaError
from loom_core.media.scan import scan_video


def test_whole_clip(clips):
    scan = scan_video(clips.constant, start_seconds=0, end_seconds=10)
    assert (scan.timeline.fps, scan.timeline.num_positions) == (30.0, 60)
    assert scan.timeline.is_whole
    assert scan.timeline.is_constant
    assert not scan.seeks


def test_only_what_is_needed_is_read(clips):
    scan = scan_video(clips.constant, start_seconds=0, end_seconds=0.5)
    assert not scan.timeline.is_whole
    assert 15 <= scan.timeline.num_positions < 25


def test_a_late_start_seeks(clips):
    scan = scan_video(clips.constant, start_seconds=1.0, end_seconds=10)
    assert scan.seeks
    assert scan.timeline.num_positions == 30
    assert scan.timeline.origin_seconds == pytest.approx(1.0)


def test_a_seek_that_lands_between_key_frames_is_not_trusted(clips):
    assert not scan_video(clips.transport, start_seconds=1.0, end_seconds=10).seeks


def test_variable_rate(clips):
    scan = scan_video(clips.variable, start_seconds=0, end_seconds=10)
    assert not scan.timeline.is_constant
    assert scan.timeline.num_positions == 60


def test_a_start_beyond_the_end(clips):
    with pytest.raises(MediaError, match="ends before 3 seconds"):
        scan_video(clips.constant, start_seconds=3, end_seconds=10)

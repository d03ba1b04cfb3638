from __future__ import annotations

import pytest

from loom_core.media.timeline import build_timeline, choose


@pytest.mark.parametrize("fps", [12, 24000 / 1001, 24, 25, 30000 / 1001, 60])
def test_constant_rate_puts_frame_n_on_position_n(fps):
    times = [1.4 + n / fps for n in range(200)]
    timeline = build_timeline(times, average_fps=fps)
    assert (timeline.is_constant, timeline.fps, timeline.num_positions) == (True, fps, 200)
    assert [timeline.position(moment) for moment in times] == list(range(200))


def test_time_stamps_in_milliseconds_count_as_constant():
    times = [round(n / 24, 3) for n in range(500)]
    timeline = build_timeline(times, average_fps=24.0)
    assert timeline.is_constant
    assert [timeline.position(moment) for moment in times] == list(range(500))


def test_a_wrong_average_is_found_out():
    timeline = build_timeline([n / 30 for n in range(100)], average_fps=29.0)
    assert timeline.fps == 30.0
    assert timeline.is_constant


def test_gaps_are_kept_as_time():
    numbers = [0, 1, 2, 10, 11, 30]
    timeline = build_timeline([n / 30 for n in numbers], average_fps=5.0, last_duration=0.1)
    assert not timeline.is_constant
    assert timeline.fps == 30.0
    assert [timeline.position(n / 30) for n in numbers] == numbers
    assert timeline.num_positions == 33


def test_jitter_is_read_as_the_standard_rate_behind_it():
    times = [n / 30 + (0.004 if n % 3 else -0.003) for n in range(1, 90) if n % 17]
    assert build_timeline(times, average_fps=28.2).fps == 30.0


def test_one_frame():
    assert build_timeline([5.0], average_fps=None, last_duration=2.0).num_positions == 48
    assert build_timeline([5.0], average_fps=10.0).num_positions == 1


def test_choose_holds_a_frame_until_the_next():
    timeline = build_timeline([0.0, 0.1, 0.5], average_fps=None, last_duration=0.2)
    assert (timeline.fps, timeline.num_positions) == (30.0, 21)  # three positions a tenth of a second
    placed = [(-3, "before"), (0, "a"), (3, "b"), (15, "c")]
    assert list(choose(placed, [0, 2, 3, 9, 14, 15, 20, 21], timeline)) == ["a", "a", "b", "b", "b", "c", "c"]


def test_choose_takes_what_was_on_screen_before_the_start():
    timeline = build_timeline([0.0, 0.1, 0.5], average_fps=None)
    assert list(choose([(-3, "before"), (2, "a")], [0, 1, 2], timeline)) == ["before", "before", "a"]


def test_choose_reads_no_further_than_needed():
    timeline = build_timeline([n / 24 for n in range(10)], average_fps=24.0)

    def placed():
        yield from ((n, n) for n in range(4))
        raise AssertionError("read too far")

    assert list(choose(placed(), [0, 3], timeline)) == [0, 3]


def test_choose_gives_fewer_when_frames_run_out():
    timeline = build_timeline([n / 24 for n in range(10)], average_fps=24.0)
    assert list(choose([(0, "a"), (1, "b")], [0, 1, 2, 3], timeline)) == ["a", "b"]

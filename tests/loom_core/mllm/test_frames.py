import pytest

from loom_core.errors import ConfigError
from loom_core.mllm.frames import downsample_indices, processor_indices, source_frame_indices, timestamps


def test_golden_picks(golden_strings):
    table = golden_strings["vlm_frame_selection"]["table"]
    assert len(table) > 10
    for count, row in table.items():
        if not row["ok"]:  # the official code fails there
            continue
        first = downsample_indices(int(count))
        assert first == row["downsample_indices"]
        assert processor_indices(len(first)) == row["processor_picks"]
        assert source_frame_indices(int(count)) == row["source_frames_seen_by_vlm"]


@pytest.mark.parametrize("count", range(16, 30))
def test_first_and_last_where_the_official_code_fails(count):
    assert source_frame_indices(count) == [0, count - 1]


def test_one_frame():
    assert source_frame_indices(1) == [0]


@pytest.mark.parametrize("count", [2, 3, 15, 16, 29, 30, 121, 1000])
def test_indices_rise_within_the_source(count):
    picked = source_frame_indices(count)
    assert len(picked) >= 2
    assert picked == sorted(set(picked))
    assert set(picked) <= set(range(count))


def test_more_frames_on_request():
    assert source_frame_indices(121, max_frames=8) == downsample_indices(121)
    assert source_frame_indices(121, max_frames=100) == downsample_indices(121)
    assert len(source_frame_indices(121, max_frames=6)) == 6


def test_too_few_frames_on_request():
    with pytest.raises(ConfigError, match="1 frames for the MLLM"):
        processor_indices(8, max_frames=1)


def test_timestamps_are_the_mean_of_a_patch():
    assert timestamps([0, 2, 5, 7]) == pytest.approx([1 / 24, 6 / 24])
    assert timestamps([0, 1, 2]) == pytest.approx([0.5 / 24, 2 / 24])  # the last frame fills up
    assert timestamps([0]) == [0.0]

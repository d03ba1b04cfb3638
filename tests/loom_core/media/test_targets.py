"""Names of results."""

from __future__ import annotations

from pathlib import Path

import pytest

from loom_core.errors import ConfigError, LoomError, MediaError
from loom_core.media.targets import VIDEO_SUFFIXES, check_output, check_target, compare_path, output_path
from loom_core.media.video_writer import FORMATS


def test_every_kind_of_video_has_a_writer():
    assert set(VIDEO_SUFFIXES) == {*FORMATS, ".gif"}


def test_one_frame_becomes_a_still_beside_the_name_asked_for():
    assert output_path(Path("a/still.mp4"), is_image=True) == Path("a/still.png")
    assert output_path(Path("still.webp"), is_image=True) == Path("still.webp")
    assert output_path(Path("clip.mkv"), is_image=False) == Path("clip.mkv")


def test_a_clip_is_not_written_as_a_still():
    with pytest.raises(ConfigError, match=r"use a\.mp4"):
        output_path(Path("a.png"), is_image=False)


@pytest.mark.parametrize(("name", "is_image"), [("a.txt", False), ("a.txt", True), ("a", False)])
def test_unknown_endings_are_refused(name, is_image):
    with pytest.raises(MediaError, match="name ending in"):
        check_target(name, is_image=is_image)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(LoomError, match="nowhere"):
        check_output(tmp_path / "nowhere" / "a.mp4", is_image=False)
    check_output(tmp_path / "a.mp4", is_image=False)
    assert list(tmp_path.iterdir()) == []


def test_comparison_lies_beside_the_result():
    assert compare_path(Path("out/a.mp4")) == Path("out/a_compare.mp4")


def test_an_input_is_never_overwritten(tmp_path):
    source = tmp_path / "a.mp4"
    source.write_bytes(b"mine")
    (tmp_path / "link.mp4").symlink_to(source)
    for target in (source, tmp_path / "." / "a.mp4", tmp_path / "link.mp4"):
        with pytest.raises(LoomError, match="also an input"):
            check_output(target, is_image=False, inputs=[source])
    check_output(tmp_path / "b.mp4", is_image=False, inputs=[source])
    assert source.read_bytes() == b"mine"

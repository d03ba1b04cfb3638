from __future__ import annotations

import builtins

import pytest

from loom_core.errors import MediaError, MissingExtraError
from loom_core.media.source import checked_path, container_zero, load_av, open_container, seek_seconds, video_stream


def test_checked_path_is_absolute(clips, monkeypatch):
    monkeypatch.chdir(clips.folder)
    assert checked_path("constant30.mp4") == clips.constant


def test_a_colon_in_a_name_is_no_network_address(clips, tmp_path, monkeypatch):
    (tmp_path / "http:clip.mp4").write_bytes(clips.constant.read_bytes())
    monkeypatch.chdir(tmp_path)
    with open_container(checked_path("http:clip.mp4")) as container:
        assert video_stream(container, tmp_path).frames == 60


def test_a_missing_pyav_is_named(monkeypatch):
    real = builtins.__import__

    def without_av(name, *args, **kwargs):
        if name == "av":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(MissingExtraError, match="pip install av"):
        load_av()


def test_the_reason_is_one_line_without_the_path_twice(clips, tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(clips.constant.read_bytes()[40:])
    with pytest.raises(MediaError) as caught, open_container(path):
        pass
    assert str(caught.value).count("broken.mp4") == 1
    assert "\n" not in str(caught.value)


def test_zero_is_where_a_player_begins(clips):
    with open_container(clips.transport) as container:
        assert container_zero(container) > 0  # transport streams begin late
        assert seek_seconds(container, 1.0)

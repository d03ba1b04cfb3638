"""The bundled pictures, on a stand-in for the host's input folder; whatever goes wrong, the pack itself loads."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def media(stand_in, monkeypatch, tmp_path):
    module = stand_in("nodes.adapter.demo_media")
    folder = tmp_path / "input"
    folder.mkdir()
    monkeypatch.setattr(module.folder_paths, "get_input_directory", lambda: str(folder), raising=False)
    module.folder = folder
    return module


def test_every_picture_is_copied_once(media):
    media.provide_demo_media()
    names = {path.name for path in media.folder.iterdir()}
    assert names == {f"loomvideo_{path.name}" for path in media.DEMO.iterdir()}
    own = media.folder / "loomvideo_star.png"
    own.write_bytes(b"mine")
    media.provide_demo_media()
    assert own.read_bytes() == b"mine"


def test_what_cannot_be_written_is_logged(media, monkeypatch, caplog):
    monkeypatch.setattr(media.folder_paths, "get_input_directory", lambda: str(media.folder / "gone"), raising=False)
    media.provide_demo_media()
    assert "may lack a picture" in caplog.text


def test_a_pack_without_its_pictures_is_logged(media, monkeypatch, caplog):
    monkeypatch.setattr(media, "DEMO", Path("no such folder"))
    media.provide_demo_media()
    assert "may lack a picture" in caplog.text

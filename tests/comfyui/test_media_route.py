"""The address at which the timeline asks what a file holds, in a running server."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.parse
from pathlib import Path

import pytest
from PIL import Image

DEMO = Path(__file__).resolve().parents[2] / "demo"


@pytest.fixture
def ask(server):
    """The answer for a file, or status and sentence of a refusal."""

    def answer(**query):
        try:
            return server.get(f"/loomvideo/media?{urllib.parse.urlencode(query)}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())["error"]

    return answer


def test_a_clip_and_a_picture(ask, server):
    assert ask(filename="loomvideo_shapes.mp4") == {
        "width": 128, "height": 128, "fps": 24.0, "num_frames": 33, "seconds": 1.375, "has_audio": True,
        "is_image": False,
    }  # fmt: skip
    folder = server.base / "output" / "a b"
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30)).save(folder / "one.png")
    found = ask(filename="one.png", subfolder="a b", type="output")
    assert (found["width"], found["height"], found["num_frames"], found["is_image"]) == (40, 30, 1, True)


def test_only_files_in_the_servers_folders(ask, server):
    shutil.copy(DEMO / "shapes.png", server.base / "secret.png")
    assert ask(filename="gone.mp4")[0] == 404
    assert ask(filename="loomvideo_shapes.mp4", type="output")[0] == 404
    for subfolder in ("..", "../", str(server.base), "x/../.."):
        assert ask(filename="secret.png", subfolder=subfolder)[0] == 404, subfolder
    for name in ("", "../secret.png", "..\\secret.png", f"{server.base}/secret.png", "a\0b"):
        assert ask(filename=name)[0] == 400, name
    status, sentence = ask(filename="loomvideo_shapes.mp4", type="models")
    assert status == 400 and "one of input, output, temp" in sentence


def test_a_file_that_cannot_be_read_is_named_without_its_folder(ask, server):
    (server.base / "input" / "empty.mp4").touch()
    (server.base / "input" / "text.mp4").write_text("no clip")
    for name in ("empty.mp4", "text.mp4"):
        status, sentence = ask(filename=name)
        assert status == 400 and name in sentence and str(server.base) not in sentence
